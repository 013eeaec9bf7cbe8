"""Prints how many bytes each op adds to the peak memory of this process; one line per call."""

from __future__ import annotations

from typing import Any

import torch

from tests.ops.laws import Call, every_op, native_op

POSITIONS = 1 << 22


def memory(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024


def peak_growth(call: Call) -> int:
    arguments = call.fresh()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")  # the peak starts again from what is resident now
    before = memory("VmHWM:")
    native_op(call.op)(*arguments.values())
    return memory("VmHWM:") - before


def small(op: str, weighted: bool = False, **options: Any) -> Call:
    """A call of one sample, whose inputs others replace; its state does not ask how many."""
    how = {"shape": (1,), "weight": torch.float32 if weighted else None, "ignore_index": None}
    return every_op()[op].make(0, **how | {"start": 0, "bad": 0.0} | options)


def calls(n: int) -> dict[str, Call]:
    """Every way to read `n` positions and more, each with several layouts of its inputs."""
    labels = torch.zeros(4 * n, dtype=torch.int8)
    scores = torch.zeros(n, 4, dtype=torch.float16)
    weight = torch.ones(n, dtype=torch.float16)
    short, table = labels[:n], labels.view(n, 4)
    by_class, planes = scores.view(4, n).T, scores.view(4, 4, n // 4)
    in_planes, sliced = short.view(4, -1)[:, : n // 4], labels[::4]
    pairs = torch.zeros(n, 4, dtype=torch.float32)
    found = {}
    for op in ("stat_scores_", "confusion_", "exact_match_"):
        each = {} if op == "confusion_" else {"each": False}
        each |= {"total": False, "top_k": 1} if op == "stat_scores_" else {}
        hundred = small(op, classes=100, **each)
        four, summed = (small(op, weighted, classes=4, **each) for weighted in (False, True))
        found |= {
            f"{op} labels": hundred.but(preds=labels, target=labels),
            f"{op} strided labels": hundred.but(preds=sliced, target=sliced),
            f"{op} scores": four.but(preds=scores, target=short),
            f"{op} class-major scores": four.but(preds=by_class, target=short),
            f"{op} planes": four.but(preds=planes, target=in_planes),
            f"{op} weighted scores": summed.but(preds=scores, target=short, weight=weight),
        }
    four = small("stat_scores_", classes=4, each=False, total=False)
    found["stat_scores_ top_k"] = four.but(preds=scores, target=short, top_k=2)
    unknown = small("stat_scores_", each=False, total=True).but(num_classes=0, top_k=1)
    found["stat_scores_ unknown classes"] = unknown.but(preds=labels, target=labels)
    for op in ("label_confusion_", "label_exact_match_"):
        each = {"each": False, "labels": 4, "readings": (2, False), "groups": None}
        four, summed = (small(op, weighted, **each) for weighted in (False, True))
        found |= {
            f"{op} scores": four.but(preds=scores, target=table),
            f"{op} labels": four.but(preds=table, target=table),
            f"{op} label-major scores": four.but(preds=by_class, target=table),
            f"{op} weighted scores": summed.but(preds=scores, target=table, weight=weight),
        }
    op = "calibration_bins_"
    for readings in ((2, False), (1, True)):
        binary, rows = (
            small(op, task=task, classes=4, n_bins=15, readings=readings)
            for task in ("binary", "multiclass")
        )
        found |= {
            f"{op} {readings} scores": binary.but(preds=by_class, target=table),
            f"{op} {readings} rows": rows.but(preds=scores, target=short),
            f"{op} {readings} planes": rows.but(preds=planes, target=in_planes, weight=weight[:4]),
        }
    grouped = small("label_confusion_", groups=3, each=False)
    found["label_confusion_ groups"] = grouped.but(preds=scores, target=table, groups=short)
    one, four = (small("co_moments_", outputs=outputs) for outputs in (0, 4))
    return found | {
        "co_moments_": one.but(preds=pairs[:, 0], target=pairs[:, 1]),
        "co_moments_ outputs": four.but(preds=pairs, target=pairs),
        "co_moments_ converted": four.but(preds=scores, target=pairs.view(torch.int32)),
        "co_moments_ by column": four.but(preds=by_class, target=by_class),
        "co_moments_ weighted": four.but(preds=pairs, target=scores, weight=scores[:, 0]),
    }


def main() -> None:
    # Threads and lazily loaded code are not the op's memory; the small inputs leave none behind.
    for call in calls(POSITIONS // 32).values():
        native_op(call.op)(*call.fresh().values())
    for name, call in calls(POSITIONS).items():
        print(peak_growth(call), name, sep="\t")


if __name__ == "__main__":
    main()
