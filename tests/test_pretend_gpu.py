"""Every metric on a pretended GPU: updates that never wait, and launches that compile."""

from __future__ import annotations

import importlib.util
import inspect
import os
import warnings

import pytest
import torch
from torch.utils import _pytree as pytree

if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs triton, and its compiler", allow_module_level=True)

import fastmetrics
from fastmetrics import ops
from fastmetrics.ops import faults
from fastmetrics.ops.co_moments import NUM_COLUMNS
from tests.classification.test_curve_modes import few
from tests.every import metrics, of_tensors
from tests.pretend_gpu import DEVICE, pretend_gpu
from tools import aot

CASES = of_tensors(metrics())
# Their values are chosen by what the state holds, and here it holds nothing.
CHOSEN_BY_DATA = ("R2Score", "BinaryFairness")
every_metric = pytest.mark.parametrize("case", CASES, ids=repr)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def inputs_of(case, size):
    return [x.to(DEVICE) for x in case.inputs(size)]


@pytest.mark.parametrize("references", [False, True], ids=["kernels", "references"])
@every_metric
def test_updates_never_wait(case, references):
    metric, inputs = case.make().to(DEVICE), inputs_of(case, 30)
    with pretend_gpu(references) as (waits, _):
        metric.update(*inputs)
        metric.update(*inputs)
        metric.reset()
        metric.update(*inputs)
        if "weight" in inspect.signature(metric.update).parameters:
            metric.update(*inputs, weight=torch.empty(30, device=DEVICE))
    assert not waits


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name.endswith("AUROC-ranked")], ids=repr
)
def test_scores_become_cells_without_waiting(case):
    metric, inputs = case.make().to(DEVICE), inputs_of(case, 30)
    with few(50, 16), pretend_gpu() as (waits, _):
        for _ in range(4):
            metric.update(*inputs)
        metric.update(*inputs, weight=torch.empty(30, device=DEVICE))
    assert not waits
    assert sum(map(len, metric.cells)) == 16


@pytest.mark.parametrize("task", ["Binary", "Multiclass", "Multilabel"])
def test_collections_never_wait(task):
    """Grouping compares declarations, which the host knows, epoch for epoch."""
    chosen = [c for c in CASES if c.name.startswith(task) and not special(c.name)]
    metrics = fastmetrics.MetricCollection({case.name: case.make() for case in chosen}).to(DEVICE)
    inputs = inputs_of(chosen[0], 30)
    with pretend_gpu() as (waits, launches):
        for _ in range(2):
            metrics.update(*inputs)
            metrics.update(*inputs)
            metrics.reset()
    assert not waits
    assert len(launches) < 4 * len(metrics)


def special(name: str) -> bool:
    """Whether a metric takes other inputs than its neighbours."""
    return any(word in name for word in ("Group", "Fairness")) or name == "MulticlassExactMatch"


def is_sized_by_data(name: str) -> bool:
    """Whether a value has as many elements as the data says, or is read off such curves."""
    return name.endswith(("-exact", "-ranked")) or name in ("CatMetric", "BinaryFairness")


@pytest.mark.parametrize(
    "case", [case for case in CASES if not is_sized_by_data(case.name)], ids=repr
)
def test_forward_never_waits(case):
    metric, inputs = case.make().to(DEVICE), inputs_of(case, 30)
    with pretend_gpu() as (waits, _):
        metric(*inputs)
        metric(*inputs)
    assert not waits


@pytest.mark.parametrize(
    "case", [c for c in CASES if not is_sized_by_data(c.name) and c.name != "R2Score"], ids=repr
)
def test_compute_waits_for_what_was_left_out_and_for_dtypes_alone(case):
    """A few numbers: counts of bad inputs, and whether an input was float64, which warnings use."""
    metric, inputs = case.make().to(DEVICE), inputs_of(case, 30)
    with pretend_gpu() as (waits, _):
        metric.update(*inputs)
        metric.compute()
    assert len(waits) <= 2 and {*waits} <= {"tolist", "item"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_of_a_batch_is_known_without_waiting(dtype):
    for case in CASES:
        if case.name in ("PearsonCorrCoef", "R2Score", "CosineSimilarity"):
            inputs = [x.to(dtype) for x in inputs_of(case, 30)]
            metric = case.make().to(DEVICE)
            with pretend_gpu():
                values = [metric(*inputs), metric(*[x.float() for x in inputs])]
            assert [value.dtype for value in values] == [dtype, torch.float32]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in CHOSEN_BY_DATA], ids=repr
)
def test_values_stay_on_the_device(case):
    """Reading the state may wait; whatever it makes must lie beside it."""
    metric, inputs = case.make().to(DEVICE), inputs_of(case, 30)
    with pretend_gpu():
        metric.update(*inputs)
        values = metric.compute(), metric(*inputs)
    tensors = [x for x in pytree.tree_leaves(values) if isinstance(x, torch.Tensor)]
    assert tensors
    assert {x.device.type for x in tensors} == {DEVICE}


@pytest.mark.parametrize("size", [1, pytest.param(30, marks=pytest.mark.exhaustive)])
def test_launches_of_all_metrics_are_in_the_language(size):
    """The interpreter accepts more than the compiler, above all about numbers that are one."""
    seen = {}
    for case in CASES:
        metric, inputs = case.make().to(DEVICE), inputs_of(case, size)
        with pretend_gpu() as (_, launches):
            metric.update(*inputs)
        seen |= {aot.signature(launch): launch for launch in launches}
    assert len({launch.kernel for launch in seen.values()}) > 10
    for launch in seen.values():
        aot.translate(launch, aot.TARGETS["cuda:90"])


def test_more_curves_than_an_axis_of_programs_holds():
    scores, target = torch.zeros(1, 70_000), torch.zeros(1, 70_000, dtype=torch.uint8)
    areas = torch.empty(70_000, 4, dtype=torch.float64)
    with pretend_gpu() as (_, launches):
        ops.curve_areas_(areas.to(DEVICE), [scores.to(DEVICE)], [target.to(DEVICE)], False, False)
    assert launches


@pytest.mark.parametrize("outputs", [70_000, 3_000_000, 20_000_000])
def test_more_outputs_than_an_axis_of_programs_holds(outputs):
    pair = [torch.empty(2, outputs, device=DEVICE) for _ in range(2)]
    for op, columns, tail in (
        (ops.co_moments_, NUM_COLUMNS, (None,)),
        (ops.error_sums_, 2, (None, 1)),
    ):
        with pretend_gpu() as (_, launches):
            op(torch.empty(outputs, columns, dtype=torch.float64, device=DEVICE), *pair, *tail)
        assert launches


def test_waits_are_seen():
    x = torch.ones(3, device=DEVICE)
    causes = {
        "item": lambda: x.sum().item(),
        "__bool__": lambda: bool((x > 0).all()),
        "nonzero": lambda: x.nonzero(),
        "index": lambda: x[x > 0],
        "new_tensor": lambda: x.new_tensor(3.0),
        "tensor": lambda: torch.tensor([1.0], device=DEVICE),
        "_to_copy": lambda: torch.ones(3).to(DEVICE),
        "copy_": lambda: x.copy_(torch.ones(3)),
        "tolist": lambda: x.tolist(),
    }
    for name, cause in causes.items():
        with pretend_gpu() as (waits, _):
            cause()
        assert waits[-1] == name
    with pretend_gpu() as (waits, _), pytest.raises(RuntimeError, match="device"):
        torch.stack([x, torch.ones(3)])


def test_ops_run_their_gpu_side():
    state, target = torch.empty(3, 4, dtype=torch.int64, device=DEVICE), torch.ones(5).long()
    with pretend_gpu() as (waits, launches):
        ops.stat_scores_(
            state, faults.new_events(DEVICE), *[target.to(DEVICE, non_blocking=True)] * 2,
            num_classes=3,
        )  # fmt: skip
    assert not waits
    assert [launch.kernel.__name__ for launch in launches] == ["count"]
