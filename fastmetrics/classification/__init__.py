"""Classification metrics: binary, multiclass and multilabel classes, and the task wrappers."""

from typing import TYPE_CHECKING

from fastmetrics.classification.accuracy import *
from fastmetrics.classification.auroc import *
from fastmetrics.classification.average_precision import *
from fastmetrics.classification.calibration_error import *
from fastmetrics.classification.cohen_kappa import *
from fastmetrics.classification.confusion_matrix import *
from fastmetrics.classification.eer import *
from fastmetrics.classification.exact_match import *
from fastmetrics.classification.f_beta import *
from fastmetrics.classification.group_fairness import *
from fastmetrics.classification.hamming import *
from fastmetrics.classification.hinge import *
from fastmetrics.classification.jaccard import *
from fastmetrics.classification.logauc import *
from fastmetrics.classification.matthews_corrcoef import *
from fastmetrics.classification.negative_predictive_value import *
from fastmetrics.classification.precision_fixed_recall import *
from fastmetrics.classification.precision_recall import *
from fastmetrics.classification.precision_recall_curve import *
from fastmetrics.classification.ranking import *
from fastmetrics.classification.recall_fixed_precision import *
from fastmetrics.classification.roc import *
from fastmetrics.classification.sensitivity_specificity import *
from fastmetrics.classification.specificity import *
from fastmetrics.classification.specificity_sensitivity import *
from fastmetrics.classification.stat_scores import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
