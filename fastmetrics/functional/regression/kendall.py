"""Kendall's rank correlation coefficient.

Source: Kendall, A new measure of rank correlation, Biometrika 30 (1938), and The treatment of ties
in ranking problems, Biometrika 33 (1945); variant c: Stuart, The estimation and comparison of
strengths of association in contingency tables, Biometrika 40 (1953).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.ops import rank_orders_
from fastmetrics.ops.ranks import (
    COUNT,
    DISCORDANT,
    DISTINCT_PREDS,
    DISTINCT_TARGET,
    NAN,
    NUM_ORDERS,
    TIED_BOTH,
    TIED_PREDS,
    TIED_TARGET,
    Samples,
)
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.dtypes import is_wide

__all__ = ["kendall_rank_corrcoef"]

_VARIANTS = ("a", "b", "c")
_ALTERNATIVES = ("two-sided", "less", "greater")


def check_kendall(variant: Any, t_test: Any, alternative: Any) -> tuple[str, str | None]:
    """Return the variant and, for a test, the alternative; raise ``ValueError`` for others."""
    if not isinstance(t_test, bool):
        raise ValueError(f"`t_test` must be a bool, got {t_test!r}.")
    if t_test and alternative is None:
        raise ValueError("`alternative` must be given for `t_test=True`, got None.")
    variant = str(variant).lower()
    check_choice("variant", variant, _VARIANTS)
    if not t_test:
        return variant, None
    alternative = str(alternative).lower().replace("_", "-")
    check_choice("alternative", alternative, _ALTERNATIVES)
    return variant, alternative


def _tau(orders: Tensor, variant: str) -> Tensor:
    """Return tau of each output, float64; 0 / 0 is NaN."""
    total, concordant = _pairs(orders)
    discordant = orders[:, DISCORDANT]
    surplus = (concordant - discordant).double()
    if variant == "a":
        return surplus / (concordant + discordant)
    if variant == "b":
        untied = (total - orders[:, TIED_PREDS]).double().sqrt()
        return surplus / (untied * (total - orders[:, TIED_TARGET]).double().sqrt())
    fewest = torch.minimum(orders[:, DISTINCT_PREDS], orders[:, DISTINCT_TARGET]).double()
    return 2 * surplus / ((fewest - 1) / fewest * orders[:, COUNT].double().square())


def _pairs(orders: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of pairs, and that of the concordant ones."""
    count = orders[:, COUNT]
    total = count * (count - 1) // 2
    tied = orders[:, TIED_PREDS] + orders[:, TIED_TARGET] - orders[:, TIED_BOTH]
    return total, total - tied - orders[:, DISCORDANT]


def _p_value(orders: Tensor, triples: Tensor, variant: str, alternative: str) -> Tensor:
    """Return the probability of such a tau without correlation, by the normal distribution."""
    _, concordant = _pairs(orders)
    surplus = (concordant - orders[:, DISCORDANT]).double()
    count = orders[:, COUNT].double()
    ordered = count * (count - 1)
    variance = ordered * (2 * count + 5) / 18
    if variant != "a":
        ties = orders[:, TIED_PREDS : TIED_TARGET + 1].double()
        # t (t - 1) (2 t + 5) is twice t (t - 1) (t - 2) and nine times t (t - 1).
        variance = (
            variance
            - (triples + 9 * ties).sum(-1) / 9
            + 2 * ties.prod(-1) / ordered
            + triples.prod(-1) / (9 * ordered * (count - 2))
        )
    z = surplus / variance.sqrt()
    if alternative == "two-sided":
        return torch.erfc(z.abs() / math.sqrt(2))
    return torch.erfc((z if alternative == "greater" else -z) / math.sqrt(2)) / 2


def kendall_formula(
    orders: Tensor, triples: Tensor, variant: str, alternative: str | None, wide: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Return tau of each output ``[D]``, and the p-value with an ``alternative``."""
    nan = orders[:, NAN] > 0
    tau = torch.where(nan, torch.nan, _tau(orders, variant).clamp(-1.0, 1.0))
    tau = tau if wide else tau.float()
    if alternative is None:
        return tau
    p_value = _p_value(orders, triples, variant, alternative)
    p_value = torch.where(nan, torch.nan, p_value)
    return tau, p_value if wide else p_value.float()


def order_correlation(
    preds: list[Tensor],
    target: list[Tensor],
    outputs: int,
    variant: str,
    alternative: str | None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return Kendall's correlation ``[D]`` of chunks as `rank_orders_` takes them."""
    device = preds[0].device
    orders = torch.zeros(outputs, NUM_ORDERS, dtype=torch.int64, device=device)
    triples = torch.zeros(outputs, 2, dtype=torch.float64, device=device)
    rank_orders_(orders, triples, preds, target)
    wide = is_wide(preds[0], target[0])
    return kendall_formula(orders, triples, variant, alternative, wide)


@public
def kendall_rank_corrcoef(
    preds: Tensor,
    target: Tensor,
    variant: str = "b",
    t_test: bool = False,
    alternative: str | None = "two-sided",
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Kendall's correlation: how many pairs of samples are in the same order, in [-1, 1].

    With C concordant and D discordant pairs out of :math:`n_0 = N (N - 1) / 2`, of which
    :math:`T_x` have equal predictions and :math:`T_y` equal targets, and m the smaller number of
    distinct values:

    .. math::
        \tau_a = \frac{C - D}{C + D} \quad
        \tau_b = \frac{C - D}{\sqrt{(n_0 - T_x) (n_0 - T_y)}} \quad
        \tau_c = \frac{2 (C - D)}{N^2 (m - 1) / m}

    All counts are exact. NaN where predictions or targets are constant or one of them is NaN. Not
    differentiable.

    Args:
        preds: predictions, ``[N]`` or ``[N, D]``, any real dtype.
        target: the truth, in the same shape.
        variant: ``"a"``, ``"b"`` or ``"c"``.
        t_test: whether to return the p-value of no correlation too, by the normal approximation.
            NaN for ``"b"`` and ``"c"`` with two samples.
        alternative: what to test for: ``"two-sided"``, ``"less"`` or ``"greater"``.

    Returns:
        tau, a scalar or ``[D]``; with ``t_test`` the pair of it and the p-value. float64 if an
        input is, else float32.

    Raises:
        ValueError: an argument or a shape other than these, or complex inputs.
        RuntimeError: ``preds`` and ``target`` have different shapes.

    >>> import torch
    >>> from fastmetrics.functional import kendall_rank_corrcoef
    >>> preds, target = torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 1.0])
    >>> kendall_rank_corrcoef(preds, target)
    tensor(0.3333)
    >>> kendall_rank_corrcoef(preds, target, t_test=True)
    (tensor(0.3333), tensor(0.4969))
    """
    variant, test = check_kendall(variant, t_test, alternative)
    outputs = preds.shape[1] if preds.ndim == 2 else 1
    Samples(outputs).check_batch("kendall_rank_corrcoef", preds, target)
    value = order_correlation([preds], [target], outputs, variant, test)
    if outputs > 1:
        return value
    if isinstance(value, Tensor):
        return value.squeeze()
    return value[0].squeeze(), value[1].squeeze()
