"""Prints how many bytes each op adds to the peak memory of this process; one line per call."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tests.ops.cases import Call, class_call, label_call, native_op
from tests.ops.cases_calibration import calibration_call

POSITIONS = 1 << 22


def memory(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024


def peak_growth(call: Call | MomentsCall) -> int:
    arguments = call.arguments()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")  # the peak starts again from what is resident now
    before = memory("VmHWM:")
    native_op(call.op)(*arguments)
    return memory("VmHWM:") - before


def calls(n: int) -> dict[str, Call]:
    """Every way to read `n` positions and more, each with several layouts of its inputs."""
    labels = torch.zeros(4 * n, dtype=torch.int8)
    scores = torch.zeros(n, 4, dtype=torch.float16)
    weight = torch.ones(n, dtype=torch.float16)
    short = labels[:n]
    by_class = scores.view(4, n).T
    planes = scores.view(4, 4, n // 4)
    sliced = labels[::4]
    found = {}
    for op in ("stat_scores_", "confusion_", "exact_match_"):
        found |= {
            f"{op} labels": class_call(op, labels, labels, 100),
            f"{op} strided labels": class_call(op, sliced, sliced, 100),
            f"{op} scores": class_call(op, scores, short, 4),
            f"{op} class-major scores": class_call(op, by_class, short, 4),
            f"{op} planes": class_call(op, planes, short.view(4, -1)[:, : n // 4], 4),
            f"{op} weighted scores": class_call(op, scores, short, 4, weight=weight),
        }
    found["stat_scores_ top_k"] = class_call("stat_scores_", scores, short, 4, top_k=2)
    found["stat_scores_ unknown classes"] = class_call("stat_scores_", labels, labels, 0, "total")
    table = labels.view(n, 4)
    for op in ("label_confusion_", "label_exact_match_"):
        found |= {
            f"{op} scores": label_call(op, scores, table, 4),
            f"{op} labels": label_call(op, table, table, 4),
            f"{op} label-major scores": label_call(op, by_class, table, 4),
            f"{op} weighted scores": label_call(op, scores, table, 4, weight=weight),
        }
    for readings, logits in ((2, False), (1, True)):
        how = {"readings": readings, "logits": logits}
        found |= {
            f"calibration_bins_ {how} scores": calibration_call("binary", by_class, table, **how),
            f"calibration_bins_ {how} rows": calibration_call("multiclass", scores, short, **how),
            f"calibration_bins_ {how} planes": calibration_call(
                "multiclass", planes, short.view(4, -1)[:, : n // 4], weight=weight[:4], **how
            ),
        }
    groups = {"groups": short, "num_labels": 3}
    found["label_confusion_ groups"] = label_call("label_confusion_", scores, table, **groups)
    return found


class MomentsCall(NamedTuple):
    """A call of `co_moments_`."""

    preds: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None = None
    op = "co_moments_"

    def arguments(self) -> tuple[Any, ...]:
        outputs = self.preds.shape[1] if self.preds.ndim > 1 else 1
        return torch.zeros(outputs, 12, dtype=torch.float64), *self


def moments_calls(n: int) -> dict[str, MomentsCall]:
    """Read in place, converted, strided, column by column, and weighted."""
    pairs = torch.zeros(n, 4, dtype=torch.float32)
    small = torch.zeros(n, 4, dtype=torch.float16)
    weight = small[:, 0]
    return {
        "co_moments_": MomentsCall(pairs[:, 0], pairs[:, 1]),
        "co_moments_ outputs": MomentsCall(pairs, pairs),
        "co_moments_ converted": MomentsCall(small, pairs.view(torch.int32)),
        "co_moments_ by column": MomentsCall(small.view(4, n).T, small.view(4, n).T),
        "co_moments_ weighted": MomentsCall(pairs, small, weight),
    }


def main() -> None:
    # Threads and lazily loaded code are not the op's memory; the small inputs leave none behind.
    for make in (calls, moments_calls):
        for call in make(POSITIONS // 32).values():
            native_op(call.op)(*call.arguments())
    for make in (calls, moments_calls):
        for name, call in make(POSITIONS).items():
            print(peak_growth(call), name, sep="\t")


if __name__ == "__main__":
    main()
