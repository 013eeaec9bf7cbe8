"""Lin's concordance correlation coefficient.

Source: Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45
(1989).
"""

from __future__ import annotations

import math

from torch import Tensor

from fastmetrics.functional.regression._declare import PairFunction, correlation
from fastmetrics.functional.regression._moment_values import any_wide, as_result
from fastmetrics.functional.regression.pearson import correlation_of_one, defined_correlation
from fastmetrics.ops.co_moments import (
    COUNT,
    EXPONENT_D,
    EXPONENT_X,
    M2_X,
    M2_Y,
    MEAN_D,
    WEIGHT,
)
from fastmetrics.ops.powers import times_power
from fastmetrics.utilities.recording import is_recorded

__all__ = ["concordance_corrcoef"]


def concordance_formula(moments: Tensor, wide: bool | None = None) -> Tensor:
    """Return the coefficients of ``moments`` ``[D, 18]``, ``[D]``."""
    one = correlation_of_one(moments, "concordance_corrcoef", wide)
    if one is not None:
        number, row, is_wide = one
        rest = row[MEAN_D] * row[MEAN_D] * row[WEIGHT] * ((row[COUNT] - 1) / row[COUNT])
        agreement = 2 * number * math.sqrt(row[M2_X]) * math.sqrt(row[M2_Y])
        return as_result(agreement / (row[M2_X] + row[M2_Y] + rest), is_wide).unsqueeze(0)
    count = moments[:, COUNT]
    x, y, bias = moments[:, M2_X], moments[:, M2_Y], moments[:, MEAN_D].square()
    is_wide = any_wide(moments, wide)
    if is_wide or is_recorded():  # others have no exponents
        exponents = moments[:, EXPONENT_X : EXPONENT_D + 1]
        by_x, by_y, by_d = (2 * (exponents - exponents.amax(-1, keepdim=True))).unbind(-1)
        x, y, bias = times_power(x, by_x), times_power(y, by_y), times_power(bias, by_d)
    bias = bias * moments[:, WEIGHT] * ((count - 1) / count)
    pearson = defined_correlation(moments, "concordance_corrcoef", wide)
    value = 2 * pearson * x.sqrt() * y.sqrt() / (x + y + bias)
    return as_result(value, is_wide)


concordance_corrcoef: PairFunction = correlation(
    "concordance_corrcoef",
    concordance_formula,
    """Concordance, ``2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2)``, in [-1, 1].""",
    returns="``[D]``, with D = 1 for ``[N]``.",
    example="""
    >>> preds, target = torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0])
    >>> concordance_corrcoef(preds, target)
    tensor([0.9777])
    """,
)
