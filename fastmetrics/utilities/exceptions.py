"""Errors and warnings about the way a metric is used, under the names that user code catches."""


class TorchMetricsUserError(Exception):
    """A metric was called in an order that cannot work, for example synced twice."""


class TorchMetricsUserWarning(Warning):
    """A metric was used in a way that works and probably is not what was meant."""
