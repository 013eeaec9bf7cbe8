"""Classes that users derive from wrappers and collections have torchmetrics' values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchmetrics
import torchmetrics.classification
import torchmetrics.wrappers

import fastmetrics
import fastmetrics.classification
import fastmetrics.wrappers

from .samples import class_batches, number_batches, same

OURS = SimpleNamespace(
    **{name: getattr(fastmetrics, name) for name in ("MeanSquaredError", "MetricCollection")},
    **{name: getattr(fastmetrics.wrappers, name) for name in fastmetrics.wrappers.__all__},
    MulticlassRecall=fastmetrics.classification.MulticlassRecall,
)
THEIRS = SimpleNamespace(
    **{name: getattr(torchmetrics, name) for name in ("MeanSquaredError", "MetricCollection")},
    **{name: getattr(torchmetrics.wrappers, name) for name in torchmetrics.wrappers.__all__},
    MulticlassRecall=torchmetrics.classification.MulticlassRecall,
)


def min_max_with_an_update(of: Any) -> Any:
    class Halved(of.MinMaxMetric):
        def update(self, preds, target):
            super().update(preds / 2, target)

    return Halved(of.MeanSquaredError())


def min_max_with_a_compute(of: Any) -> Any:
    class Range(of.MinMaxMetric):
        def compute(self):
            value = super().compute()
            return {"range": value["max"] - value["min"], "raw": value["raw"]}

    return Range(of.MeanSquaredError())


def bootstrap_with_an_update(of: Any) -> Any:
    class EveryOther(of.BootStrapper):
        def update(self, preds, target):
            for i, metric in enumerate(self.metrics):
                metric.update(preds[i::2].contiguous(), target[i::2].contiguous())

    return EveryOther(of.MeanSquaredError(), num_bootstraps=2, raw=True)


def bootstrap_with_steps(of: Any) -> Any:
    class Spread(of.BootStrapper):
        def update(self, preds, target):
            for i, metric in enumerate(self.metrics):
                metric.update(preds + i, target)

        def compute(self):
            values = torch.stack([metric.compute() for metric in self.metrics])
            return values.max() - values.min()

    return Spread(of.MeanSquaredError(), num_bootstraps=3)


def outputs_with_other_batches(of: Any) -> Any:
    class Shifted(of.MultioutputWrapper):
        def _get_args_kwargs_by_output(self, *args, **kwargs):
            batches = super()._get_args_kwargs_by_output(*args, **kwargs)
            return [((preds + 1, target), named) for (preds, target), named in batches]

    return Shifted(of.MeanSquaredError(), num_outputs=3)


def tasks_with_other_names(of: Any) -> Any:
    class Shouted(of.MultitaskWrapper):
        def _convert_output(self, output):
            return {name.upper(): value for name, value in super()._convert_output(output).items()}

        def update(self, preds, target):
            super().update({"size": preds}, {"size": target})

        def forward(self, preds, target):
            return super().forward({"size": preds}, {"size": target})

    return Shouted({"size": of.MeanSquaredError()}, prefix="task_")


def inputs_with_another_transform(of: Any) -> Any:
    class Swapped(of.MetricInputTransformer):
        def transform_target(self, target):
            return target / 2

        def _wrap_transform(self, *args):
            preds, target = super()._wrap_transform(*args)
            return preds + 1, target

    return Swapped(of.MeanSquaredError())


def tracker_that_starts(of: Any) -> Any:
    class Started(of.MetricTracker):
        def _check_for_increment(self, method):
            if not self._increment_called:
                self.increment()

    return Started(of.MeanSquaredError())


def collection_with_other_values(of: Any) -> Any:
    class Percent(of.MetricCollection):
        def _compute_and_reduce(self, method_name, *args, **kwargs):
            values = super()._compute_and_reduce(method_name, *args, **kwargs)
            return {name: 100 * value for name, value in values.items()}

    return Percent([of.MeanSquaredError()])


def collection_with_a_loop(of: Any) -> Any:
    class Looped(of.MetricCollection):
        def _compute_and_reduce(self, method_name, *args, **kwargs):
            metrics = self.items(keep_base=True, copy_state=False)
            if method_name == "compute":
                return {f"{name}!": metric.compute() for name, metric in metrics}
            return {f"{name}?": metric(*args, **kwargs) for name, metric in metrics}

    return Looped({"a": of.MeanSquaredError(), "b": of.MeanSquaredError()}, compute_groups=False)


def collection_with_other_names(of: Any) -> Any:
    class Named(of.MetricCollection):
        def _set_name(self, base):
            return f"of {super()._set_name(base)}"

        def compute(self):
            return super().compute() | {f"key {name}": torch.tensor(1) for name in self.keys()}

    return Named([of.MeanSquaredError()])


def collection_that_shows_its_metrics(of: Any) -> Any:
    class Shown(of.MetricCollection):
        def shown(self, copy):
            self._compute_groups_create_state_ref(copy)
            return {self._set_name(name): metric for name, metric in self._modules.items()}

        def compute(self):
            each = [self.shown(copy) for copy in (False, True)]
            return [{name: metric.compute() for name, metric in shown.items()} for shown in each]

    return Shown([of.MeanSquaredError()], prefix="of ")


DERIVED = [
    min_max_with_an_update,
    min_max_with_a_compute,
    bootstrap_with_an_update,
    bootstrap_with_steps,
    outputs_with_other_batches,
    tasks_with_other_names,
    inputs_with_another_transform,
    tracker_that_starts,
    collection_with_other_values,
    collection_with_a_loop,
    collection_with_other_names,
    collection_that_shows_its_metrics,
]


@pytest.mark.parametrize("make", DERIVED, ids=lambda make: make.__name__)
def test_values_are_those_of_torchmetrics(make):
    batches = number_batches(3, 6, 3)
    for forward in (False, True):
        ours, theirs = make(OURS), make(THEIRS)
        for batch in batches:
            if forward:
                same(ours(*batch), theirs(*batch))
            else:
                ours.update(*batch), theirs.update(*batch)
                same(ours.compute(), theirs.compute())


@pytest.mark.parametrize("make", DERIVED[:4], ids=lambda make: make.__name__)
def test_forward_adds_a_batch_once(make):
    """Theirs forget what came before."""
    ours, updated = make(OURS), make(OURS)
    first, second, third = number_batches(3, 6, 3)
    ours(*first), ours.update(*second), ours(*third)
    for batch in (first, second, third):
        updated.update(*batch)
    value, expected = ours.compute(), updated.compute()
    if isinstance(value, dict):
        # The extremes are those of the batches there.
        value, expected = value["raw"], expected["raw"]
    same(value, expected)
    assert ours.update_count == 3


@pytest.mark.parametrize("make", DERIVED[:4], ids=lambda make: make.__name__)
def test_a_metric_of_torchmetrics_inside_counts_once_too(make):
    mixed = SimpleNamespace(**vars(OURS) | {"MeanSquaredError": THEIRS.MeanSquaredError})
    ours, native = make(mixed), make(OURS)
    for batch in number_batches(3, 6, 3):
        same(ours(*batch), native(*batch))
        same(ours.compute(), native.compute())


def test_a_window_inside_is_in_its_place_after_forward():
    def make() -> Any:
        class Doubled(OURS.MinMaxMetric):
            def compute(self):
                return 2 * super().compute()["raw"]

        return Doubled(OURS.Running(OURS.MeanSquaredError(), window=2))

    ours, updated = make(), make()
    for batch in number_batches(5, 6, 3):
        ours(*batch), updated.update(*batch)
        same(ours.compute(), updated.compute())


def test_a_class_may_name_the_values_of_classes():
    def make(of: Any) -> Any:
        class Short(of.ClasswiseWrapper):
            def _convert_output(self, x):
                return {**super()._convert_output(x), "worst": x.min()}

        return Short(of.MulticlassRecall(4, average=None), labels=["a", "b", "c", "d"])

    ours, theirs = make(OURS), make(THEIRS)
    for batch in class_batches():
        same(ours(*batch), theirs(*batch))
    same(ours.compute(), theirs.compute())
