"""Ops that go round the dispatcher do as through it, and let nobody miss an op who watches."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fastmetrics.functional import mean_squared_error
from fastmetrics.functional.classification import binary_accuracy, binary_confusion_matrix
from fastmetrics.ops.define import DIRECT
from fastmetrics.ops.error_sums import SQUARED, error_sums_
from fastmetrics.ops.ratio import OF_ALL, ratio_
from fastmetrics.ops.stat_scores import stat_scores_
from fastmetrics.utilities.data import scalar, vector
from tests.ops import laws
from tests.ops.laws import native_op, same_bits

pytestmark = pytest.mark.skipif(
    not hasattr(torch.Tensor, "__dlpack_c_exchange_api__") or not laws.has_native("error_sums_"),
    reason="needs the compiled module, and a torch whose DLPack has functions for C",
)

NATIVE = [tested for name, tested in laws.every_op().items() if laws.has_native(name)]
PREDS, TARGET = torch.tensor([0.5, 2.0, 4.0]), torch.tensor([1.0, 2.0, 2.0])


@pytest.fixture
def answers(monkeypatch) -> list:
    """What direct calls of `error_sums_` say, in order."""
    found, real = [], DIRECT["error_sums_"]

    def call(*args):
        found.append(real(*args))
        return found[-1]

    monkeypatch.setitem(DIRECT, "error_sums_", call)
    return found


def sums(preds: torch.Tensor = PREDS, target: torch.Tensor = TARGET) -> list[float]:
    state = torch.zeros(1, 2, dtype=torch.float64)
    error_sums_(state, preds, target, None, SQUARED)
    return state.tolist()[0]


@pytest.mark.parametrize("tested", NATIVE, ids=[tested.op for tested in NATIVE])
def test_it_writes_the_same_bits(tested):
    served = 0
    for call in laws.some_calls(tested):
        direct, error = laws.run(call, DIRECT[call.op])
        wanted, refusal = laws.run(call, native_op(call.op))
        assert error is None
        for name, value in wanted.items():
            # A refused call has changed nothing, in either way.
            same_bits(name, direct[name], value)
        served += refusal is None and DIRECT[call.op](*call.fresh().values()) is True
    assert served > 0


def test_states_of_one_batch_come_back_as_numbers():
    count = DIRECT["stat_scores_"]
    preds, target = torch.tensor([0, 2, 1, 2]), torch.tensor([0, 1, 1, 2])
    state, events = torch.zeros(3, 4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    stat_scores_(state, events, preds, target, num_classes=3)
    found = count((False, 3, 4), (False, 4), preds, target, None, 3, 1, None, True)
    assert found == (state.flatten().tolist(), events.tolist())
    # Too large, of no size, of too many axes, no shape at all: tensors must do.
    for shape in ((False, 33, 4), (False, 0, 4), (False, 1, 1, 1, 1, 1), (False, "3", 4), ()):
        assert count(shape, (False, 4), preds, target, None, 3, 1, None, True) is False


def test_numbers_stand_in_the_place_of_tensors():
    divide, rest = DIRECT["ratio_"], ([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], OF_ALL, 0.0, 0.0)
    for counts in ([3, 1, 5, 1, 2, 2, 6, 0], [3.0, 1.0, 5.0, 1.0, 1.0, 1.0, 6.0, 0.5]):
        given, value = list(counts), torch.empty((), dtype=torch.float64)
        ratio_(value, torch.tensor(counts).view(2, 4).to(double_of(counts)), None, *rest)
        assert divide((True,), (counts, 2, 4), None, *rest) == ([value.item()],)
        assert counts == given  # and they are not among the answers
    # Too few or too many, no numbers, several kinds, beyond int64.
    for counts in ([1] * 7, [1] * 9, ["1"] * 8, [1.0] * 7 + [1], [1] * 7 + [1.0], [2**63] * 8):
        assert divide((True,), (counts, 2, 4), None, *rest) is False


def double_of(numbers: list) -> torch.dtype:
    return torch.float64 if isinstance(numbers[0], float) else torch.int64


def test_what_it_does_not_understand_is_left_to_the_dispatcher(answers):
    assert sums(torch.nn.Parameter(PREDS)) == sums() and answers == [True, True]
    answers.clear()
    negated = torch.complex(PREDS, -PREDS).conj().imag
    assert negated.is_neg() and sums(negated) == sums(PREDS) and answers == [False, True]
    answers.clear()

    class Own(torch.Tensor):
        pass

    assert sums(PREDS.as_subclass(Own)) == sums() and answers == [False, True]
    zero = torch._efficientzerotensor(3)
    assert sums(zero) == sums(torch.zeros(3))
    for bad in (PREDS.to_sparse(), PREDS.to("meta"), PREDS.to(torch.complex64), None):
        answers.clear()
        with pytest.raises(ValueError, match="`preds`"):
            mean_squared_error(bad, TARGET)
        assert True not in answers


def test_integers_of_less_than_a_byte_are_refused_as_ever():
    for dtype in (torch.uint4, torch.int7):
        labels = torch.tensor([1, 0, 1], dtype=torch.uint8).view(dtype)
        with pytest.raises(ValueError, match="`preds`"):
            mean_squared_error(labels, TARGET)
        with pytest.raises(ValueError, match="`target`"):
            binary_accuracy(torch.tensor([1, 0, 1]), labels)


class Seen(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


class SeenFunctions(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("function", [sums, mean_squared_error])
@pytest.mark.parametrize("mode", [Seen, SeenFunctions])
def test_modes_see_the_op(mode, function):
    with mode() as seen:
        function(PREDS, TARGET)
    assert any("error_sums_" in name for name in seen.names)


def test_profilers_see_the_op():
    with torch.profiler.profile() as profile:
        mean_squared_error(PREDS, TARGET)
    assert "fastmetrics::error_sums_" in {event.key for event in profile.key_averages()}


def test_tracers_and_fake_modes_get_tensors_of_their_own():
    traced = torch.jit.trace(mean_squared_error, (PREDS, TARGET), check_trace=False)
    assert traced(TARGET, TARGET) == 0 and traced(PREDS, TARGET) == mean_squared_error(
        PREDS, TARGET
    )
    with FakeTensorMode() as mode:
        fake = mean_squared_error(mode.from_tensor(PREDS), mode.from_tensor(TARGET))
        assert type(fake) is type(scalar(0.5)) is not torch.Tensor
    with torch.device("meta"):
        assert scalar(0.5).is_cpu


def test_maps_and_derivatives_are_those_of_the_dispatcher():
    rows = torch.rand(4, 3)
    wanted = torch.stack([mean_squared_error(row, TARGET) for row in rows])
    assert torch.equal(torch.vmap(mean_squared_error, (0, None))(rows, TARGET), wanted)
    slope = torch.func.grad(mean_squared_error)(PREDS, TARGET)
    assert torch.allclose(slope, 2 * (PREDS - TARGET) / 3)
    # Labels have none, and a map over something else changes nothing.
    scores, labels = torch.tensor([0.2, 0.7, 0.6]), torch.tensor([0, 1, 0])
    scaled = torch.vmap(lambda x: x * binary_accuracy(scores, labels))(torch.ones(2))
    assert torch.equal(scaled, torch.full((2,), 2 / 3))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("value", [0.1, 0.0, -0.0, 1e39, -1e39, 1e-50, float("inf"), float("nan")])
def test_numbers_become_the_tensors_of_torch(value, wide):
    dtype = torch.float64 if wide else torch.float32
    found, wanted = scalar(value, dtype), torch.tensor(value, dtype=dtype)
    same_bits("scalar", found, wanted)
    assert found.shape == () and found.is_cpu and not found.requires_grad
    assert scalar(value, torch.float16).dtype == torch.float16
    assert scalar(1).dtype == torch.float32
    for values in ([value], [0.5, value, -2.0] * 40):
        found, wanted = vector(values, dtype), torch.tensor(values, dtype=dtype)
        same_bits("vector", found, wanted)
        assert found.is_contiguous() and found.is_cpu and not found.requires_grad


def test_what_is_no_list_of_floats_is_left_to_torch():
    for values in ([], [1, 2], [0.5, 1], [True]):
        found = vector(values)
        assert torch.equal(found, torch.tensor(values, dtype=torch.float32)), values
        assert found.dtype == torch.float32
    with pytest.raises(TypeError):
        vector([0.5, "a"])


def test_scalars_are_tensors_like_others():
    value = mean_squared_error(PREDS, TARGET)
    kept = value.clone()
    value += 1
    assert value == kept + 1 and mean_squared_error(PREDS, TARGET) == kept
    value.requires_grad_().mul(2).backward()
    assert value.grad == 2


def test_warnings_and_errors_are_those_of_the_dispatcher():
    with pytest.warns(UserWarning, match="NaN"):
        binary_accuracy(torch.tensor([float("nan"), 0.2]), torch.tensor([1, 0]))
    with pytest.warns(UserWarning, match="NaN"):
        binary_confusion_matrix(torch.tensor([float("nan"), 0.2]), torch.tensor([1, 0]))
    with pytest.raises(RuntimeError, match=r"`target`.* 3"):
        binary_accuracy(torch.tensor([0.1, 0.2]), torch.tensor([1, 3]))
    assert mean_squared_error(torch.tensor([1e30]), torch.tensor([0.0])) == torch.inf


def test_a_torch_without_the_functions_goes_the_long_way():
    code = """
import torch
del torch.Tensor.__dlpack_c_exchange_api__
from fastmetrics.functional import mean_squared_error, spearman_corrcoef
from fastmetrics.functional.classification import binary_auroc, binary_confusion_matrix
from fastmetrics.ops.define import DIRECT
preds, target = torch.tensor([0.1, 0.7, 0.4]), torch.tensor([0, 1, 0])
assert {call() for call in DIRECT.values()} == {False}
assert mean_squared_error(preds, preds + 2) == 4 and spearman_corrcoef(preds, preds) == 1
assert binary_auroc(preds, target) == 1
assert binary_confusion_matrix(preds, target).tolist() == [[2, 0], [0, 1]]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_list_may_change_while_the_kernel_reads_it():
    """Another thread empties the lists; the tensors in them live as long as the call."""
    size = 1_000_000
    preds = [torch.rand(size, 1)]
    target = [torch.randint(0, 2, (size, 1), dtype=torch.uint8)]
    tested = laws.every_op()["curve_areas_"]
    call = next(call for call in laws.some_calls(tested) if call["preds"][0].shape[1:] == (1,))
    areas = torch.zeros(1, 4, dtype=torch.float64)
    call = call.but(areas=areas, preds=preds, target=target, multiclass=False)
    wanted = laws.results(call, native_op(call.op))["areas"]
    arguments, gate = call.fresh(), threading.Lock()

    def empty() -> None:
        with gate:
            preds.clear()
            target.clear()

    gate.acquire()
    thread = threading.Thread(target=empty)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)  # a thread gets its turn where the other one waits, not before
    try:
        thread.start()
        gate.release()
        done = DIRECT[call.op](*arguments.values())
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert done is True and not preds
    # Now and then the thread has its turn before, and the call sees no scores at all.
    seen = arguments["areas"]
    assert torch.equal(seen, wanted) or torch.equal(seen, torch.zeros_like(wanted))
