"""Metrics that see the predictions or the targets in another form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fastmetrics.collections import MetricCollection
from fastmetrics.metric import Metric
from fastmetrics.wrappers._inside import MetricsInside, handed_on

__all__ = ["BinaryTargetTransformer", "LambdaInputTransformer", "MetricInputTransformer"]


class MetricInputTransformer(MetricsInside):
    """A metric, or collection, behind ``transform_pred`` and ``transform_target``.

    Subclasses define these; both return what they get by default. The first argument of a batch,
    or the keyword ``preds``, is a prediction, the second one, or ``target``, a target; all others
    are handed on as they are.

    Args:
        wrapped_metric: a metric or collection.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        TypeError: ``wrapped_metric`` is neither.

    Example:
        >>> import torch
        >>> from fastmetrics import MeanSquaredError
        >>> from fastmetrics.wrappers import MetricInputTransformer
        >>> class OfLogarithms(MetricInputTransformer):
        ...     def transform_pred(self, pred):
        ...         return pred.exp()
        >>> metric = OfLogarithms(MeanSquaredError())
        >>> metric(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 3.0]))
        tensor(2.)
    """

    fused_update = True

    def __init__(self, wrapped_metric: Metric | MetricCollection, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(wrapped_metric, (Metric, MetricCollection)):
            raise TypeError(
                f"`wrapped_metric` must be a Metric or MetricCollection, got {wrapped_metric!r}."
            )
        self.wrapped_metric = wrapped_metric

    def transform_pred(self, pred: Tensor) -> Tensor:
        """Return the predictions as the metric shall see them."""
        return pred

    def transform_target(self, target: Tensor) -> Tensor:
        """Return the targets as the metric shall see them."""
        return target

    def _wrap_transform(self, *args: Any) -> tuple[Any, ...]:
        transforms = (self.transform_pred, self.transform_target)
        # Not strict: there may be no target, and more than these two.
        new = [transform(arg) for transform, arg in zip(transforms, args, strict=False)]
        return (*new, *args[2:])

    def _transformed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        new_kwargs = dict(kwargs)
        for name, transform in (("preds", self.transform_pred), ("target", self.transform_target)):
            if name in kwargs:
                new_kwargs[name] = transform(kwargs[name])
        return self._wrap_transform(*args), new_kwargs

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch, transformed; arguments as for the metric."""
        args_inside, kwargs_inside = self._transformed(args, kwargs)
        self.wrapped_metric.update(*args_inside, **kwargs_inside)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch, transformed, and return its value."""
        args_inside, kwargs_inside = self._transformed(args, kwargs)
        return self._forwarded(self.wrapped_metric(*args_inside, **kwargs_inside))

    def _value(self) -> Any:
        return self.wrapped_metric.compute()

    @property
    def _hands_on(self) -> Any:
        return handed_on(self.wrapped_metric)


class LambdaInputTransformer(MetricInputTransformer):
    """A metric, or collection, behind functions that transform predictions and targets.

    Args:
        wrapped_metric: a metric or collection.
        transform_pred: takes and returns predictions; None leaves them.
        transform_target: takes and returns targets; None leaves them.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        TypeError: ``wrapped_metric`` is neither, or a transform cannot be called.

    Example:
        >>> import torch
        >>> from fastmetrics.classification import BinaryAccuracy
        >>> from fastmetrics.wrappers import LambdaInputTransformer
        >>> metric = LambdaInputTransformer(BinaryAccuracy(), lambda preds: 1 - preds)
        >>> metric(torch.tensor([0.1, 0.8]), torch.tensor([1, 1]))
        tensor(0.5000)
    """

    def __init__(
        self,
        wrapped_metric: Metric | MetricCollection,
        transform_pred: Callable[[Tensor], Tensor] | None = None,
        transform_target: Callable[[Tensor], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(wrapped_metric, **kwargs)
        given = {"transform_pred": transform_pred, "transform_target": transform_target}
        for name, transform in given.items():
            if transform is None:
                continue
            if not callable(transform):
                raise TypeError(f"`{name}` must be a function or None, got {transform!r}.")
            # A module would be found behind the method of that name.
            object.__setattr__(self, name, transform)


class BinaryTargetTransformer(MetricInputTransformer):
    """A metric, or collection, that sees 1 for targets above ``threshold`` and 0 for the others.

    The transformed target is ``target > threshold``, in the dtype of the target.

    Args:
        wrapped_metric: a metric or collection.
        threshold: a number.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        TypeError: ``wrapped_metric`` is neither, or ``threshold`` no number.

    Example:
        >>> import torch
        >>> from fastmetrics.classification import BinaryRecall
        >>> from fastmetrics.wrappers import BinaryTargetTransformer
        >>> metric = BinaryTargetTransformer(BinaryRecall(), threshold=2)
        >>> metric(torch.tensor([0.9, 0.1, 0.2]), torch.tensor([5, 0, 3]))
        tensor(0.5000)
    """

    def __init__(
        self, wrapped_metric: Metric | MetricCollection, threshold: float = 0, **kwargs: Any
    ) -> None:
        super().__init__(wrapped_metric, **kwargs)
        if not isinstance(threshold, (int, float)):
            raise TypeError(f"`threshold` must be a number, got {threshold!r}.")
        self.threshold = threshold

    def transform_target(self, target: Tensor) -> Tensor:
        """Return 1 for targets above the threshold, 0 for the others."""
        return target.gt(self.threshold).to(target.dtype)
