"""The base class, held against torchmetrics with the same user-written metrics."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor, nn

from fastmetrics.metric import Metric
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from tests.user_metrics import MERGEABLE, NAMES, OURS, THEIRS, build


@pytest.fixture
def one_process():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def batches(n: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(5 + i, generator=generator) for i in range(n)]


def pickled(metric: Any) -> Any:
    return pickle.loads(pickle.dumps(metric))


def saved_and_loaded(metric: Any) -> Any:
    metric.persistent(True)
    buffer = io.BytesIO()
    torch.save(metric.state_dict(), buffer)
    buffer.seek(0)
    loaded = type(metric)()
    loaded.persistent(True)
    loaded.load_state_dict(torch.load(buffer))
    loaded._update_count = metric._update_count
    return loaded


def assert_same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def assert_same_metric(ours: Any, theirs: Any) -> None:
    assert ours.update_count == theirs.update_count == ours._update_count
    assert ours.update_called is theirs.update_called
    assert_same(ours.metric_state, theirs.metric_state)
    assert_same(ours.compute(), theirs.compute())


def both(name: str, **kwargs: Any) -> tuple[Any, Any]:
    return getattr(OURS, name)(**kwargs), getattr(THEIRS, name)(**kwargs)


# The smallest metric whose update promises to be fused.
class Counter(Metric):
    fused_update = True
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("counts", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("events", torch.zeros(1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: Tensor, weight: Tensor | None = None) -> None:
        if labels.numel() and int(labels.max()) > 2:
            raise RuntimeError("`labels` must lie in [0, 3)")
        counts = self.counts if weight is None else self.counts.double()
        ones = torch.ones_like(labels) if weight is None else weight.double()
        counts.index_add_(0, labels, ones.to(counts.dtype))
        object.__setattr__(self, "counts", counts)

    def compute(self) -> Tensor:
        return self.counts


@pytest.mark.parametrize("name", NAMES)
class TestParity:
    def test_update(self, name: str) -> None:
        ours, theirs = both(name)
        for x in batches():
            assert ours.update(x) is None
            theirs.update(x)
            assert_same_metric(ours, theirs)

    def test_forward(self, name: str) -> None:
        ours, theirs = both(name)
        for x in batches():
            assert_same(ours(x), theirs(x))
            assert_same(ours._forward_cache, theirs._forward_cache)
            assert ours._computed is None
        assert_same_metric(ours, theirs)

    @pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved_and_loaded])
    def test_mixed_stream_and_copies(self, name: str, copied: Callable[[Any], Any]) -> None:
        ours, theirs = both(name)
        for metric in (ours, theirs):
            metric.update(batches()[0])
            metric(batches()[1])
        pair = copied(ours), copied(theirs)
        assert_same_metric(*pair)
        for metric in pair:
            metric(batches()[2])
            metric.update(batches()[3])
        assert_same_metric(*pair)
        assert_same_metric(ours, theirs)

    def test_reset(self, name: str) -> None:
        ours, theirs = both(name)
        for metric in (ours, theirs):
            metric.update(batches()[0])
            metric.compute()
            metric.reset()
            assert metric._computed is None
            assert not metric.update_called
        assert_same(ours.metric_state, theirs.metric_state)
        for metric in (ours, theirs):
            metric.update(batches()[1])
        assert_same_metric(ours, theirs)


@pytest.mark.parametrize("name", MERGEABLE)
@pytest.mark.parametrize("as_dict", [False, True])
def test_merge_state(name: str, as_dict: bool) -> None:
    values = []
    for namespace in (OURS, THEIRS):
        one, other = getattr(namespace, name)(), getattr(namespace, name)()
        one.update(batches()[0])
        other.update(batches()[1])
        other.update(batches()[2])
        before = copy.deepcopy(other.metric_state)
        one.merge_state(other.metric_state if as_dict else other)
        assert_same(other.metric_state, before)
        values.append((one.metric_state, one.compute()))
    assert_same(*values)


def test_merged_means_weigh_by_updates() -> None:
    whole, parts = OURS.Averaged(), [OURS.Averaged() for _ in range(3)]
    for i, x in enumerate(batches()):
        whole(x)
        parts[min(i, 2)](x)
    merged = OURS.Averaged()
    for part in parts:
        merged.merge_state(part)
    assert merged.update_count == 4
    torch.testing.assert_close(merged.compute(), whole.compute())


def test_merge_of_a_list_with_the_tensor_it_became() -> None:
    one, other = OURS.Samples(), OURS.Samples()
    one.update(torch.tensor([1.0]))
    other.update(torch.tensor([2.0]))
    other.sync(dist_sync_fn=lambda x, group: [x, x], distributed_available=lambda: True)
    one.merge_state(other)
    assert one.compute().tolist() == [1, 2, 2]
    one.update(torch.tensor([0.0]))
    assert one.compute().tolist() == [0, 1, 2, 2]


def test_merge_drops_the_cached_value() -> None:
    one, other = OURS.Ratio(), OURS.Ratio()
    one.update(torch.ones(2))
    one.compute()
    other.update(torch.zeros(2))
    one.merge_state(other)
    assert one.compute() == 0.5


def test_merge_errors() -> None:
    metric = OURS.Ratio()
    with pytest.raises(ValueError, match="dict or a Metric"):
        metric.merge_state(3)
    with pytest.raises(ValueError, match="must be a Ratio"):
        metric.merge_state(OURS.Samples())
    with pytest.raises(ValueError, match="'count'"):
        metric.merge_state({"total": torch.tensor(1.0)})
    for unmergeable in (OURS.Ranked(), OURS.Undecided(), OURS.Ratio(dist_sync_on_step=True)):
        with pytest.raises(RuntimeError, match="full_state_update"):
            unmergeable.merge_state(type(unmergeable)())


def test_constructor_arguments() -> None:
    for name in ("compute_on_cpu", "dist_sync_on_step", "sync_on_compute", "compute_with_cache"):
        with pytest.raises(ValueError, match=f"`{name}` must be a bool"):
            OURS.Ratio(**{name: 1})
        assert getattr(OURS.Ratio(**{name: True}), name) is True
    with pytest.raises(ValueError, match="`dist_sync_fn`"):
        OURS.Ratio(dist_sync_fn=3)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `a`, `b`"):
        OURS.Ratio(b=1, a=2)


def test_add_state_errors() -> None:
    metric = OURS.Ratio()
    for default in (1.0, [torch.ones(1)], None):
        with pytest.raises(ValueError, match="`default`"):
            metric.add_state("x", default)
    for reduction in ("median", 3):
        with pytest.raises(ValueError, match="`dist_reduce_fx`"):
            metric.add_state("x", torch.ones(1), dist_reduce_fx=reduction)


def test_add_state_takes_a_copy() -> None:
    default = torch.zeros(2)
    metric = OURS.Ratio()
    metric.add_state("a", default, "sum")
    metric.add_state("b", default, "sum")
    metric.a += 1
    assert metric.b.tolist() == default.tolist() == [0, 0]


def test_abstract_and_protocol() -> None:
    with pytest.raises(TypeError):
        Metric()
    with pytest.raises(TypeError):
        iter(OURS.Ratio())
    metric = OURS.Ratio()
    assert repr(metric) == "Ratio()"
    for constant in ("is_differentiable", "higher_is_better", "full_state_update"):
        assert getattr(metric, constant) in (None, False)
        with pytest.raises(RuntimeError, match=constant):
            setattr(metric, constant, True)


def test_hash_follows_the_state() -> None:
    for name in ("Ratio", "Samples"):
        metric = getattr(OURS, name)()
        assert hash(metric) == hash(metric)
        assert hash(metric) != hash(getattr(OURS, name)())
        before = hash(metric)
        metric.update(torch.ones(3))
        assert hash(metric) != before


def test_compute_caches_until_the_next_update() -> None:
    metric = OURS.Ratio()
    metric.update(torch.ones(2))
    first = metric.compute()
    assert metric.compute() is first is metric._computed
    metric.update(torch.zeros(2))
    assert metric._computed is None
    uncached = OURS.Ratio(compute_with_cache=False)
    uncached.update(torch.ones(2))
    assert uncached.compute() is not uncached.compute()


def test_compute_before_update_warns() -> None:
    with pytest.warns(UserWarning, match="before any update"):
        Counter().compute()


@pytest.mark.parametrize("make", [lambda: OURS.Growing(), Counter])
def test_values_share_no_memory_with_states(make: Callable[[], Any]) -> None:
    metric = make()
    x = torch.tensor([1, 0])
    for value in (metric(x), (metric.update(x), metric.compute())[1]):
        state = copy.deepcopy(metric.metric_state)
        value += 100
        assert_same(metric.metric_state, state)


def test_signature_and_keywords() -> None:
    metric = OURS.Keywords()
    assert list(metric._update_signature.parameters) == ["x", "scale"]
    assert metric._filter_kwargs(scale=2.0, other=1) == {"scale": 2.0}
    assert OURS.Ratio()._filter_kwargs(scale=2.0) == {}

    class Anything(OURS.Ratio):
        def update(self, x: Tensor, **kwargs: Any) -> None:
            super().update(x)

    assert Anything()._filter_kwargs(scale=2.0) == {"scale": 2.0}


class Failing(OURS.Ratio):
    fail: str | None = None

    def update(self, x: Tensor) -> None:
        super().update(x)
        if self.fail == "update":
            raise KeyError("update")

    def compute(self) -> Tensor:
        if self.fail == "compute":
            raise KeyError("compute")
        return super().compute()


class FailingTwice(Failing):
    full_state_update = True


@pytest.mark.parametrize("fail", ["update", "compute"])
def test_forward_that_raises_loses_nothing(fail: str) -> None:
    metric = Failing()
    metric.update(torch.ones(3))
    state, value, address = copy.deepcopy(metric.metric_state), metric.compute(), metric.total
    metric.fail = fail
    with pytest.raises(KeyError):
        metric(torch.ones(2))
    assert_same(metric.metric_state, state)
    assert metric.total is address
    assert metric.update_count == 1
    assert metric._computed is value
    assert (metric._to_sync, metric._should_unsync, metric._enable_grad) == (True, True, False)
    metric.fail = None
    assert metric(torch.zeros(1)) == 0
    assert metric.compute() == 0.75


def test_forward_with_two_updates_keeps_the_total_when_compute_raises() -> None:
    metric = FailingTwice()
    metric.update(torch.ones(3))
    metric.fail = "compute"
    with pytest.raises(KeyError):
        metric(torch.zeros(1))
    assert (metric.total.item(), metric.count.item(), metric.update_count) == (3, 4, 2)


@pytest.mark.parametrize("method", ["update", "forward"])
def test_fused_update_that_raises_leaves_no_trace(method: str) -> None:
    metric = Counter()
    metric.update(torch.tensor([0, 1]))
    value, address = metric.compute(), metric.counts
    with pytest.raises(RuntimeError, match="labels"):
        getattr(metric, method)(torch.tensor([3]))
    assert metric.counts is address
    assert metric.counts.tolist() == [1, 1, 0]
    assert metric.update_count == 1
    assert metric._computed is value


def test_states_keep_their_address() -> None:
    metric = Counter()
    address = {name: state.data_ptr() for name, state in metric.metric_state.items()}
    for labels in ([0, 1], [], [2, 2, 2]):
        metric(torch.tensor(labels, dtype=torch.int64))
        metric.update(torch.tensor(labels, dtype=torch.int64))
    assert metric.counts.tolist() == [2, 2, 6]
    metric.reset()
    assert metric.counts.tolist() == [0, 0, 0]
    assert {name: state.data_ptr() for name, state in metric.metric_state.items()} == address
    ratio = OURS.Ratio()
    pointer = ratio.total.data_ptr()
    ratio(torch.ones(2))
    ratio.reset()
    assert ratio.total.data_ptr() == pointer


def test_reset_spares_tensors_that_users_assigned() -> None:
    class Latest(OURS.Averaged):
        def update(self, x: Tensor) -> None:
            self.level = x

    metric, value = Latest(), torch.tensor(3.0)
    metric.update(value)
    metric.reset()
    metric.update(value)
    metric(torch.tensor(5.0))
    assert value == 3


def test_forward_promotes_the_total_with_the_batch() -> None:
    metric = Counter()
    assert metric(torch.tensor([0, 1])).dtype == torch.int64
    value = metric(torch.tensor([1, 2]), torch.tensor([0.5, 0.25]))
    assert value.tolist() == [0, 0.5, 0.25]
    assert metric.counts.dtype == torch.float64
    assert metric.counts.tolist() == [1, 1.5, 0.25]
    assert metric(torch.tensor([0])).dtype == torch.int64
    assert metric.counts.tolist() == [2, 1.5, 0.25]
    metric.reset()
    metric(torch.tensor([0]))
    assert metric.counts.dtype == torch.int64
    assert metric.compute().tolist() == [1, 0, 0]


def test_scratch_of_forward_is_no_part_of_the_metric() -> None:
    metric = Counter()
    metric(torch.tensor([0]))
    assert metric._states.scratch is not None
    assert pickled(metric)._states.scratch is None
    assert copy.deepcopy(metric)._states.scratch is None
    metric.to("meta")
    assert metric._states.scratch is None
    metric.persistent(True)
    assert set(metric.state_dict()) == {"counts", "events"}


def test_override_of_a_fused_update_is_not_fused() -> None:
    class Logged(Counter):
        def update(self, labels: Tensor) -> None:
            super().update(labels)
            self.seen = torch.is_grad_enabled()

    class Repeated(Counter):
        fused_update = True

        def update(self, labels: Tensor) -> None:
            super().update(labels)
            self.seen = torch.is_grad_enabled()

    class Inherited(Counter):
        pass

    for cls, fused in ((Logged, False), (Repeated, True), (Inherited, True)):
        metric = cls()
        metric.update(torch.tensor([0]))
        metric(torch.tensor([1]))
        assert cls.fused_update is fused
        assert metric.update_count == 2
        assert metric.compute().tolist() == [1, 1, 0]
    logged = Logged()
    logged.update(torch.tensor([0]))
    assert logged.seen is False


def test_no_autograd_graph_in_states_but_in_the_value_of_forward() -> None:
    x = torch.randn(4, requires_grad=True)
    grads = []
    for namespace in (OURS, THEIRS):
        metric = namespace.Differentiable()
        metric.update(x)
        assert not metric.total.requires_grad
        value = metric(x)
        grads.append(torch.autograd.grad(value, x)[0])
        assert not metric.total.requires_grad
    assert_same(*grads)
    ours = OURS.Differentiable()
    ours(x)
    ours.update(x)
    assert not any(element.requires_grad for element in ours.kept)


def test_inference_mode() -> None:
    for make in (Counter, lambda: OURS.Ratio()):
        with torch.inference_mode():
            built = make()
            built(torch.tensor([0, 1]))
            built.reset()
        outside = make()
        with torch.inference_mode():
            outside.update(torch.tensor([0, 1]))
            outside(torch.tensor([2]))
        for metric in (built, outside):
            metric.update(torch.tensor([0, 1]))
            metric(torch.tensor([0]))
            metric.reset()
            metric.update(torch.tensor([2]))
            assert not any(state.is_inference() for state in metric.metric_state.values())


def test_states_replaced_in_inference_mode_can_be_reset_outside() -> None:
    class Replacing(Counter):
        fused_update = True

        def update(self, labels: Tensor) -> None:
            self.counts = self.counts + labels.sum()

    for metric in (Replacing(), OURS.Replacing()):
        with torch.inference_mode():
            metric.update(torch.ones(2, dtype=torch.int64))
        metric.reset()
        for state in metric.metric_state.values():
            state += 1


def test_wrong_device_is_explained() -> None:
    class Foreign(OURS.Ratio):
        def update(self, x: Tensor) -> None:
            raise RuntimeError("Expected all tensors to be on the same device")

    with pytest.raises(RuntimeError, match=r"Foreign.update: .* different devices"):
        Foreign().update(torch.ones(1))


def test_casts_leave_states_alone() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.metric = OURS.Ratio()

    model = Model()
    model.metric.update(torch.ones(2))
    for cast in ("half", "float", "double", "bfloat16"):
        getattr(model, cast)()
        getattr(model.metric, cast)()
        assert model.metric.total.dtype == torch.float32
        assert model.metric.dtype == torch.float32
    model.to(torch.float16)
    model.metric.type(torch.float16)
    assert model.metric.total.dtype == torch.float32
    assert model.layer.weight.dtype == torch.float16


@pytest.mark.parametrize("dtype", [torch.float64, "torch.DoubleTensor"])
def test_set_dtype_converts_floating_states_only(dtype: Any) -> None:
    metric = OURS.Ratio()
    metric(torch.ones(2))
    metric.compute()
    assert metric.set_dtype(dtype) is metric
    assert metric.total.dtype == metric.dtype == metric._computed.dtype == torch.float64
    assert metric._forward_cache.dtype == torch.float64
    assert metric.count.dtype == torch.int64
    metric.reset()
    assert metric.total.dtype == torch.float64
    samples = OURS.Samples()
    samples.update(torch.ones(2))
    samples.set_dtype(torch.float16)
    assert samples.kept[0].dtype == torch.float16


def test_moves_take_everything_along() -> None:
    for name in ("Ratio", "Samples"):
        metric = getattr(OURS, name)()
        metric(torch.ones(2))
        metric.compute()
        nn.ModuleList([metric]).to("meta")
        assert metric.device.type == "meta"
        assert metric._computed.device.type == "meta"
        assert metric._forward_cache.device.type == "meta"
        for state in metric.metric_state.values():
            assert (state[0] if isinstance(state, list) else state).device.type == "meta"
        metric.reset()
        for state in metric.metric_state.values():
            assert isinstance(state, list) or state.device.type == "meta"


def test_a_move_that_changes_nothing() -> None:
    metrics = [OURS.Ratio(), OURS.Samples(), Counter()]
    for metric in metrics:
        metric(torch.ones(2, dtype=torch.int64))
        states = metric.metric_state
        nn.ModuleList([metric]).to("cpu").to(torch.float32)
        assert all(getattr(metric, name) is state for name, state in states.items())
    for dtype in (torch.float16, torch.float64, torch.float32):  # no state of it is floating
        assert metrics[2].set_dtype(dtype).dtype is dtype


def test_an_assigned_state_is_copied_where_updates_write_into_it() -> None:
    first, second, given = Counter(), Counter(), torch.ones(3, dtype=torch.int64)
    first.counts = second.counts = given
    first.update(torch.tensor([0]))
    first(torch.tensor([0]))
    assert given.tolist() == second.counts.tolist() == [1, 1, 1]
    assert first.counts.tolist() == [3, 1, 1]


def test_built_on_a_device_without_values() -> None:
    with torch.device("meta"):
        metric = Counter()
    assert metric.counts.device.type == metric.device.type == "meta"
    metric.reset()


def test_list_states_move_to_the_cpu() -> None:
    with torch.device("meta"):
        metric = OURS.Samples(compute_on_cpu=True)
    metric.update(torch.ones(2))
    metric(torch.ones(2))
    assert [element.device.type for element in metric.kept] == ["cpu", "cpu"]


def test_state_dict() -> None:
    metric = OURS.Ratio()
    metric.update(torch.ones(2))
    assert metric.state_dict() == {}
    metric.persistent(True)
    saved = nn.ModuleDict({"m": metric}).state_dict()
    assert list(saved) == ["m.total", "m.count"]
    metric.update(torch.ones(2))
    assert saved["m.total"] == 2
    metric.compute()
    address = metric.total
    nn.ModuleDict({"m": metric}).load_state_dict(saved)
    assert metric.total is address
    assert metric.total == 2
    metric.update(torch.ones(1))
    assert saved["m.total"] == 2
    assert metric.compute() == 1
    other = metric.state_dict(prefix="p.", destination={})
    assert list(other) == ["p.total", "p.count"]
    with pytest.raises(RuntimeError, match="Unexpected"):
        metric.load_state_dict({"nothing": torch.ones(1)})


def test_pickle_and_copy_are_independent() -> None:
    metric = Counter()
    metric.update(torch.tensor([0]))
    for copied in (pickled(metric), copy.deepcopy(metric), metric.clone()):
        assert type(copied) is Counter
        copied.update(torch.tensor([1]))
        copied(torch.tensor([2]))
        assert copied.counts.tolist() == [1, 1, 1]
    assert metric.counts.tolist() == [1, 0, 0]


def test_registers_with_torchmetrics() -> None:
    assert isinstance(OURS.Ratio(), torchmetrics.Metric)


def test_late_torchmetrics_import() -> None:
    code = """
import sys
import torch
import fastmetrics.metric, fastmetrics.collections
late = [name for name in ("torchmetrics", "matplotlib") if name in sys.modules]
assert not late, late
class Late(fastmetrics.metric.Metric):
    def update(self, x): pass
    def compute(self): return torch.tensor(1.0)
metric, collection = Late(), fastmetrics.collections.MetricCollection([Late()])
import torchmetrics
assert not isinstance(3, torchmetrics.MetricCollection)
metric.update(1)
metric.compute()
assert isinstance(metric, torchmetrics.Metric)
assert isinstance(collection, torchmetrics.MetricCollection)
assert isinstance(collection["Late"], torchmetrics.Metric)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", ["Ratio", "Replacing", "Samples"])
def test_compiled_update_is_one_graph(name: str) -> None:
    metric, graphs = getattr(OURS, name)(), []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    @torch.compile(fullgraph=True, backend=backend)
    def step(x: Tensor) -> Tensor:
        metric.update(x)
        return x * 2

    steps = 1 if name == "Samples" else 5  # the length of a list is a guard
    metric.update(torch.ones(4))
    metric.compute()
    for _ in range(steps):
        step(torch.ones(4))
        assert metric.update_called
        assert metric._computed is None
    assert len(graphs) == 1
    assert (metric.compute() == 1).all()
    metric.reset()
    assert not metric.update_called
    step(torch.ones(4))
    assert metric.update_called
    assert metric.update_count == metric._update_count == 1
    torch._dynamo.reset()


def test_compiled_fused_update_is_one_graph() -> None:
    class Tally(Counter):
        fused_update = True

        def update(self, labels: Tensor) -> None:
            self.counts.index_add_(0, labels, torch.ones_like(labels))

    metric, graphs = Tally(), []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    step = torch.compile(
        lambda labels: (metric.update(labels), labels + 1)[1], fullgraph=True, backend=backend
    )
    address = metric.counts.data_ptr()
    for _ in range(4):
        step(torch.tensor([0, 2]))
    assert len(graphs) == 1
    assert metric.compute().tolist() == [4, 0, 4]
    assert metric.counts.data_ptr() == address
    torch._dynamo.reset()


def test_compiled_forward_may_break_the_graph_but_not_the_value() -> None:
    for make in (Counter, lambda: OURS.Ratio(), lambda: OURS.Samples()):
        metric, eager = make(), make()
        step = torch.compile(lambda x, metric=metric: metric(x), backend="eager")
        for i in range(3):
            x = torch.tensor([i % 3, 0])
            assert_same(step(x), eager(x))
        assert_same(metric.compute(), eager.compute())
        assert metric.update_called
        torch._dynamo.reset()


def test_update_signature_survives_classes_made_at_run_time() -> None:
    namespace = build(Metric, "elsewhere")
    assert namespace.Ratio is not OURS.Ratio
    assert namespace.Ratio.update.__wrapped__ is namespace.Ratio._raw_update


@pytest.mark.parametrize("custom", [None, "function"])
def test_sync_protocol(custom: str | None) -> None:
    """Two processes pretended by a gather function that returns the tensor twice."""

    def gather(tensor: Tensor, group: Any = None) -> list[Tensor]:
        return [tensor, tensor]

    results = []
    for namespace in (OURS, THEIRS):
        metric = namespace.Ratio(
            dist_sync_fn=gather if custom else None, distributed_available_fn=lambda: True
        )
        metric.update(torch.ones(3))
        local = metric.total
        metric.sync(dist_sync_fn=gather)
        synced = (metric.total.item(), metric.count.item(), metric._is_synced)
        error = TorchMetricsUserError if namespace is OURS else Exception
        for call in (metric.sync, lambda m=metric: m(torch.ones(1)), metric.compute):
            with pytest.raises(error):
                call()
        metric.unsync()
        assert metric.total == local
        with pytest.raises(error):
            metric.unsync()
        with metric.sync_context(dist_sync_fn=gather):
            inside = metric.total.item()
        results.append((synced, inside, metric.total.item(), metric._is_synced, metric._cache))
    assert results[0] == results[1]


def test_unsync_after_an_error_inside_the_context() -> None:
    metric = Failing(dist_sync_fn=lambda x, group: [x, x], distributed_available_fn=lambda: True)
    metric.update(torch.ones(3))
    metric.fail = "compute"
    with pytest.raises(KeyError):
        metric.compute()
    assert not metric._is_synced
    assert metric.total == 3


def test_failed_sync_keeps_the_states() -> None:
    def gather(tensor: Tensor, group: Any) -> list[Tensor]:
        if not tensor.is_floating_point():
            raise ConnectionError
        return [tensor, tensor]

    metric = OURS.Ratio(dist_sync_fn=gather, distributed_available_fn=lambda: True)
    metric.update(torch.ones(3))
    with pytest.raises(ConnectionError):
        metric.compute()
    assert (metric.total.item(), metric._is_synced) == (3, False)


def test_compute_unsyncs_a_metric_synced_by_hand() -> None:
    values = []
    for namespace in (OURS, THEIRS):
        metric = namespace.Samples(distributed_available_fn=lambda: True, sync_on_compute=False)
        metric.update(torch.ones(3))
        metric.sync(dist_sync_fn=lambda x, group: [x, x])
        values.append((metric.compute(), metric._is_synced, len(metric.kept)))
    assert_same(values[0], values[1])


# torchmetrics stacks the tensors of TensorSamples instead of concatenating them.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "TensorSamples"])
def test_pretended_processes_give_the_values_of_torchmetrics(name: str) -> None:
    def gather(tensor: Tensor, group: Any = None) -> list[Tensor]:
        return [tensor, tensor]

    arguments = {"dist_sync_fn": gather, "distributed_available_fn": lambda: True}
    for on_step in (False, True):
        ours, theirs = both(name, dist_sync_on_step=on_step, **arguments)
        for x in batches():
            assert_same(ours(x), theirs(x))
            assert ours._is_synced is theirs._is_synced is False
        assert_same(ours.compute(), theirs.compute())
        assert_same(ours.metric_state, theirs.metric_state)


@pytest.mark.parametrize("name", NAMES)
def test_processes_are_asked_as_often_as_by_torchmetrics(name: str) -> None:
    counts = []
    for namespace in (OURS, THEIRS):
        calls = {"gather": 0, "available": 0}

        def gather(tensor: Tensor, group: Any = None, calls: Any = calls) -> list[Tensor]:
            calls["gather"] += 1
            return [tensor, tensor]

        def available(calls: Any = calls) -> bool:
            calls["available"] += 1
            return True

        metric = getattr(namespace, name)(dist_sync_fn=gather, distributed_available_fn=available)
        seen = []
        for x in batches(2):
            metric.update(x)
            seen.append(dict(calls))
            for _ in range(2):  # the second value is cached
                metric.compute()
                seen.append(dict(calls))
        counts.append(seen)
    assert counts[0] == counts[1]


def test_whether_there_are_processes_is_asked_of_what_torch_has_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metric = OURS.Ratio()
    assert not metric._is_distributed()
    monkeypatch.setattr(torch.distributed, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert metric._is_distributed()
    monkeypatch.setattr("fastmetrics.metric.jit_distributed_available", lambda: False)
    assert not OURS.Ratio()._is_distributed()


def test_copies_share_the_process_group_and_pickles_refuse_it(one_process: Any) -> None:
    group = torch.distributed.new_group([0])
    metric = OURS.Ratio(process_group=group)
    metric.update(torch.ones(3))
    for other in (copy.deepcopy(metric), metric.clone(), copy.copy(metric)):
        assert other.process_group is group
        assert_same(other.compute(), metric.compute())
    with pytest.raises(TypeError, match="`process_group`"):
        pickle.dumps(metric)
    metric.process_group = None
    assert_same(pickled(metric).compute(), metric.compute())


def test_copies_share_what_their_attributes_share() -> None:
    metric = OURS.Ratio()
    metric.one = metric.two = []
    metric.other = {}
    for other in (copy.deepcopy(metric), pickled(metric)):
        assert other.one is other.two is not metric.one
        assert other.other == {} and other.other is not metric.other


def test_plot() -> None:
    pytest.importorskip("matplotlib").use("agg")
    metric = OURS.Ratio()
    values = [metric(x) for x in batches()]
    figure, axis = metric.plot()
    assert figure is not None
    assert axis.get_ylabel() == "Ratio"
    assert metric.plot(values, ax=axis)[1] is axis
    assert len(axis.lines) == 2
    extremes = OURS.Extremes()
    extremes.update(torch.ones(2))
    assert len(extremes.plot()[1].lines) == 2
    with pytest.raises(ValueError, match="`val`"):
        metric.plot("nothing")


def test_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ModuleNotFoundError, match="matplotlib"):
        OURS.Ratio().plot(torch.tensor(1.0))
