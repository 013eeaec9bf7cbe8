"""A callback for Catalyst: a collection among the metrics of each loader.

Use it as ``runner.train(..., callbacks=[Metrics(collection)])``, with a collection that says which
keys of the batch it reads: ``collection.from_outputs(preds="logits", target="targets")``. It was
run with Catalyst 22.4.
"""

from __future__ import annotations

from catalyst import dl

from fastmetrics import MetricCollection


class Metrics(dl.Callback):
    """Begins anew with each loader, and logs with those of Catalyst when it is through."""

    def __init__(self, metrics: MetricCollection) -> None:
        super().__init__(order=dl.CallbackOrder.Metric)
        self.metrics = metrics

    def on_loader_start(self, runner: dl.IRunner) -> None:
        self.metrics.reset()

    def on_batch_end(self, runner: dl.IRunner) -> None:
        self.metrics.update(runner.batch)

    def on_loader_end(self, runner: dl.IRunner) -> None:
        values = self.metrics.compute()
        runner.loader_metrics.update({name: value.item() for name, value in values.items()})
