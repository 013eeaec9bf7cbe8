"""Triton's interpreter as the parity tests need it."""

from __future__ import annotations

import numpy as np
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton import inputs

# Whether `nan_max` is reduced by NumPy.
FAST_REDUCTION = True


def repair() -> None:
    """Let triton 3.6's interpreter work with numpy >= 2.4, exactly, and at a bearable speed.

    It widens subnormal bfloat16 wrongly, patches the language again for each call of a function,
    and reduces with a function of our own element by element; the last is left as it is in
    `test_the_reduction_itself_puts_nan_first`.
    """
    from triton.runtime import interpreter

    patch_tensor, patch_language = interpreter._patch_lang_tensor, interpreter._patch_lang
    convert, reduce = interpreter._convert_float, interpreter.ReduceOps.apply_impl
    patched = set()

    def patch_index(tensor, scope):
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    def patch_once(function):
        seen = tuple(any(x is y for y in function.__globals__.values()) for x in (tl, tl.core))
        if seen in patched:
            return interpreter._LangPatchScope()
        patched.add(seen)
        scope = patch_language(function)
        restore = scope.restore
        scope.restore = lambda: (patched.clear(), restore())
        return scope

    def widen(data, source, target, rounding):
        if source == tl.bfloat16 and target == tl.float32:
            return data.view(np.uint16).astype(np.uint32) << 16
        return convert(data, source, target, rounding)

    def apply(self, input):
        if self.combine_fn is inputs.nan_max and FAST_REDUCTION:
            return self.min_max(input[0], val_reduce_op=np.max)
        return reduce(self, input)

    memory = CheckedMemory(interpreter._interpreter)
    init_arguments = interpreter.GridExecutor._init_args_hst

    def note_ranges(self, arguments, keywords):
        copies = init_arguments(self, arguments, keywords)
        tensors = [x for x in copies[0] if isinstance(x, Tensor)]
        begins = [x.untyped_storage().data_ptr() for x in tensors]
        sizes = [x.untyped_storage().nbytes() for x in tensors]
        memory.ranges = [(begin, begin + size) for begin, size in zip(begins, sizes, strict=True)]
        return copies

    interpreter._interpreter = memory
    interpreter.GridExecutor._init_args_hst = note_ranges
    interpreter._patch_lang_tensor = patch_index
    interpreter._patch_lang = patch_once
    interpreter._convert_float = widen
    interpreter.ReduceOps.apply_impl = apply


class CheckedMemory:
    """The interpreter's memory access, refusing addresses outside the tensors of the launch."""

    def __init__(self, memory):
        self.memory = memory
        self.ranges = []

    def __getattr__(self, name):
        return getattr(self.memory, name)

    def check(self, pointers, values, mask):
        assert pointers.shape == values.shape == mask.shape
        active = pointers[mask.astype(bool)].astype(np.uint64)
        allowed = np.zeros(active.shape, bool)
        for first, last in self.ranges:
            allowed |= (active >= first) & (active + values.itemsize <= last)
        assert allowed.all(), f"{(~allowed).sum()} of {active.size} addresses are out of bounds"

    def load(self, pointers, mask, other, dtype):
        self.check(pointers, other, mask)
        return self.memory.load(pointers, mask, other, dtype)

    def store(self, pointers, value, mask):
        self.check(pointers, value, mask)
        self.memory.store(pointers, value, mask)

    def atomic_rmw(self, op, pointers, value, mask, order):
        self.check(pointers, value, mask)
        return self.memory.atomic_rmw(op, pointers, value, mask, order)
