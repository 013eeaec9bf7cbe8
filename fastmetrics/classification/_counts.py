"""The base of metrics of labels that are counted."""

from __future__ import annotations

from typing import Any

from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.ops.counted import CountStatistic


class CountMetric(StatisticMetric):
    """A metric whose arguments are checked where ``validate_args`` asks for it."""

    is_differentiable = False
    statistic: CountStatistic
    ignore_index = StatisticField[int | None]()
    validate_args = StatisticField[bool]()

    def __init__(self, statistic: CountStatistic, **settings: Any) -> None:
        super().__init__(statistic.checked(), **settings)
