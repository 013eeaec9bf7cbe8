"""Kullback-Leibler divergence of the rows of two matrices.

Source: Kullback and Leibler, On information and sufficiency, Annals of Mathematical Statistics 22
(1951).
"""

from __future__ import annotations

from fastmetrics.functional.regression._declare import DivergenceFunction, divergence
from fastmetrics.ops.row_similarity import KL, KL_LOG

__all__ = ["kl_divergence"]

kl_divergence: DivergenceFunction = divergence(
    "kl_divergence",
    (KL, KL_LOG),
    r"""Return the Kullback-Leibler divergence of each pair of rows, reduced.

    .. math:: KL(p, q) = \sum_i p_i \log (p_i / q_i)""",
    example="""
    >>> kl_divergence(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]))
    tensor(0.1438)
    """,
)
