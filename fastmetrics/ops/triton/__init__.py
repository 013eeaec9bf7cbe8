"""The GPU kernels of the update ops, written in Triton; imported at the first call on a GPU.

Module names are those of :mod:`fastmetrics.ops`, whose references define what each kernel computes.
"""

from fastmetrics.ops.triton.stat_scores import stat_scores_

__all__ = ["stat_scores_"]
