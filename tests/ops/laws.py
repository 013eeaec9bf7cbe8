"""The laws that every op keeps, as calls to be checked, and what a family tells about its ops.

Beside each module of `fastmetrics.ops` stands one of the same name here. It names its ops as
`Tested`: how a call is made, and what an oracle, which shares nothing with the code under test,
says about it. `test_laws.py` holds each op to each law, for every implementation there is;
`triton_parity.py` does so for the kernels of GPUs.
"""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.define import REFERENCES
from tests.ops.inputs import LAYOUTS, SIZES, small_floats


@functools.cache
def arguments_of(op: str) -> tuple[str, ...]:
    schema = getattr(torch.ops.fastmetrics, op).default._schema
    return tuple(argument.name for argument in schema.arguments)


@functools.cache
def written_by(op: str) -> tuple[str, ...]:
    """The arguments that an op changes."""
    schema = getattr(torch.ops.fastmetrics, op).default._schema
    return tuple(a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write)


def every_tensor(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """A value with its tensors, also those of a list, changed."""
    if isinstance(value, list):
        return [change(x) if isinstance(x, Tensor) else x for x in value]
    return change(value) if isinstance(value, Tensor) else value


def tensors(value: Any) -> list[Tensor]:
    """The tensors in a value that may be a list of them."""
    return [t for t in (value if isinstance(value, list) else [value]) if isinstance(t, Tensor)]


def copied(tensor: Tensor) -> Tensor:
    """A copy with the same strides."""
    copy = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    return copy.copy_(tensor)


@dataclass
class Call:
    """One call of an op: its arguments by name, in the order of the schema."""

    op: str
    arguments: dict[str, Any]

    def __post_init__(self) -> None:
        assert tuple(self.arguments) == arguments_of(self.op), self.op

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def but(self, **changes: Any) -> Call:
        assert changes.keys() <= self.arguments.keys()
        return replace(self, arguments=self.arguments | changes)

    def fresh(self) -> dict[str, Any]:
        """The arguments with copies of what the op changes."""
        written = written_by(self.op)
        return {
            name: every_tensor(copied, value) if name in written else value
            for name, value in self.arguments.items()
        }

    def changed(self, names: Iterable[str], change: Callable[[Tensor], Tensor]) -> Call:
        """The call with each tensor of these arguments changed."""
        return self.but(**{n: every_tensor(change, self[n]) for n in names if n in self.arguments})

    def samples(self, names: Iterable[str], rows: Any) -> Call:
        """The call with some of its samples, in that order; weights may be one for all."""
        return self.changed(names, lambda tensor: tensor[rows] if tensor.ndim else tensor)

    def __repr__(self) -> str:
        def text(value: Any) -> str:
            if isinstance(value, list):
                return f"[{', '.join(map(text, value))}]"
            if not isinstance(value, Tensor):
                return repr(value)
            return f"{value.dtype}{tuple(value.shape)} strides {value.stride()}"

        return f"{self.op}({', '.join(f'{n} {text(v)}' for n, v in self.arguments.items())})"


@dataclass
class Answer:
    """What the written arguments hold afterwards, and the words in which a CPU refuses instead.

    A GPU does not refuse values: it leaves them out and counts `invalid` in the events.
    """

    after: dict[str, Any]
    refusal: str | None = None
    invalid: int = 0


@dataclass(frozen=True)
class Refusal:
    """Changes of a good call, and the words about it: all of them if they end in a stop."""

    changes: dict[str, Any]
    text: str
    error: type[Exception] = ValueError


@dataclass(frozen=True)
class Tested:
    """One op, and what the laws need to know about it."""

    __test__ = False

    op: str
    make: Callable[..., Call]
    """`make(seed, **options)`: a call drawn at random, but for what the options pin."""
    oracle: Callable[[Call], Answer]
    variants: tuple[dict[str, Any], ...] = ({},)
    """Options that between them reach every way through the op; `each` counts samples apart."""
    shapes: tuple[tuple[int, ...], ...] = ((37,), (5, 4), (3, 2, 2))
    """Typical shapes of the positions."""
    sizes: tuple[int, ...] = SIZES
    """Numbers of samples, around those of blocks and vectors."""
    empty: tuple[tuple[int, ...], ...] = ((0,), (0, 2), (3, 0))
    dtypes: dict[str, tuple[torch.dtype, ...]] = field(default_factory=dict)
    """By option: `dtype`, and perhaps `target_dtype` and `weight`."""
    batch: tuple[str, ...] = ("preds", "target", "weight")
    """Arguments with an entry per sample."""
    layouts: tuple[str, ...] = ("preds", "target")
    """Arguments that may lie in memory in any way."""
    labels: tuple[str, ...] = ()
    """Arguments whose values a CPU checks."""
    special: bool = True
    """Whether `make` mixes NaN and infinities in."""
    starts: tuple[int, ...] = ()
    """Numbers that a state may hold and still count on."""
    many: int = 60_003
    """Samples that are worth several threads."""
    adds_up: bool = True
    """Whether batches add up to the whole."""
    ordered: bool = False
    """Whether the order of the samples shows."""
    repeats: bool = False
    """Whether a weight of two is the sample twice."""
    rtol: float = 0.0
    atol: float = 0.0
    exact: dict[str, Any] = field(default_factory=dict)
    """Options under which nothing is worked out in less than float64."""
    compare: Callable[[Call, dict[str, Any], dict[str, Any]], None] | None = None
    """Instead of the tolerance: raises where what was found is not what is expected."""
    untouched: Callable[[Call, dict[str, Any]], None] | None = None
    """Instead of all that is written: what a refused call must leave alone."""
    odd: Callable[[], Iterable[Call]] = tuple
    """Calls that ask something peculiar."""
    small_floats: Callable[[Tensor], Iterable[Call]] | None = None
    """Calls that read every one of these numbers."""
    good: Callable[[], Call] | None = None
    """The call that the refusals and guards change."""
    refusals: Callable[[], dict[str, Refusal]] = dict
    guards: tuple[dict[str, Any], ...] = ()
    """Other changes that a kernel refuses by itself, past the checks."""
    traced_every: int = 6
    """Of the samples, those that opcheck traces."""


tested_whole = functools.partial(
    Tested, shapes=(), empty=(), batch=(), layouts=(), many=0, adds_up=False
)
"""An op without samples that could be split or joined: its `odd` gives whole calls of all kinds."""


@functools.cache
def every_op() -> dict[str, Tested]:
    stems = sorted({f.__module__.rsplit(".", 1)[-1] for f in REFERENCES.values()})
    modules = [importlib.import_module(f"tests.ops.{stem}") for stem in stems]
    found = [x for m in modules for x in vars(m).values() if isinstance(x, Tested)]
    return {tested.op: tested for tested in found}


# Implementations


def native_op(op: str) -> Callable[..., None]:
    """What the dispatcher runs for CPU tensors: the compiled kernel where there is one."""
    return getattr(torch.ops.fastmetrics, op).default


def has_native(op: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"fastmetrics::{op}", "CPU")


def implementations(op: str) -> dict[str, Callable[..., None]]:
    """Everything that can serve CPU tensors here."""
    found = {"reference": REFERENCES[op]}
    if has_native(op):
        found["native"] = native_op(op)
    return found


def run(call: Call, implementation: Callable[..., None]) -> tuple[dict[str, Any], Exception | None]:
    """What the call wrote, and its error."""
    arguments, error = call.fresh(), None
    try:
        implementation(*arguments.values())
    except Exception as caught:
        error = caught
    return {name: arguments[name] for name in written_by(call.op)}, error


def results(call: Call, implementation: Callable[..., None]) -> dict[str, Any]:
    after, error = run(call, implementation)
    if error is not None:
        raise error
    return after


def states(call: Call) -> dict[str, Tensor]:
    """The state after the call, for each implementation."""
    first = written_by(call.op)[0]
    return {who: results(call, f)[first] for who, f in implementations(call.op).items()}


def check(
    call: Call, runners: dict[str, Callable[..., None]] | None = None, on_gpu: bool = False
) -> Answer:
    """Every implementation must write what the oracle says, or refuse in its words."""
    tested = every_op()[call.op]
    answer = tested.oracle(call)
    for who, implementation in (runners or implementations(call.op)).items():
        after, error = run(call, implementation)
        if answer.refusal is not None and not on_gpu:
            assert type(error) is RuntimeError, f"{who}: {error!r} for {call}"
            assert str(error) == f"{call.op}: {answer.refusal}", f"{who} for {call}"
            check_untouched(call, after)
            continue
        assert error is None, f"{who} raised {error!r} for {call}"
        expected = dict(answer.after)
        if on_gpu and answer.invalid and call["validate"]:
            expected["events"] = expected["events"] + torch.tensor([answer.invalid, 0, 0, 0])
        try:
            compare(tested, call, after, expected)
        except AssertionError as wrong:
            raise AssertionError(f"{who}: {call}\n{wrong}") from wrong
    return answer


def check_untouched(call: Call, after: dict[str, Any]) -> None:
    tested = every_op()[call.op]
    if tested.untouched is not None:
        tested.untouched(call, after)
        return
    for name, value in after.items():
        same_bits(name, value, call[name])


def compare(tested: Tested, call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    if tested.compare is not None:
        tested.compare(call, found, expected)
        return
    for name, wanted in expected.items():
        if tested.rtol or tested.atol:
            torch.testing.assert_close(
                found[name], wanted, rtol=tested.rtol, atol=tested.atol, equal_nan=True
            )
        else:
            same_bits(name, found[name], wanted)


def same_bits(name: str, found: Any, wanted: Any) -> None:
    """Equal to the last bit, also NaN and the signs of zeros."""
    if isinstance(wanted, list):
        for one, other in zip(found, wanted, strict=True):
            same_bits(name, one, other)
    elif wanted is None:
        assert found is None, name
    else:
        assert found.dtype == wanted.dtype and found.shape == wanted.shape, name
        whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(wanted.element_size())
        if wanted.is_floating_point():
            found, wanted = found.contiguous().view(whole), wanted.contiguous().view(whole)
        assert torch.equal(found, wanted), f"{name}: {found} instead of {wanted}"


# The laws. Each gives calls; what is not pinned is drawn.

PLAIN = {"bad": 0.0, "special": 0.0}
# Beyond any class: next to the range, and equal to a class modulo 2^8, 2^16, 2^32.
WRONG_LABELS = (-1, 4, 256, 257, 65536, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**40)
WRONG_LABELS += (2**63 - 1, -(2**32), 1 - 2**32, -(2**63))


def over(tested: Tested, *choices: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Each combination with each variant, in turn with one of the shapes, and numbered."""
    if not tested.shapes:
        return
    shapes = itertools.cycle(tested.shapes)
    for seed, (*chosen, variant) in enumerate(itertools.product(*choices, tested.variants)):
        yield seed, next(shapes), variant, *chosen


def samples(tested: Tested) -> Iterator[Call]:
    """Typical calls, with and without weights, and those that ask something peculiar."""
    for seed, (variant, shape, weight) in enumerate(
        itertools.product(tested.variants, tested.shapes, (None, torch.float32))
    ):
        yield tested.make(seed, **PLAIN | {"shape": shape, "weight": weight} | variant)
    yield from tested.odd()


def sizes(tested: Tested) -> Iterator[Call]:
    """Around the sizes of blocks and vectors."""
    deep = any(len(shape) > 1 for shape in tested.shapes)
    for seed, _, variant, size in over(tested, tested.sizes):
        yield tested.make(seed, **PLAIN | {"shape": (size,)} | variant)
        if deep and size < 130:  # one sample of many positions
            yield tested.make(seed, **PLAIN | {"shape": (1, size)} | variant)


def dtypes(tested: Tested) -> Iterator[Call]:
    """All types of the inputs with all of the targets."""
    options = {name: types for name, types in tested.dtypes.items() if name != "weight"}
    for seed, shape, variant, *types in over(tested, *options.values()):
        chosen = dict(zip(options, types, strict=True))
        yield tested.make(seed, **PLAIN | {"shape": shape} | variant | chosen)


def weights(tested: Tested) -> Iterator[Call]:
    """All types and layouts of the weights, with ignored targets and without."""
    layouts = ("contiguous", "strided", "repeated_rows")
    for seed, shape, variant, dtype, layout in over(
        tested, tested.dtypes.get("weight", ()), layouts
    ):
        call = tested.make(seed, **PLAIN | {"shape": shape, "weight": dtype} | variant)
        yield call.changed(["weight", "groups"], LAYOUTS[layout])


BAD_WEIGHTS = (float("nan"), -1.0, float("inf"), -float("inf"), -1e-30)


def bad_weights(tested: Tested) -> Iterator[Call]:
    """Weights that are NaN, negative, infinite or too large: first, last, and in between."""
    for seed, shape, variant, dtype in over(tested, tested.dtypes.get("weight", ())):
        call = tested.make(seed, **PLAIN | {"shape": shape, "weight": dtype} | variant)
        if call["weight"] is None or not (dtype.is_floating_point or dtype.is_signed):
            continue
        weight = call["weight"].clone()
        flat = weight.view(-1)
        chosen = BAD_WEIGHTS if dtype.is_floating_point else (-1,)
        if dtype is torch.float64:
            chosen = (*chosen, 1.1e100)
        for step, value in enumerate(chosen):
            flat[(seed + step * 7) % len(flat)] = value
        flat[0] = flat[-1] = chosen[seed % len(chosen)]
        yield call.but(weight=weight)
        yield call.but(weight=LAYOUTS["strided"](weight))


def special_values(tested: Tested) -> Iterator[Call]:
    """NaN with any bits and infinities, few and many, also where the samples lie apart."""
    types = tested.dtypes.get("dtype", ()) if tested.special else ()
    floats = [dtype for dtype in types if dtype.is_floating_point]
    ways = [way for name, way in LAYOUTS.items() if not name.startswith("repeated")]
    for seed, shape, variant, dtype, share in over(tested, floats, (0.02, 0.1, 0.3)):
        options = {"dtype": dtype, "special": share, "shape": shape, "bad": 0.0}
        call = tested.make(seed, **options | variant)
        yield call
        yield call.changed(tested.layouts, ways[seed % len(ways)])


def layouts(tested: Tested) -> Iterator[Call]:
    """Every memory layout of each input with every one of the others."""
    ways = itertools.product(LAYOUTS.values(), repeat=len(tested.layouts))
    for seed, shape, variant, way in over(tested, ways):
        call = tested.make(seed, **PLAIN | {"shape": shape} | variant)
        for name, layout in zip(tested.layouts, way, strict=True):
            call = call.changed([name], layout)
        yield call


def every_small_float(tested: Tested) -> Iterator[Call]:
    """All bit patterns of the 16-bit types, subnormals included."""
    if tested.small_floats is not None:
        for dtype in (torch.float16, torch.bfloat16):
            yield from tested.small_floats(small_floats(dtype))


def large_counts(tested: Tested) -> Iterator[Call]:
    """What a state holds does not end where float32, int32 or float64 do."""
    for seed, shape, variant, start in over(tested, tested.starts):
        options = {"shape": shape, "start": start + 1, "weight": None}
        yield tested.make(seed, **PLAIN | options | variant)


def empty(tested: Tested) -> Iterator[Call]:
    """Batches without samples, or without positions."""
    for variant, shape, weight in itertools.product(
        tested.variants, tested.empty, (None, torch.float32)
    ):
        yield tested.make(0, **PLAIN | {"shape": shape, "weight": weight} | variant)


def wrong_labels(tested: Tested) -> Iterator[Call]:
    """One label out of range anywhere in any layout, which is compared in full."""
    ways = [way for name, way in LAYOUTS.items() if not name.startswith("repeated")]
    whole = {"dtype": torch.int64} if "preds" in tested.labels else {}
    for seed, shape, variant, name, value in over(tested, tested.labels, WRONG_LABELS):
        options = whole if name == "preds" or seed % 2 else {}
        options = options | {"target_dtype": torch.int64, "classes": 4, "ignore_index": None}
        call = tested.make(seed, **PLAIN | {"shape": shape} | options | variant)
        if call[name] is None or call[name].dtype != torch.int64:
            continue
        labels = call[name].clone()
        places = [place % labels.numel() for place in (seed * 7, seed * 11 + 5)]
        for place in places:
            labels.view(-1)[place] = value
        call = call.but(**{name: ways[seed % len(ways)](labels)})
        for ignore_index, validate in itertools.product((None, 1, value), (True, False)):
            yield call.but(ignore_index=ignore_index, validate=validate)
        if name == "preds":  # what is ignored may hold anything
            target = call["target"].clone()
            for place in places:
                target.view(-1)[place] = value
            yield call.but(target=target, ignore_index=value)
            yield call.but(target=target)


def first_wrong_label(tested: Tested) -> Iterator[Call]:
    """Of several, the first in the order of the positions is named, wherever the blocks end."""
    ways = [way for name, way in LAYOUTS.items() if not name.startswith("repeated")]
    places = (0, 1, 63, 64, 1023, 1024, 1025, 1249)
    options = {"shape": (25, 50), "target_dtype": torch.int16, "classes": 4, "labels": 1}
    options |= {"ignore_index": None, "validate": True}
    for name, way, place in itertools.product(tested.labels, ways, places):
        if name == "preds":
            options = options | {"dtype": torch.int16}
        call = tested.make(place, **PLAIN | tested.variants[0] | options)
        labels = call[name].clone()
        labels.view(-1)[place] = labels.view(-1)[-1] = 77
        yield call.but(**{name: way(labels)})


def any_call(tested: Tested, seeds: Iterable[int]) -> Iterator[Call]:
    """Everything drawn at random."""
    names = [*LAYOUTS]
    for seed in seeds:
        call = tested.make(seed)
        rng = np.random.default_rng(seed)
        for name in tested.layouts:
            call = call.changed([name], LAYOUTS[names[rng.integers(len(names))]])
        yield call


def some_calls(tested: Tested) -> Iterator[Call]:
    yield from any_call(tested, range(60))


LAWS: dict[str, Callable[[Tested], Iterator[Call]]] = {
    law.__name__: law
    for law in (
        samples,
        sizes,
        dtypes,
        weights,
        bad_weights,
        special_values,
        layouts,
        every_small_float,
        large_counts,
        empty,
        wrong_labels,
        first_wrong_label,
        some_calls,
    )
}


# Larger states take Triton's interpreter too long, above all where sums come in several parts.
MOST_CELLS = {torch.int64: 1 << 17, torch.float64: 1 << 12}


def is_small(call: Call) -> bool:
    first = tensors(next(iter(call.arguments.values())))
    return all(state.numel() < MOST_CELLS.get(state.dtype, 1 << 17) for state in first)


def kept_by(tested: Tested, chosen: Callable[[Call], bool] = lambda call: True) -> list[str]:
    """The laws that say anything about an op, by such calls."""
    return [name for name, law in LAWS.items() if any(map(chosen, law(tested)))]


def rough(tested: Tested, seed: int = 0, **options: Any) -> Call:
    """A call whose sums round, so that they show in which order they were made."""
    call = tested.make(seed, **PLAIN | options)
    generator = torch.Generator().manual_seed(seed)

    def random_floats(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return torch.rand(tensor.shape, generator=generator).add(0.05).to(tensor.dtype)

    return call.changed(tested.batch, random_floats)
