"""The ops: one module per statistic family."""

from fastmetrics.ops import backend
from fastmetrics.ops.aggregate import *
from fastmetrics.ops.bootstrap import *
from fastmetrics.ops.box_matches import *
from fastmetrics.ops.box_overlaps import *
from fastmetrics.ops.calibration import *
from fastmetrics.ops.cells import *
from fastmetrics.ops.co_moments import *
from fastmetrics.ops.confusion import *
from fastmetrics.ops.cross_entropy import *
from fastmetrics.ops.curve import *
from fastmetrics.ops.error_sums import *
from fastmetrics.ops.exact_match import *
from fastmetrics.ops.fused import *
from fastmetrics.ops.hinge import *
from fastmetrics.ops.keep_scores import *
from fastmetrics.ops.match_curves import *
from fastmetrics.ops.overlap import *
from fastmetrics.ops.panoptic import *
from fastmetrics.ops.ranking import *
from fastmetrics.ops.ranks import *
from fastmetrics.ops.rates import *
from fastmetrics.ops.ratio import *
from fastmetrics.ops.row_similarity import *
from fastmetrics.ops.score_histogram import *
from fastmetrics.ops.stat_scores import *
from fastmetrics.ops.surface import *
from fastmetrics.ops.tensor_stats import *
from fastmetrics.ops.top_samples import *

backend.load()
