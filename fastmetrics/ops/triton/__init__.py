"""The GPU kernels of the update ops, written in Triton; each imported at its first call on a GPU.

Module names are those of :mod:`fastmetrics.ops`, whose references define what each kernel computes.
A module has a launcher for each op of its namesake, under the name of the op.
"""
