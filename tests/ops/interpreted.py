"""Triton's interpreter as the parity tests need it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton import inputs

# Whether `nan_max` is reduced by NumPy.
FAST_REDUCTION = True


def repair() -> None:
    """Let triton 3.6's interpreter work with numpy >= 2.4, exactly, and at a bearable speed.

    It widens subnormal bfloat16 wrongly, patches the language again for each call of a function,
    reduces with a function of our own element by element (left as it is in
    `test_the_reduction_itself_puts_nan_first`), names the type of every tuple and block that is
    made, lists the types of NumPy to find one of them, and works each sum of integers out twice to
    see whether it overflows, where the value would tell.
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

    def make_tuple(self, args, type=None):
        self.values = list(args)
        if type is not None:
            self.type = type if isinstance(type, tl.core.tuple_type) else tl.core.tuple_type(type)

    def make_block(self, element_ty, shape):
        self.element_ty = element_ty
        self.shape = tl.core.tuple(tl.core._unwrap_shape(shape))
        self.numel = tl.core.validate_block_shape(self.shape)

    def numpy_type(type):
        name = type.scalar.name
        if name not in numpy_types:
            numpy_types[name] = find_numpy_type(type)
        return numpy_types[name]

    find_numpy_type, numpy_types = interpreter._get_np_dtype, {}
    interpreter._get_np_dtype = numpy_type
    tl.core.tuple.__init__ = make_tuple
    tl.block_type.__init__ = make_block
    when_asked(tl.core.tuple, "type", lambda self: tl.core._type_for_tuple_values(self.values))
    when_asked(tl.block_type, "name", lambda self: f"<{self.shape}, {self.element_ty}>")
    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)
    interpreter._interpreter = memory
    interpreter.GridExecutor._init_args_hst = note_ranges
    interpreter._patch_lang_tensor = patch_index
    interpreter._patch_lang = patch_once
    interpreter._convert_float = widen
    interpreter.ReduceOps.apply_impl = apply


def when_asked(owner, name, function) -> None:
    """Work an attribute of a class of triton out at its first use."""
    attribute = functools.cached_property(function)
    attribute.__set_name__(owner, name)
    setattr(owner, name, attribute)


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
