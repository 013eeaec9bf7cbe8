"""What torch.compile takes as one graph: every public metric and function, and how it is tried.

``python -m tests.compile.coverage`` writes the table into docs/compile.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import fastmetrics
from fastmetrics import MetricCollection
from fastmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassPrecision,
    MulticlassRecall,
)
from tests import every

C = every.C
PAGE = Path(__file__).parents[2] / "docs" / "compile.md"
BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"

# Batch sizes of the steps: the first change makes the size dynamic, which is a second graph.
SIZES = (12, 12, 17, 5, 33)
GRAPHS = 2

REASONS = {
    "list": (
        "the states are lists of samples, and torch compiles a step again whenever a list that it"
        " reads has grown. After eight times it stops compiling that step, or raises if"
        " `fullgraph=True`."
    ),
    "rows": (
        "scores, or counts of images, are in lists that grow: a step adds to them, and ends where"
        " it would read them."
    ),
    "length": "how many points a curve through all scores has depends on the data.",
    "names": "the keys of the result name groups that the data choose.",
    "window": "which batches are in the window is counted in Python.",
}


@dataclass(frozen=True)
class Trial:
    """A step that is compiled.

    Attributes:
        name: the metric or function.
        use: ``update``, ``forward``, ``compute`` (behind an update) or ``call`` (of a function).
        make: makes a step and a function that returns the value of all steps.
        inputs: inputs for a number of samples.
    """

    name: str
    use: str
    make: Callable[[], tuple[Callable[..., Any], Callable[[], Any]]]
    inputs: Callable[[int], tuple[Any, ...]]

    def __repr__(self) -> str:
        return f"{self.name}-{self.use}"

    @property
    def reason(self) -> str | None:
        """Why this is not covered, a key of `REASONS`; None if it is."""
        return _reason(self.name, self.use)


def _reason(name: str, use: str) -> str | None:
    if name.startswith("Running"):
        return "window"
    if use != "call" and name in LISTS:
        return "list"
    if use == "compute" and (name.endswith("-exact") or name == "DiceScore"):
        return "rows"
    if use == "update":
        return None
    if re.search(r"(Curve|ROC|_curve|roc)-exact$", name) and "AUROC" not in name:
        return None if "auroc" in name else "length"
    if name in ("BinaryFairness", "binary_fairness", "demographic_parity", "equal_opportunity"):
        return "names"
    return None


LISTS = ("CatMetric", "KendallRankCorrCoef", "SpearmanCorrCoef")


def _scores(count: int) -> tuple[Tensor, Tensor]:
    return torch.rand(count, C).softmax(1), torch.randint(C, (count,))


def _collection() -> MetricCollection:
    return MetricCollection(
        MulticlassAccuracy(C),
        MulticlassPrecision(C),
        MulticlassConfusionMatrix(C),
        MulticlassAUROC(C, thresholds=20),
    )


def _f_score() -> Any:
    precision, recall = MulticlassPrecision(C), MulticlassRecall(C)
    return 2 * precision * recall / (precision + recall)


def _is_kind_of_its_own(case: every.Case) -> bool:
    """Whether a case is another one for compilers: curves over "auto" keep scores as exact ones."""
    return not case.name.endswith("-ranked")


def metrics() -> list[every.Case]:
    """Return one case for each metric, and the ways to put several together."""
    case = every.Case
    return [
        *filter(_is_kind_of_its_own, every.of_tensors(every.metrics())),
        case("TopSamples", lambda: fastmetrics.TopSamples(4), lambda n: (torch.randn(n),)),
        case(
            "GradientStats",
            lambda: fastmetrics.GradientStats(["weight"]),
            lambda n: ({"weight": torch.randn(n)},),
        ),
        case("CompositionalMetric", _f_score, _scores),
        case("MetricCollection", _collection, _scores),
    ]


def _steps_of(make: Callable[[], Any], use: str) -> Callable[[], Any]:
    def steps() -> tuple[Callable[..., Any], Callable[[], Any]]:
        metric = make()

        def update_and_compute(*inputs: Any) -> Any:
            metric.update(*inputs)
            return metric.compute()

        uses = {"update": metric.update, "forward": metric, "compute": update_and_compute}
        step = uses[use]
        return lambda *inputs: step(*inputs), metric.compute

    return steps


def trials() -> list[Trial]:
    """Return every use of every metric and function."""
    found = [
        Trial(case.name, use, _steps_of(case.make, use), case.inputs)
        for case in metrics()
        for use in ("update", "forward", "compute")
    ]
    for case in filter(_is_kind_of_its_own, every.of_tensors(every.functions())):
        call = case.make
        found.append(Trial(case.name, "call", lambda call=call: (call, lambda: None), case.inputs))
    return found


def same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def graphs_of(trial: Trial, backend: str = "eager") -> int:
    """Compile the step, hold it to the values of eager steps, and return the number of graphs."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(backend)
    step, value = trial.make()
    eager_step, eager_value = trial.make()
    compiled = torch.compile(step, backend=counter, fullgraph=True)
    for size in SIZES:
        inputs = trial.inputs(size)
        same(compiled(*inputs), eager_step(*inputs))
    same(value(), eager_value())
    return int(counter.frame_count)


def table() -> str:
    """Return the table, by name."""
    uses: dict[str, dict[str, str]] = {}
    for trial in trials():
        uses.setdefault(trial.name, {})[trial.use] = trial.reason or "yes"
    lines = ["", "| metric | `update` | `forward` | `compute` |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{name}` | {row['update']} | {row['forward']} | {row['compute']} |"
        for name, row in uses.items()
        if "call" not in row
    ]
    lines += ["", "| function | call |", "| --- | --- |"]
    lines += [f"| `{name}` | {row['call']} |" for name, row in uses.items() if "call" in row]
    lines += ["", *(f"- **{key}**: {reason}" for key, reason in REASONS.items()), ""]
    return "\n".join(lines)


def written_table() -> str:
    """Return the table in the page."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
