"""The stateless API of the classification metrics, and their formulas."""

from typing import TYPE_CHECKING

from fastmetrics.functional.classification.accuracy import *
from fastmetrics.functional.classification.auroc import *
from fastmetrics.functional.classification.average_precision import *
from fastmetrics.functional.classification.calibration_error import *
from fastmetrics.functional.classification.cohen_kappa import *
from fastmetrics.functional.classification.confusion_matrix import *
from fastmetrics.functional.classification.eer import *
from fastmetrics.functional.classification.exact_match import *
from fastmetrics.functional.classification.f_beta import *
from fastmetrics.functional.classification.group_fairness import *
from fastmetrics.functional.classification.hamming import *
from fastmetrics.functional.classification.hinge import *
from fastmetrics.functional.classification.jaccard import *
from fastmetrics.functional.classification.logauc import *
from fastmetrics.functional.classification.matthews_corrcoef import *
from fastmetrics.functional.classification.negative_predictive_value import *
from fastmetrics.functional.classification.precision_fixed_recall import *
from fastmetrics.functional.classification.precision_recall import *
from fastmetrics.functional.classification.precision_recall_curve import *
from fastmetrics.functional.classification.ranking import *
from fastmetrics.functional.classification.recall_fixed_precision import *
from fastmetrics.functional.classification.roc import *
from fastmetrics.functional.classification.sensitivity_specificity import *
from fastmetrics.functional.classification.specificity import *
from fastmetrics.functional.classification.specificity_sensitivity import *
from fastmetrics.functional.classification.stat_scores import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
