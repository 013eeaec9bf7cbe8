"""The stateless API of the regression metrics, and their formulas."""

from typing import TYPE_CHECKING

from fastmetrics.functional.regression.concordance import *
from fastmetrics.functional.regression.cosine_similarity import *
from fastmetrics.functional.regression.crps import *
from fastmetrics.functional.regression.csi import *
from fastmetrics.functional.regression.explained_variance import *
from fastmetrics.functional.regression.js_divergence import *
from fastmetrics.functional.regression.kendall import *
from fastmetrics.functional.regression.kl_divergence import *
from fastmetrics.functional.regression.log_cosh import *
from fastmetrics.functional.regression.log_mse import *
from fastmetrics.functional.regression.mae import *
from fastmetrics.functional.regression.mape import *
from fastmetrics.functional.regression.minkowski import *
from fastmetrics.functional.regression.mse import *
from fastmetrics.functional.regression.nrmse import *
from fastmetrics.functional.regression.pearson import *
from fastmetrics.functional.regression.r2 import *
from fastmetrics.functional.regression.rse import *
from fastmetrics.functional.regression.spearman import *
from fastmetrics.functional.regression.symmetric_mape import *
from fastmetrics.functional.regression.tweedie_deviance import *
from fastmetrics.functional.regression.wmape import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
