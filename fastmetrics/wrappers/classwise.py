"""The value of each class under a name of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.metric import Metric
from fastmetrics.wrappers._inside import MetricsInside, handed_on

__all__ = ["ClasswiseWrapper"]


class ClasswiseWrapper(MetricsInside):
    """A metric with one value for each class, as a dict: ``{"multiclassrecall_0": ..., ...}``.

    The names are those of the class of the metric in lower case, or ``prefix`` and ``postfix`` if
    any is given, around the label or number of each class. States and other attributes of the
    metric inside are attributes of the wrapper, too.

    Args:
        metric: a metric whose value is ``[C]``, as with ``average=None``.
        labels: a name for each class; their numbers by default.
        prefix: put before every name.
        postfix: put behind every name.

    Raises:
        ValueError: ``metric`` is no metric, ``labels`` no list of strings, or ``prefix`` or
            ``postfix`` no string.

    Example:
        >>> import torch
        >>> from fastmetrics.classification import MulticlassRecall
        >>> from fastmetrics.wrappers import ClasswiseWrapper
        >>> metric = ClasswiseWrapper(MulticlassRecall(2, average=None), labels=["cat", "dog"])
        >>> metric(torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1]))
        {'multiclassrecall_cat': tensor(1.), 'multiclassrecall_dog': tensor(0.5000)}
    """

    fused_update = True

    def __init__(
        self,
        metric: Metric,
        labels: list[str] | None = None,
        prefix: str | None = None,
        postfix: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(metric, Metric):
            raise ValueError(f"`metric` must be a Metric, got {metric!r}.")
        strings = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        if labels is not None and not strings:
            raise ValueError(f"`labels` must be None or a list of strings, got {labels!r}.")
        for name, affix in (("prefix", prefix), ("postfix", postfix)):
            if affix is not None and not isinstance(affix, str):
                raise ValueError(f"`{name}` must be None or a string, got {affix!r}.")
        self.metric = metric
        self.labels = labels
        self._prefix = prefix
        self._postfix = postfix

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]  # a constant of the base
        """What the metric inside says."""
        better: bool | None = self.metric.higher_is_better
        return better

    @property
    def metric_state(self) -> dict[str, Any]:
        """The states of the metric inside, by name."""
        states: dict[str, Any] = self.metric.metric_state
        return states

    def _convert_output(self, x: Tensor) -> dict[str, Any]:
        prefix, postfix = self._prefix or "", self._postfix or ""
        if not prefix and not postfix:
            prefix = f"{type(self.metric).__name__.lower()}_"
        labels = range(len(x)) if self.labels is None else self.labels
        # Not strict, as in torchmetrics: the shorter one ends it.
        pairs = zip(labels, x, strict=False)
        return {f"{prefix}{label}{postfix}": value for label, value in pairs}

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch; arguments as for the metric."""
        self.metric.update(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return its value for each class, by name."""
        return self._forwarded(self._convert_output(self.metric(*args, **kwargs)))

    def _value(self) -> dict[str, Any]:
        return self._convert_output(self.metric.compute())

    @property
    def _hands_on(self) -> Any:
        return handed_on(self.metric)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the metric inside."""
        metric = self.__dict__.get("_modules", {}).get("metric")
        if metric is None or name == "metric" or name.startswith("__"):
            return super().__getattr__(name)
        return getattr(metric, name)

    def __setattr__(self, name: str, value: Any) -> None:
        metric = self.__dict__.get("_modules", {}).get("metric")
        if metric is not None and name in metric.metric_state:
            setattr(metric, name, value)
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Leave out what torchmetrics writes twice, under the name of the metric and without."""
        for name in self.metric.metric_state:
            if f"{prefix}metric.{name}" in state_dict:
                state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args)
