"""Regression metrics."""

from typing import TYPE_CHECKING

from fastmetrics.regression.concordance import *
from fastmetrics.regression.cosine_similarity import *
from fastmetrics.regression.crps import *
from fastmetrics.regression.csi import *
from fastmetrics.regression.explained_variance import *
from fastmetrics.regression.js_divergence import *
from fastmetrics.regression.kendall import *
from fastmetrics.regression.kl_divergence import *
from fastmetrics.regression.log_cosh import *
from fastmetrics.regression.log_mse import *
from fastmetrics.regression.mae import *
from fastmetrics.regression.mape import *
from fastmetrics.regression.minkowski import *
from fastmetrics.regression.mse import *
from fastmetrics.regression.nrmse import *
from fastmetrics.regression.pearson import *
from fastmetrics.regression.r2 import *
from fastmetrics.regression.rse import *
from fastmetrics.regression.spearman import *
from fastmetrics.regression.symmetric_mape import *
from fastmetrics.regression.tweedie_deviance import *
from fastmetrics.regression.wmape import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
