"""Jensen-Shannon divergence of the rows of two matrices.

Source: Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information
Theory 37 (1991).
"""

from __future__ import annotations

from fastmetrics.functional.regression._declare import DivergenceFunction, divergence
from fastmetrics.ops.row_similarity import JS, JS_LOG

__all__ = ["jensen_shannon_divergence"]

jensen_shannon_divergence: DivergenceFunction = divergence(
    "jensen_shannon_divergence",
    (JS, JS_LOG),
    r"""Return the Jensen-Shannon divergence of each pair of rows, reduced.

    .. math:: JS(p, q) = (KL(p, m) + KL(q, m)) / 2, \quad m = (p + q) / 2""",
    example="""
    >>> jensen_shannon_divergence(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]))
    tensor(0.0338)
    """,
)
