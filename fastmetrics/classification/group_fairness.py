"""Binary metrics that compare groups of samples.

Arguments are explained in :mod:`fastmetrics.functional.classification.group_fairness`. ``update``
takes ``preds``, ``target``, ``groups`` and optionally ``weight``.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch import Tensor

from fastmetrics.classification._statistic import LabelCountMetric
from fastmetrics.functional.classification.confusion_matrix import check_binary_arguments
from fastmetrics.functional.classification.group_fairness import (
    check_fairness_task,
    check_num_groups,
    fairness_formula,
    fairness_target,
    flatten_groups,
    group_stat_rates_formula,
)
from fastmetrics.ops import label_confusion_

__all__ = ["BinaryFairness", "BinaryGroupStatRates"]


class _GroupCountMetric(LabelCountMetric):
    """One table ``[[tn, fp], [fn, tp]]`` per group; ``counts`` is ``[H, G, 2, 2]``."""

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(
        self,
        num_groups: int,
        threshold: float,
        ignore_index: int | None,
        validate_args: bool,
        input: str,
        **kwargs: Any,
    ) -> None:
        check_num_groups(num_groups)
        if validate_args:
            check_binary_arguments(threshold, ignore_index, input)
        super().__init__(num_groups, threshold, ignore_index, validate_args, input, **kwargs)
        self.num_groups = num_groups

    def update(  # type: ignore[override]  # groups are an input of their own
        self, preds: Tensor, target: Tensor, groups: Tensor, weight: Tensor | None = None
    ) -> None:
        """Count one batch.

        Args:
            preds: scores in a float type or labels 0 and 1, ``[N, ...]``.
            target: labels 0 and 1, same shape.
            groups: integers in ``[0, G)``, ``[N]`` or ``[N, 1]``.
            weight: optional ``[N]``.

        Raises:
            ValueError: shapes, dtypes or devices do not fit.
            RuntimeError: a label or a group is out of range (CPU); the state is unchanged.
        """
        counts = self._open_counts(target, weight)
        label_confusion_(
            counts,
            self.events,
            preds,
            target,
            weight,
            flatten_groups(groups),
            self.threshold,
            self._logits,
            self.ignore_index,
            self.validate_args,
        )
        self._keep_counts(counts)

    @property
    def tp(self) -> Tensor:
        """True positives ``[G]``."""
        return self._final_tables()[:, 1, 1]

    @property
    def fp(self) -> Tensor:
        """False positives ``[G]``."""
        return self._final_tables()[:, 0, 1]

    @property
    def tn(self) -> Tensor:
        """True negatives ``[G]``."""
        return self._final_tables()[:, 0, 0]

    @property
    def fn(self) -> Tensor:
        """False negatives ``[G]``."""
        return self._final_tables()[:, 1, 0]

    def _statistic(self) -> Hashable:
        return ("groups", super()._statistic())


class BinaryGroupStatRates(_GroupCountMetric):
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
        super().__init__(num_groups, threshold, ignore_index, validate_args, input, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """Return the rates of each group."""
        return group_stat_rates_formula(self._final_tables())


class BinaryFairness(_GroupCountMetric):
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
        super().__init__(num_groups, threshold, ignore_index, validate_args, input, **kwargs)
        self.task = task

    def update(  # type: ignore[override]  # demographic parity needs no target
        self,
        preds: Tensor,
        target: Tensor | None,
        groups: Tensor,
        weight: Tensor | None = None,
    ) -> None:
        """Count one batch; arguments and errors as in :meth:`BinaryGroupStatRates.update`."""
        super().update(preds, fairness_target(preds, target, self.task), groups, weight)

    def compute(self) -> dict[str, Tensor]:
        """Return the ratio of each rate."""
        return fairness_formula(self._final_tables(), self.task)

    def _statistic(self) -> Hashable:
        # Demographic parity replaces the targets, so its counts are others.
        return (self.task == "demographic_parity", super()._statistic())
