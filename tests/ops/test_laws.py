"""Every law, once for every op and every implementation."""

from __future__ import annotations

import inspect
import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode

from fastmetrics import ops
from tests.ops import laws
from tests.ops.curve import specified
from tests.ops.inputs import ALL_DTYPES
from tests.ops.laws import Call, Tested, check, implementations, native_op, results, run

OPS = laws.every_op()
QUICK = settings(max_examples=25, deadline=None, database=None, derandomize=True)
TRACED = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


def of_ops(condition=lambda tested: True):
    """Parametrise over the ops for which the condition holds."""
    found = [tested for tested in OPS.values() if condition(tested)]
    return pytest.mark.parametrize("tested", found, ids=[tested.op for tested in found])


def weighted(tested: Tested) -> bool:
    return "weight" in tested.dtypes


def of_weights(condition, dtype: torch.dtype):
    """Parametrise over such ops without weights, and with those of this type if they take any."""
    rows = [
        pytest.param(tested, weight, id=f"{tested.op}-{'weighted' if weight else 'plain'}")
        for tested in OPS.values()
        for weight in ((None, dtype) if weighted(tested) else (None,))
        if condition(tested)
    ]
    return pytest.mark.parametrize(("tested", "weight"), rows)


def takes_batches(tested: Tested) -> bool:
    return bool(tested.shapes and tested.batch)


def together(tested: Tested) -> list[dict]:
    """The variants that do not count each sample on its own."""
    return [variant for variant in tested.variants if not variant.get("each")]


@pytest.mark.smoke
@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("tested", "law"),
    [
        pytest.param(tested, law, id=f"{tested.op}-{law}")
        for tested in OPS.values()
        for law in laws.kept_by(tested)
    ],
)
def test_every_implementation_agrees_with_the_oracle(tested, law):
    for call in laws.LAWS[law](tested):
        answer = check(call)
        if law == "empty":
            first = laws.written_by(tested.op)[0]
            laws.same_bits(first, answer.after[first], call[first])


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(2))
@of_ops()
def test_many_random_calls(tested, block):
    for call in laws.any_call(tested, range(100 + block * 100, 200 + block * 100)):
        check(call)


@pytest.mark.smoke
@of_ops(lambda tested: tested.labels)
def test_wrong_labels_are_refused(tested):
    """The law about them meets refusals, and what is left out, for each argument."""
    answers = [(call, tested.oracle(call)) for call in laws.wrong_labels(tested)]
    for name in tested.labels:
        assert any(f"`{name}` must lie in" in (answer.refusal or "") for _, answer in answers)
    assert any(answer.invalid and not call["validate"] for call, answer in answers)


# Threads


def with_threads(call: Call, *numbers: int) -> list[dict]:
    """What the kernel writes, or its error, for each number of threads."""
    found = []
    for threads in numbers:
        torch.set_num_threads(threads)
        found.append(run(call, native_op(call.op)))
    return found


@of_weights(lambda tested: tested.many, torch.float64)
def test_same_bits_for_any_number_of_threads(native, tested, weight):
    """Large enough to be split; the borders must not follow the number of threads."""
    for variant in tested.variants:
        options = {"shape": (tested.many,), "weight": weight, "ignore_index": 1, "start": 0}
        calls = [laws.rough(tested, **options | variant)]
        if weight is None:  # in every part something special, and something ignored
            options |= {"special": 0.01, "bad": 0.0}
            calls.append(tested.make(1, **options | variant))
        for call in calls:
            first, *others = with_threads(call, 1, 2, 3, 4)
            assert first[1] is None
            for other in others:
                for name in first[0]:
                    laws.same_bits(name, other[0][name], first[0][name])
            check_near_reference(tested, call, first[0])


def check_near_reference(tested: Tested, call: Call, found: dict) -> None:
    wanted = results(call, implementations(tested.op)["reference"])
    if tested.op == "curve_points_":  # what follows the last point is unspecified
        found, wanted = (
            dict(zip(some, specified([*some.values()]), strict=True)) for some in (found, wanted)
        )
    for name, value in wanted.items():
        for one, other in zip(laws.tensors(found[name]), laws.tensors(value), strict=True):
            rtol, atol = (max(1e-12, tested.rtol), 0.0) if tested.rtol else (1e-10, 1e-7)
            torch.testing.assert_close(one, other, rtol=rtol, atol=atol, equal_nan=True)


@pytest.mark.parametrize("threads", [1, 2, 4])
@of_ops(lambda tested: "target" in tested.labels and tested.many)
def test_first_bad_label_of_a_large_input(native, tested, threads):
    """Threads may meet bad labels in any order; the message names the first one."""
    variant = together(tested)[0]
    options = {"shape": (tested.many,), "target_dtype": torch.int64, "ignore_index": None}
    call = tested.make(0, **laws.PLAIN | options | variant)
    flat = call["target"].view(-1)
    place = len(flat) // 3
    flat[len(flat) - 5], flat[len(flat) // 2], flat[place] = 77, 88, 99
    call = call.but(validate=True)
    ((after, error),) = with_threads(call, threads)
    assert str(error).endswith(f"got 99 at flat index {place}.")
    laws.check_untouched(call, after)


# Sums


def drawn(tested: Tested, seed: int, **options) -> Call:
    variants = together(tested)
    return tested.make(seed, **laws.PLAIN | options | variants[seed % len(variants)])


def agree(tested: Tested, call: Call, found: dict, wanted: dict) -> None:
    """As near as the order of additions allows."""
    atol = 1e-10 * len(call[tested.batch[0]])
    for name in wanted:
        pairs = zip(laws.tensors(found[name]), laws.tensors(wanted[name]), strict=True)
        for one, other in pairs:
            if other.is_floating_point():
                torch.testing.assert_close(one, other, rtol=1e-10, atol=atol, equal_nan=True)
            else:
                laws.same_bits(name, one, other)


@pytest.mark.smoke
@of_ops(lambda tested: takes_batches(tested) and tested.adds_up)
def test_batches_add_up(tested):
    """Any split of a batch counts what the whole does."""

    @QUICK
    @given(st.integers(0, 10_000), st.lists(st.integers(0, 37), max_size=3))
    def law(seed, cuts):
        call = drawn(tested, seed, shape=(37,))
        borders = [0, *sorted(cuts), 37]
        for implementation in implementations(tested.op).values():
            whole, part = results(call, implementation), call
            for first, last in itertools.pairwise(borders):
                piece = call.samples(tested.batch, slice(first, last))
                piece = piece.but(**{name: part[name] for name in whole})
                part = part.but(**results(piece, implementation))
            agree(tested, call, {name: part[name] for name in whole}, whole)

    law()


@pytest.mark.smoke
@of_ops(lambda tested: takes_batches(tested) and not tested.ordered)
def test_the_order_of_samples_does_not_matter(tested):
    @QUICK
    @given(st.integers(0, 10_000), st.permutations(range(33)))
    def law(seed, order):
        call = drawn(tested, seed, shape=(33,))
        other = call.samples(tested.batch, list(order))
        for implementation in implementations(tested.op).values():
            agree(tested, call, results(other, implementation), results(call, implementation))

    law()


@pytest.mark.smoke
@of_ops(lambda tested: tested.repeats)
def test_a_weight_of_two_is_the_sample_twice_and_zero_leaves_it_out(tested):
    @QUICK
    @given(st.integers(0, 10_000), st.lists(st.integers(0, 2), min_size=33, max_size=33))
    def law(seed, times):
        times = torch.tensor(times)
        options = {"shape": (33,), "weight": None, "start": 5}
        call = drawn(tested, seed, **options)
        call = call.but(state=call["state"].double())
        rows = torch.arange(33).repeat_interleave(times)
        for implementation in implementations(tested.op).values():
            once = results(call.but(weight=times.double()), implementation)
            again = results(call.samples(tested.batch, rows), implementation)
            agree(tested, call, {"state": once["state"]}, {"state": again["state"]})

    law()


@pytest.mark.smoke
@of_ops(lambda tested: tested.repeats)
def test_sums_stay_within_the_bound_of_adding_one_by_one(tested):
    """With weights like 0.1, for every implementation."""
    for seed in range(4):
        options = {"shape": (3001,), "weight": torch.float64, "start": 0} | tested.exact
        call = drawn(tested, seed, **options)
        weight = torch.rand(3001, dtype=torch.float64)
        call = call.but(weight=weight)
        exact = tested.oracle(call).after["state"]
        bound = call["target"].numel() * torch.finfo(torch.float64).eps * float(weight.sum()) * 16
        for who, state in laws.states(call).items():
            assert (state - exact).abs().max() <= bound, who


# What torch sees of an op


def traced(tested: Tested) -> list[Call]:
    return [*laws.samples(tested)][:: tested.traced_every][:6]


@pytest.mark.smoke
@of_ops()
def test_schema_of_every_sample(tested):
    for call in laws.samples(tested):
        arguments = tuple(call.fresh().values())
        if run(call, native_op(tested.op))[1] is None:
            torch.library.opcheck(native_op(tested.op), arguments, test_utils="test_schema")


@of_ops()
def test_opcheck(tested):
    for call in traced(tested):
        if run(call, native_op(tested.op))[1] is None:
            arguments = tuple(call.fresh().values())
            torch.library.opcheck(native_op(tested.op), arguments, test_utils=TRACED)


@pytest.mark.exhaustive
@of_ops()
def test_opcheck_of_many_samples(tested):
    calls = [*laws.samples(tested)]
    for call in calls[:: len(calls) // 15 + 1]:
        if run(call, native_op(tested.op))[1] is None:
            arguments = tuple(call.fresh().values())
            torch.library.opcheck(native_op(tested.op), arguments, test_utils=TRACED)


def with_gradients(tested: Tested, call: Call) -> Call:
    def require(tensor: torch.Tensor) -> torch.Tensor:
        floats = tensor.is_floating_point()
        return (tensor.detach().requires_grad_() * 1.0).requires_grad_() if floats else tensor

    return call.changed([name for name in tested.batch if name != "weight"], require)


@pytest.mark.smoke
@of_ops(takes_batches)
def test_no_graph_is_kept(tested):
    """Numbers that require grad are read like others, and nothing remembers them."""
    call = drawn(tested, 0, shape=(20,), dtype=torch.float32, validate=True)
    after = results(call, native_op(tested.op))
    for name, value in results(with_gradients(tested, call), native_op(tested.op)).items():
        laws.same_bits(name, value, after[name])
        for tensor in laws.tensors(value):
            assert not tensor.requires_grad and tensor.grad_fn is None
    leaf = call.changed(tested.batch[:1], lambda t: t.detach().clone().requires_grad_())
    arguments = tuple(leaf.fresh().values())
    torch.library.opcheck(native_op(tested.op), arguments, test_utils=TRACED)


@pytest.mark.smoke
@of_ops(takes_batches)
def test_inference_mode(tested):
    """Inputs made in inference mode count into a state made outside, and the other way round."""
    call = drawn(tested, 0, shape=(20,))
    expected = results(call, native_op(tested.op))
    outside = call.fresh()
    with torch.inference_mode():
        inside = call.fresh()
        copies = call.changed(tested.batch, torch.clone)
        for arguments in (inside, outside):
            native_op(tested.op)(*(arguments | {n: copies[n] for n in tested.batch
                                                if n in arguments}).values())  # fmt: skip
    for name, wanted in expected.items():
        laws.same_bits(name, inside[name], wanted)
        laws.same_bits(name, outside[name], wanted)


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def step_of(tested: Tested, call: Call):
    """A step with tensor work around the update, as in a training loop."""
    public = getattr(ops, tested.op)
    written = laws.written_by(tested.op)
    given = [name for name in tested.batch if call.arguments.get(name) is not None]
    fixed = {n: v for n, v in call.arguments.items() if n not in (*written, *given)}
    order = inspect.signature(public).parameters

    def step(states, batch):
        batch = {name: laws.every_tensor(lambda t: t + 0, value) for name, value in batch.items()}
        arguments = fixed | states | batch
        public(*[arguments[name] for name in order])
        return [laws.every_tensor(lambda t: t * 2, value) for value in states.values()]

    def parts(some: Call):
        states = {name: laws.every_tensor(torch.clone, some[name]) for name in written}
        return states, {name: some[name] for name in given}

    return step, parts


def follow(tested: Tested, counter, first: Call, others: list[Call], backend: str) -> None:
    """Compile a step for the first call, and compare it with the eager one for all."""
    step, parts = step_of(tested, first)
    compiled = torch.compile(step, backend=counter, fullgraph=True)
    for call in (first, *others):
        (states, batch), (expected, same) = parts(call), parts(call)
        values = compiled(states, batch)
        wanted = step(expected, same)
        for name in states:
            laws.same_bits(name, states[name], expected[name])
        for one, other in zip(values, wanted, strict=True):
            laws.same_bits("value", one, other)


def compiled_call(tested: Tested, size: int, weight: torch.dtype | None) -> Call:
    options = {"shape": (size,), "dtype": torch.float32, "weight": weight, "ignore_index": None}
    options |= {"target_dtype": torch.int64} if "target_dtype" in tested.dtypes else {}
    return tested.make(0, **laws.PLAIN | options | together(tested)[0])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@of_weights(takes_batches, torch.float32)
def test_one_graph_for_changing_data(fresh_compiler, tested, weight, backend):
    counter = CompileCounterWithBackend(backend)
    call = compiled_call(tested, 12, weight)
    turn = (lambda x: x.flip(0) if x.ndim else x), (lambda x: x.roll(1, 0) if x.ndim else x)
    others = [call.changed(tested.batch, other) for other in turn]
    follow(tested, counter, call, others, backend)
    assert counter.frame_count == 1


@of_ops(takes_batches)
def test_changing_sizes_compile_at_most_twice(fresh_compiler, tested):
    """Dynamic shapes: the checks must not pin the number of samples."""
    counter = CompileCounterWithBackend("aot_eager")
    call = compiled_call(tested, 33, None)
    sizes = [call.samples(tested.batch, slice(size)) for size in (12, 17, 5, 33)]
    follow(tested, counter, sizes[0], sizes[1:], "aot_eager")
    assert counter.frame_count <= 2


@of_ops(lambda tested: "target" in tested.labels)
def test_compiled_steps_still_check_values(fresh_compiler, tested):
    call = compiled_call(tested, 12, None).but(validate=True)
    step, parts = step_of(tested, call)
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    states, batch = parts(call)
    target = call["target"].clone()
    target.view(-1)[7] = 99
    with pytest.raises(RuntimeError, match=r"`target` must lie in .* got 99 at flat index 7"):
        compiled(states, batch | {"target": target})
    laws.check_untouched(call, states)


# Refusals


def refusals(tested: Tested) -> list:
    return [pytest.param(tested, name, id=f"{tested.op} {name}") for name in tested.refusals()]


EVERY_REFUSAL = [row for tested in OPS.values() for row in refusals(tested)]
EVERY_GUARD = [
    pytest.param(tested, changes, id=f"{tested.op} {i}")
    for tested in OPS.values()
    for i, changes in enumerate(
        (*tested.guards, *(refusal.changes for refusal in tested.refusals().values()))
    )
]


def words(tested: Tested, refusal: laws.Refusal) -> str:
    """A pattern: the whole message where the text is one."""
    if refusal.text.endswith("."):
        return f"^{re.escape(f'{tested.op}: {refusal.text}')}$"
    return refusal.text


@pytest.mark.smoke
@of_ops(lambda tested: tested.good is not None)
def test_the_call_that_the_refusals_change_is_fine(tested):
    call = tested.good()
    arguments = call.fresh()
    getattr(ops, tested.op)(**arguments)
    written = laws.written_by(tested.op)
    assert any(str(arguments[name]) != str(call[name]) for name in written)
    with FakeTensorMode(allow_non_fake_inputs=True):
        native_op(tested.op)(*call.fresh().values())


def unchanged(after: dict, call: Call) -> None:
    for name, value in after.items():
        if not any(tensor.is_meta for tensor in laws.tensors(value)):
            laws.same_bits(name, value, call[name])


@pytest.mark.smoke
@pytest.mark.parametrize(("tested", "name"), EVERY_REFUSAL)
def test_refused_calls_leave_no_trace(tested, name):
    refusal = tested.refusals()[name]
    call = tested.good().but(**refusal.changes)
    arguments = call.fresh()
    with pytest.raises(refusal.error, match=words(tested, refusal)):
        getattr(ops, tested.op)(**arguments)
    unchanged({written: arguments[written] for written in laws.written_by(tested.op)}, call)


@pytest.mark.parametrize(("tested", "name"), EVERY_REFUSAL)
def test_tracing_refuses_in_the_same_words(tested, name):
    """Without a call of the public function."""
    refusal = tested.refusals()[name]
    call = tested.good().but(**refusal.changes)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [laws.every_tensor(mode.from_tensor, value) for value in call.fresh().values()]
        with pytest.raises(refusal.error, match=words(tested, refusal)):
            native_op(tested.op)(*fakes)


@pytest.mark.parametrize(("tested", "changes"), EVERY_GUARD)
def test_kernels_guard_their_memory(native, tested, changes):
    """Called directly, past the metadata check, a kernel refuses what would leave its memory."""
    call = tested.good().but(**changes)
    after, error = run(call, native_op(tested.op))
    assert isinstance(error, (ValueError, RuntimeError)), error
    unchanged(after, call)


def test_every_op_takes_what_it_says():
    """All types of scores, labels and weights that any op takes are asked for."""
    for option in ("dtype", "weight"):
        asked = {d for tested in OPS.values() for d in tested.dtypes.get(option, ())}
        assert asked == set(ALL_DTYPES)
