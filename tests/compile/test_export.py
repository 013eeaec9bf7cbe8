"""Models that carry a metric, through torch.export."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastmetrics import MetricCollection
from fastmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
from fastmetrics.functional.classification import multiclass_f1_score

pytestmark = pytest.mark.filterwarnings("ignore")

C = 3
DYNAMIC = ({0: torch.export.Dim.AUTO}, {0: torch.export.Dim.AUTO})


class Updating(nn.Module):
    """Counts in passing and returns logits."""

    def __init__(self, metric: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Linear(4, C)
        self.metric = metric

    def forward(self, inputs: Tensor, target: Tensor) -> Any:
        logits = self.layer(inputs)
        self.metric.update(logits, target)
        return logits


class Valued(Updating):
    """Returns the value of the batch, that of all batches, and that of a function too."""

    def forward(self, inputs: Tensor, target: Tensor) -> Any:
        logits = self.layer(inputs)
        value = self.metric(logits, target)
        return logits, value, self.metric.compute(), multiclass_f1_score(logits, target, C)


def collection() -> MetricCollection:
    return MetricCollection(MulticlassAccuracy(C), MulticlassConfusionMatrix(C))


def batch(count: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 4), torch.randint(C, (count,))


both = pytest.mark.parametrize("strict", [True, False])
every_model = pytest.mark.parametrize("kind", [Updating, Valued])
every_metric = pytest.mark.parametrize("make", [lambda: MulticlassAccuracy(C), collection])


def same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@both
@every_model
@every_metric
def test_exported_models_count_into_the_states_of_their_metric(kind, make, strict):
    torch.manual_seed(0)
    model, metric = kind(make()), make()
    eager = kind(metric)
    eager.layer.load_state_dict(model.layer.state_dict())
    program = torch.export.export(model, batch(8), strict=strict, dynamic_shapes=DYNAMIC)
    run = program.module()
    for size in (8, 5, 20):
        inputs = batch(size)
        same(run(*inputs), eager(*inputs))
    same(model.metric.compute(), metric.compute())


@both
def test_exporting_counts_nothing_and_leaves_no_stand_ins(strict):
    model = Valued(MulticlassAccuracy(C))
    model.metric.update(torch.tensor([0, 1]), torch.tensor([0, 2]))
    before = {name: state.clone() for name, state in model.metric.metric_state.items()}
    torch.export.export(model, batch(8), strict=strict, dynamic_shapes=DYNAMIC)
    for name, state in model.metric.metric_state.items():
        assert type(state) is Tensor
        assert torch.equal(state, before[name])
    same(model.metric.compute(), torch.tensor(1 / 3))
    for name in ("_forward_cache", "_computed"):
        assert type(getattr(model.metric, name)) in (Tensor, type(None))


@both
def test_an_export_that_fails_leaves_the_states_as_they_were(strict):
    model = Valued(MulticlassAccuracy(C + 1))
    with pytest.raises((ValueError, RuntimeError)):
        torch.export.export(model, batch(8), strict=strict)
    for state in model.metric.metric_state.values():
        assert type(state) is Tensor
        assert not state.any()


@both
@every_model
def test_files_hold_states_of_their_own(kind, strict):
    model = kind(MulticlassAccuracy(C))
    program = torch.export.export(model, batch(8), strict=strict, dynamic_shapes=DYNAMIC)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file)
    inputs = batch(6)
    loaded.module()(*inputs)
    loaded.module()(*inputs)
    assert int(loaded.constants["metric.counts"].sum()) == 2 * 6 * C
    assert not model.metric.counts.any()


@both
def test_decompositions_refuse_states_that_are_no_buffers(strict):
    """As docs/compile.md says: torch asks for buffers, which DDP would overwrite."""
    model = Updating(MulticlassAccuracy(C))
    program = torch.export.export(model, batch(8), strict=strict)
    with pytest.raises(RuntimeError, match="is mutated in the forward method"):
        program.run_decompositions()
