"""Hugging Face's ``Trainer``: a collection as its ``compute_metrics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.integrations._metrics import Metrics, as_collection, as_number

__all__ = ["compute_metrics"]


def compute_metrics(
    metrics: Metrics, transform: Callable[[Any], tuple[Tensor, ...]] | None = None
) -> Callable[..., dict[str, Any]]:
    """Return what ``Trainer(compute_metrics=...)`` takes, with or without ``batch_eval_metrics``.

    With ``TrainingArguments(batch_eval_metrics=True)`` each batch is added as it comes, and nothing
    of it is kept; without, the trainer gathers all predictions of the evaluation first. Either way
    every process is given the predictions of all of them, so that the metrics exchange nothing.

    Args:
        metrics: a collection, a metric or a dict of metrics; they are copied.
        transform: makes of an ``EvalPrediction`` the arguments of ``update``; by default
            ``predictions`` (the first of them where a model returns several) and ``label_ids``.

    Returns:
        A function from an ``EvalPrediction`` to Python numbers, or lists of them, by name.

    Raises:
        ValueError: ``metrics`` are none.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> from fastmetrics.classification import MulticlassAccuracy
        >>> from fastmetrics.integrations.transformers import compute_metrics
        >>> compute = compute_metrics({"accuracy": MulticlassAccuracy(3)})
        >>> batch = SimpleNamespace(predictions=torch.eye(3), label_ids=torch.tensor([0, 1, 2]))
        >>> compute(batch, compute_result=False)
        {}
        >>> compute(batch, compute_result=True)
        {'accuracy': 1.0}
    """
    collection = as_collection(metrics).clone()
    for metric in collection.values():
        metric._to_sync = False

    @torch.no_grad()
    def compute(prediction: Any, compute_result: bool = True) -> dict[str, Any]:
        batch = _arguments(prediction) if transform is None else transform(prediction)
        collection.to(batch[0].device)
        collection.update(*batch)
        if not compute_result:
            return {}
        values = collection.compute()
        collection.reset()
        return {name: as_number(value) for name, value in values.items()}

    return compute


def _arguments(prediction: Any) -> tuple[Tensor, Tensor]:
    preds, target = prediction.predictions, prediction.label_ids
    preds = preds[0] if isinstance(preds, tuple) else preds
    return torch.as_tensor(preds), torch.as_tensor(target)
