"""Metrics for PyTorch: one compiled pass over the data, no host syncs, fixed-size states."""
