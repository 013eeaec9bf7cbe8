"""The import path under which user code looks for the gather function."""

from fastmetrics.distributed import gather_all_tensors

__all__ = ["gather_all_tensors"]
