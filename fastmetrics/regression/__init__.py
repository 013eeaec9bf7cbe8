"""Regression metrics."""

from fastmetrics.regression.cosine_similarity import CosineSimilarity
from fastmetrics.regression.js_divergence import JensenShannonDivergence
from fastmetrics.regression.kl_divergence import KLDivergence

__all__ = [
    "CosineSimilarity",
    "JensenShannonDivergence",
    "KLDivergence",
]
