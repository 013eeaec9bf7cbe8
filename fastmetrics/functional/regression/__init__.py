"""The stateless API of the regression metrics, and their formulas."""

from fastmetrics.functional.regression.cosine_similarity import cosine_similarity
from fastmetrics.functional.regression.js_divergence import jensen_shannon_divergence
from fastmetrics.functional.regression.kl_divergence import kl_divergence

__all__ = [
    "cosine_similarity",
    "jensen_shannon_divergence",
    "kl_divergence",
]
