"""Binary metrics that compare groups of samples.

Arguments are explained in :mod:`fastmetrics.functional.classification.group_fairness`. ``update``
takes ``preds``, ``target``, ``groups`` and optionally ``weight``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.classification._counts import CountMetric
from fastmetrics.core.keywords import adds
from fastmetrics.core.statistic import counts_only
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification.group_fairness import (
    check_fairness_task,
    check_target,
    fairness_formula,
    group_stat_rates_formula,
)
from fastmetrics.ops.confusion import GroupTables

__all__ = ["BinaryFairness", "BinaryGroupStatRates"]


class _GroupMetric(CountMetric):
    """True and false positives and negatives of each group."""

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: GroupTables
    num_groups = StatisticField[int]()
    threshold = StatisticField[float]()
    input = StatisticField[str]()

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # groups are an input of their own
        self, preds: Tensor, target: Tensor, groups: Tensor, weight: Tensor | None = None
    ) -> None:
        """Count one batch.

        Args:
            preds: scores in a float type or labels 0 and 1, ``[N, ...]``.
            target: labels 0 and 1, same shape.
            groups: integers in ``[0, G)``, ``[N]`` or ``[N, 1]``, or in the shape of ``preds``.
            weight: optional ``[N]``.

        Raises:
            ValueError: shapes, dtypes or devices do not fit.
            RuntimeError: a label or a group is out of range (CPU); the state is unchanged.
        """
        self.statistic.add(self._states, preds, target, groups, weight)


class BinaryGroupStatRates(_GroupMetric):
    """Shares of true and false positives and negatives, ``[tp, fp, tn, fn]``, in each group.

    ``(tp, fp, tn, fn) / (tp + fp + tn + fn)`` of each group.

    ``compute`` returns ``{"group_0": [4], ...}``, float32 in ``[0, 1]``, NaN for a group without
    elements. ``num_groups`` is an integer of at least 2.

    >>> import torch
    >>> from fastmetrics.classification import BinaryGroupStatRates
    >>> metric = BinaryGroupStatRates(num_groups=2)
    >>> target, preds = torch.tensor([0, 1, 0, 1]), torch.tensor([0.1, 0.8, 0.2, 0.3])
    >>> metric.update(preds, target, torch.tensor([0, 0, 1, 1]))
    >>> metric.compute()["group_1"]
    tensor([0.0000, 0.0000, 0.5000, 0.5000])
    """

    def __init__(
        self,
        num_groups: int,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        statistic = GroupTables(
            num_groups=num_groups,
            threshold=threshold,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        super().__init__(statistic, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """Return the rates of each group."""
        return group_stat_rates_formula(self.statistic.read(self._states))


class BinaryFairness(_GroupMetric):
    """Lowest over highest rate among the groups: demographic parity, equal opportunity or both.

    ``task`` is ``"demographic_parity"`` (share of positive predictions; ``target`` may be None, and
    has no effect), ``"equal_opportunity"`` (true positive rate) or ``"all"``. ``compute`` returns
    ``{"DP_<lowest>_<highest>": value, "EO_<lowest>_<highest>": value}``, float32 in ``[0, 1]``; see
    :func:`fastmetrics.functional.classification.group_fairness.fairness_formula`. ``compute`` reads
    the names of the groups on the host.

    >>> import torch
    >>> from fastmetrics.classification import BinaryFairness
    >>> metric = BinaryFairness(num_groups=2)
    >>> target, preds = torch.tensor([0, 1, 0, 1]), torch.tensor([0.9, 0.8, 0.2, 0.7])
    >>> metric(preds, target, torch.tensor([0, 0, 1, 1]))
    {'DP_1_0': tensor(0.5000), 'EO_0_0': tensor(1.)}
    """

    def __init__(
        self,
        num_groups: int,
        task: str = "all",
        threshold: float = 0.5,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        input: str = "auto",
        **kwargs: Any,
    ) -> None:
        check_fairness_task(task)
        statistic = GroupTables(
            num_groups=num_groups,
            threshold=threshold,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
            reads_target=task != "demographic_parity",
        )
        super().__init__(statistic, **kwargs)
        self.task = task

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # demographic parity needs no target
        self,
        preds: Tensor,
        target: Tensor | None,
        groups: Tensor,
        weight: Tensor | None = None,
    ) -> None:
        """Count one batch; arguments and errors as in :meth:`BinaryGroupStatRates.update`."""
        check_target(target, self.task)
        self.statistic.add(self._states, preds, target, groups, weight)

    def compute(self) -> dict[str, Tensor]:
        """Return the ratio of each rate."""
        return fairness_formula(self.statistic.read(self._states), self.task)
