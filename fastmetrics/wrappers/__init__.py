"""Metrics around metrics."""

from fastmetrics.wrappers.running import Running

__all__ = ["Running"]
