"""The base of metrics that hand their data to another metric."""

from __future__ import annotations

from typing import Any

from fastmetrics.metric import Metric

__all__ = ["WrapperMetric"]


class WrapperMetric(Metric):
    """A metric around another one, which synchronises itself; subclasses define ``forward``."""

    _wraps_compute = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Hand a batch to the metric inside.

        Raises:
            NotImplementedError: the subclass has no ``forward``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `forward`.")
