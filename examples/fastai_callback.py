"""A callback for fastai: columns for a collection in the table of a training.

Use it as ``Learner(loaders, model, loss_func, cbs=Collection(metrics))``. It was run with fastai
2.8.
"""

from __future__ import annotations

from fastai.callback.core import Callback
from fastai.learner import Recorder

from fastmetrics import MetricCollection


class Collection(Callback):
    """Follows each validation, behind the recorder, whose table it adds to."""

    order = Recorder.order + 1

    # fastai names the callback after its class: one called Metrics would hide ``learner.metrics``.
    def __init__(self, metrics: MetricCollection) -> None:
        self.collection = metrics

    def before_fit(self) -> None:
        names = self.recorder.metric_names
        place = len(names) - self.recorder.add_time  # which comes last
        self.recorder.metric_names = names[:place] + [*self.collection] + names[place:]  # noqa: RUF005 - fastai's own list

    def before_validate(self) -> None:
        self.collection.reset()

    def after_batch(self) -> None:
        if not self.training:
            self.collection.update(self.pred, self.y)

    def after_validate(self) -> None:
        self.recorder.log += [value.item() for value in self.collection.compute().values()]
