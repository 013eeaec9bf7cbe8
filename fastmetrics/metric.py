"""The base of all metrics: states, forward, reset, synchronisation, copies, composition."""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.nn import Module
from typing_extensions import Self

from fastmetrics.core.reductions import Merger as Merger
from fastmetrics.core.states import States
from fastmetrics.distributed import (
    PendingValue,
    Reduction,
    State,
    Statistic,
    SyncHandle,
    distributed_available,
    exchange,
    exchange_later,
    gather_all_tensors,
    read_states,
    sync_list_state,
    sync_tensor_state,
    write_states,
)
from fastmetrics.distributed.packets import canonical
from fastmetrics.utilities.data import (
    dim_zero_cat,
    dim_zero_max,
    dim_zero_mean,
    dim_zero_min,
    dim_zero_sum,
    map_tensors,
    normal_tensor,
)
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from fastmetrics.utilities.prints import rank_zero_warn

if TYPE_CHECKING:
    from fastmetrics.ops.fused import Update

jit_distributed_available = distributed_available

_REDUCTIONS: dict[str, Reduction] = {
    "sum": dim_zero_sum,
    "mean": dim_zero_mean,
    "max": dim_zero_max,
    "min": dim_zero_min,
    "cat": dim_zero_cat,
}
_CONSTANTS = frozenset(
    {
        "higher_is_better",
        "is_differentiable",
        "full_state_update",
        "plot_lower_bound",
        "plot_upper_bound",
        "plot_legend_name",
    }
)
_SETTINGS = {
    "compute_on_cpu": False,
    "dist_sync_on_step": False,
    "sync_on_compute": True,
    "compute_with_cache": True,
}
# Public attributes that say nothing about what a metric counts, so that a metric may change them
# and go on sharing its state.
_NEUTRAL = frozenset({*_SETTINGS, "training", "process_group", "dist_sync_fn"})

# What `forward` puts aside while it looks at one batch.
_BOOKKEEPING = (
    "_computed",
    "_count",
    "_traced",
    "_to_sync",
    "_should_unsync",
    "_partial",
    "_enable_grad",
    "_is_synced",
    "_cache",
    "_forward_cache",
    "compute_on_cpu",
)

# The methods that carry the bookkeeping already.
_wrappers: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()

_upstream_metric: type | None = None


def _register_with_torchmetrics() -> None:
    """Make metrics pass ``isinstance(metric, torchmetrics.Metric)`` once someone imported that."""
    global _upstream_metric
    module = sys.modules.get("torchmetrics.metric")
    if module is not None:
        upstream = getattr(module, "Metric", None)
        if upstream is not None and upstream is not _upstream_metric:
            _upstream_metric = upstream
            upstream.register(Metric)


def is_metric(value: object) -> bool:
    """Whether ``value`` is a metric, be it of this package or of torchmetrics."""
    if isinstance(value, Metric):
        return True
    upstream = getattr(sys.modules.get("torchmetrics.metric"), "Metric", None)
    return upstream is not None and isinstance(value, upstream)


@functools.lru_cache(maxsize=1024)
def _keywords_of(update: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of the arguments of ``update``, or None when it takes any keyword."""
    parameters = inspect.signature(update).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL)


class _UpdateSignature:
    """The signature of ``update`` without ``self``, worked out when somebody asks."""

    def __get__(self, metric: Metric | None, owner: type[Metric]) -> inspect.Signature:
        return inspect.signature((owner if metric is None else metric).update)


def private_copy(state: Any) -> Any:
    """Return a state with the value of ``state``, free of autograd, that shares nothing with it."""
    if isinstance(state, Tensor):
        return normal_tensor(state.detach().clone)
    return list(state)


def as_scalar(value: Tensor) -> Tensor:
    """Return a tensor of one element without axes, others as they are."""
    return value.squeeze() if value.ndim and value.numel() == 1 else value


def _is_zero(state: State) -> bool:
    return isinstance(state, Tensor) and (state.is_meta or not bool(state.any()))


def _wrap_fused_update(update: Callable[..., Any]) -> Callable[..., None]:
    """Return ``update`` with the bookkeeping behind it, so that a raise leaves no trace.

    In a region that torch compiles the bookkeeping writes constants and reads no counter, which
    would be a guard that fails on every step.
    """

    @functools.wraps(update)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        # `self` stays in `args`: taking it out and putting it back costs a tenth of a microsecond.
        self: Metric = args[0]
        if type(self).update is not wrapper:  # called through super() by an outer update
            update(*args, **kwargs)
            return
        own = self.__dict__
        if own["_link"] is not None:
            self._leave_group()
        update(*args, **kwargs)
        if is_dynamo_compiling():
            self._note_traced_update()
            return
        own["_computed"] = None
        own["_count"] += 1
        if own["compute_on_cpu"]:
            self._move_list_states_to_cpu()

    return wrapper


def _wrap_user_update(update: Callable[..., Any]) -> Callable[..., None]:
    """Return ``update`` with the bookkeeping before it, and without gradients except in forward."""

    @functools.wraps(update)
    def wrapper(self: Metric, *args: Any, **kwargs: Any) -> None:
        if type(self).update is not wrapper:  # called through super() by an outer update
            update(self, *args, **kwargs)
            return
        if self._link is not None:
            self._leave_group()
        if is_dynamo_compiling():
            self._note_traced_update()
            with torch.set_grad_enabled(self._enable_grad):
                update(self, *args, **kwargs)
            return
        own = self.__dict__
        own["_computed"] = None
        own["_count"] += 1
        with torch.set_grad_enabled(own["_enable_grad"]):
            try:
                update(self, *args, **kwargs)
            except RuntimeError as error:
                if "Expected all tensors to be on" in str(error):
                    raise RuntimeError(
                        f"{type(self).__name__}.update: the inputs and the metric are on different"
                        f" devices; the metric is on {self.device}. Move it with `.to(device)`."
                    ) from error
                raise
        if own["compute_on_cpu"]:
            self._move_list_states_to_cpu()

    return wrapper


def _wrap_compute(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``compute`` with cache and synchronisation around it; called once per class."""

    @functools.wraps(compute)
    def wrapper(self: Metric, *args: Any, **kwargs: Any) -> Any:
        if type(self).compute is not wrapper:  # called through super() by an outer compute
            return compute(self, *args, **kwargs)
        if is_compiling() and not (self._to_sync and self._is_distributed()):
            # The cache and the counts change, and whatever a compiled step depends on is a guard.
            return map_tensors(self._traced_tensor, compute(self, *args, **kwargs))
        _register_with_torchmetrics()
        if not self.update_called:
            rank_zero_warn(
                f"{type(self).__name__}.compute was called before any update: the value is that of"
                " the empty state.",
                UserWarning,
            )
        if self._computed is not None:
            return self._computed
        if self._is_synced or (self._to_sync and self._is_distributed()):
            with self.sync_context(
                dist_sync_fn=self.dist_sync_fn,
                should_sync=self._to_sync,
                should_unsync=self._should_unsync,
            ):
                if not self._partial:
                    self._report()
                value = self._own_value(compute(self, *args, **kwargs))
        else:
            if not self._partial:
                self._report()
            value = self._own_value(compute(self, *args, **kwargs))
        if self.compute_with_cache:
            object.__setattr__(self, "_computed", value)
        return value

    return wrapper


def _neg(x: Tensor) -> Tensor:
    return -torch.abs(x)


def _binary(
    operator: Callable[..., Tensor],
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """Return the methods for ``metric <operator> other`` and ``other <operator> metric``."""

    def forwards(self: Metric, other: Any) -> CompositionalMetric:
        return CompositionalMetric(operator, self, other)

    def backwards(self: Metric, other: Any) -> CompositionalMetric:
        return CompositionalMetric(operator, other, self)

    return forwards, backwards


def _unary(operator: Callable[..., Tensor]) -> Callable[[Any], Any]:
    def method(self: Metric) -> CompositionalMetric:
        return CompositionalMetric(operator, self, None)

    return method


class Metric(Module, ABC):
    """A value over a stream of batches, kept as small states that add up.

    A subclass declares its states with :meth:`add_state` in ``__init__``, changes them in
    ``update`` and turns them into the value in ``compute``. Everything else (reset, forward,
    copies, checkpoints, devices, processes) follows from the declaration.

    Class attributes a subclass may set: ``is_differentiable``, ``higher_is_better``,
    ``full_state_update`` (False: ``forward`` updates once, on a scratch state; True or None:
    twice), ``plot_lower_bound``, ``plot_upper_bound``, ``plot_legend_name``, and ``fused_update``
    (True promises that ``update`` only calls in-place ops without gradients that leave the states
    alone when they raise; it must be repeated where ``update`` is overridden).

    Args:
        kwargs: ``compute_on_cpu`` (move list states to the CPU after each update),
            ``dist_sync_on_step`` (``forward`` returns the value over all processes),
            ``process_group``, ``dist_sync_fn`` (a function ``(tensor, group) -> list of tensors``),
            ``distributed_available_fn``, ``sync_on_compute``, ``compute_with_cache``.

    Raises:
        ValueError: an unknown keyword, or a value of the wrong type.

    Example:
        >>> import torch
        >>> from fastmetrics.metric import Metric
        >>> class Total(Metric):
        ...     full_state_update = False
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        ...     def update(self, x):
        ...         self.total += x.sum()
        ...     def compute(self):
        ...         return self.total
        >>> total = Total()
        >>> total(torch.tensor([1.0, 2.0])), total(torch.tensor([3.0]))
        (tensor(3.), tensor(3.))
        >>> total.compute()
        tensor(6.)
    """

    __jit_ignored_attributes__: ClassVar[list[str]] = ["device"]
    __jit_unused_properties__: ClassVar[list[str]] = [
        *sorted(_CONSTANTS),
        "metric_state",
        "_update_called",
        "_update_count",
        "update_called",
        "update_count",
        "dtype",
        "_states",
    ]

    is_differentiable: bool | None = None
    higher_is_better: bool | None = None
    full_state_update: bool | None = None
    plot_lower_bound: float | None = None
    plot_upper_bound: float | None = None
    plot_legend_name: str | None = None

    fused_update: bool = False
    # States that `set_dtype` leaves alone: the ops add them up in float64, whatever the values are.
    _exact_states: tuple[str, ...] = ()
    _wraps_compute: ClassVar[bool] = True
    _raw_update: Callable[..., Any]
    _raw_compute: Callable[..., Any]
    _update_signature = _UpdateSignature()

    compute_on_cpu: bool
    dist_sync_on_step: bool
    sync_on_compute: bool
    compute_with_cache: bool
    _defaults: dict[str, State]
    _persistent: dict[str, bool]
    _reductions: dict[str, Reduction]
    _cache: dict[str, State] | None
    _is_synced: bool
    _to_sync: bool
    _should_unsync: bool
    # Whether the states are those of one batch, while `forward` looks at it.
    _partial: bool
    _enable_grad: bool
    _computed: Any
    _forward_cache: Any
    # The number of updates, and whether a compiled step made some that nobody counted.
    _count: int
    _traced: bool
    # The group of a collection that this metric shares its state with.
    _link: Any
    # The tensors `forward` fills for one batch, and those made here that no user can hold.
    _scratch: dict[str, Tensor] | None
    _owned: dict[str, Tensor]
    # The states, when `forward` can simply add those of the batch.
    _summed: tuple[str, ...] | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The promise of `fused_update` holds for the update it was made for; the classes of this
        # package keep it throughout.
        ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        if "update" in cls.__dict__ and "fused_update" not in cls.__dict__ and not ours:
            cls.fused_update = False
        for name in ("update", "compute"):
            method = getattr(cls, name)
            if method in _wrappers or getattr(method, "__isabstractmethod__", False):
                continue
            setattr(cls, f"_raw_{name}", method)
            if name == "update":
                method = (_wrap_fused_update if cls.fused_update else _wrap_user_update)(method)
            elif cls._wraps_compute:
                method = _wrap_compute(method)
            setattr(cls, name, method)
            _wrappers.add(method)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        _register_with_torchmetrics()
        own = self.__dict__
        for name, default in _SETTINGS.items():
            own[name] = kwargs.pop(name, default)
            if not isinstance(own[name], bool):
                raise ValueError(f"`{name}` must be a bool, got {own[name]!r}.")
        self.process_group = kwargs.pop("process_group", None)
        self.dist_sync_fn = kwargs.pop("dist_sync_fn", None)
        if self.dist_sync_fn is not None and not callable(self.dist_sync_fn):
            raise ValueError(f"`dist_sync_fn` must be a function, got {self.dist_sync_fn!r}.")
        available = kwargs.pop("distributed_available_fn", None)
        self.distributed_available_fn = available or jit_distributed_available
        if kwargs:
            unknown = ", ".join(f"`{name}`" for name in sorted(kwargs))
            raise ValueError(f"Unexpected keyword arguments: {unknown}.")
        own.update(
            _device=torch.get_default_device(),
            _dtype=torch.get_default_dtype(),
            _defaults={},
            _persistent={},
            _reductions={},
            _computed=None,
            _forward_cache=None,
            _count=0,
            _traced=False,
            _to_sync=self.sync_on_compute,
            _should_unsync=True,
            _partial=False,
            _enable_grad=False,
            _dtype_convert=False,
            _is_synced=False,
            _cache=None,
            _link=None,
            _scratch=None,
            _owned={},
            _spare={},
            _summed=(),
        )

    @abstractmethod
    def update(self, *_: Any, **__: Any) -> None:
        """Add a batch to the states."""

    @abstractmethod
    def compute(self) -> Any:
        """Return the value of the states, over all processes when they are synchronised."""

    def add_state(
        self,
        name: str,
        default: list[Any] | Tensor,
        dist_reduce_fx: str | Callable[..., Any] | None = None,
        persistent: bool = False,
    ) -> None:
        """Declare the state ``self.<name>``; ``reset`` returns it to ``default``.

        Args:
            name: the attribute that holds the state.
            default: a tensor, or an empty list to which ``update`` appends tensors.
            dist_reduce_fx: how states of two batches or processes become one: ``"sum"``,
                ``"mean"``, ``"max"``, ``"min"``, ``"cat"``, a function of the states stacked along
                a new first axis (of the flat list for a list state), or None to keep them apart.
            persistent: whether the state is part of ``state_dict``.

        Raises:
            ValueError: ``default`` or ``dist_reduce_fx`` is none of these.
        """
        if not isinstance(default, (Tensor, list)) or (isinstance(default, list) and default):
            raise ValueError(f"`default` must be a tensor or an empty list, got {default!r}.")
        if isinstance(dist_reduce_fx, str) and dist_reduce_fx in _REDUCTIONS:
            reduction = _REDUCTIONS[dist_reduce_fx]
        elif dist_reduce_fx is None or callable(dist_reduce_fx):
            reduction = dist_reduce_fx
        else:
            raise ValueError(
                f"`dist_reduce_fx` must be callable, None or one of {[*_REDUCTIONS]}, got"
                f" {dist_reduce_fx!r}."
            )
        if isinstance(default, Tensor):
            default = private_copy(default.contiguous())
        setattr(self, name, private_copy(default))
        self._defaults[name] = default
        self._persistent[name] = persistent
        self._reductions[name] = reduction
        self.__dict__["_scratch"] = None
        if isinstance(default, Tensor):
            self._owned[name] = getattr(self, name)
        if self._summed is not None:
            adds = (
                self.fused_update
                and (reduction is dim_zero_sum or isinstance(reduction, Merger))
                and _is_zero(default)
            )
            self.__dict__["_summed"] = (*self._summed, name) if adds else None

    @property
    def _states(self) -> States:
        """The states as a statistic takes them."""
        own = self.__dict__
        return States(
            own, batch=own["_partial"], grows=not own["compute_on_cpu"], spare=own["_spare"]
        )

    @property
    def metric_state(self) -> dict[str, State]:
        """The states themselves, by name."""
        return {name: getattr(self, name) for name in self._defaults}

    @property
    def update_called(self) -> bool:
        """Whether ``update`` or ``forward`` was called since the last ``reset``."""
        return self._count > 0 or self._traced

    @property
    def update_count(self) -> int:
        """The number of calls of ``update`` and ``forward`` since the last ``reset``.

        Calls inside a compiled region are not counted; if there were no others, the count is 1.
        """
        return self._count or int(self._traced)

    @property
    def _update_count(self) -> int:
        return self.update_count

    @_update_count.setter
    def _update_count(self, count: int) -> None:
        self.__dict__.update(_count=count, _traced=False)

    @property
    def _update_called(self) -> bool:
        rank_zero_warn("Use `update_called` instead of `_update_called`.", DeprecationWarning)
        return self.update_called

    def _note_traced_update(self) -> None:
        object.__setattr__(self, "_computed", None)
        object.__setattr__(self, "_traced", True)

    def _statistic(self) -> Hashable | None:
        """Return what the states count, or None when no other metric counts the same.

        Two metrics of a collection whose keys are equal share one state; the key must hold the
        family and every argument that changes what ``update`` does.
        """
        return None

    def _derive(self, source: Metric) -> dict[str, State] | None:
        """Return the states of this metric, had it seen the data of ``source``.

        None if the states of ``source`` do not say. A collection then updates ``source`` alone. A
        class that overrides it has a `_statistic` too.
        """
        return None

    def _op(self) -> Update | None:
        """Return the op that ``update`` calls, with what it takes besides the batch.

        None if a collection must call ``update`` itself. Otherwise ``update`` is no more than that
        op on the state that ``_open_state`` returns, and ``_keep_state`` after it.
        """
        return None

    def _open_state(self, preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor | None:
        """Return the state that the op may change for this batch; None if it needs ``update``."""
        return None

    def _keep_state(self, state: Tensor) -> None:
        """Make what ``_open_state`` returned, after the op, the state."""

    def _follow(self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the ``value`` of a batch in the form that autograd can follow, if it must."""
        return value

    def _assign(self, name: str, value: State) -> None:
        """Give the state ``name`` the value of ``value``, in place where nobody else can see it."""
        current = self.__dict__.get(name)
        if isinstance(value, Tensor):
            if isinstance(current, Tensor) and self._writable(name, current, value):
                current.copy_(value)
                return
            self._owned[name] = value = private_copy(value)
        elif isinstance(current, list):
            if current is not value:
                current[:] = value
            return
        object.__setattr__(self, name, value)

    def _writable(self, name: str, current: Tensor, value: Tensor) -> bool:
        return (
            (self.fused_update or self._owned.get(name) is current)
            and current.shape == value.shape
            and current.dtype == value.dtype
            and current.device == value.device
            and not current.is_inference()
            and not current.requires_grad
        )

    def _leave_group(self) -> None:
        """Stop sharing states with the other metrics of a collection."""
        own = self.__dict__
        link = own["_link"]
        states = {name: private_copy(getattr(self, name)) for name in self._defaults}
        link.break_up()
        own["_link"] = None
        own.update(states)
        self._owned.update({n: state for n, state in states.items() if isinstance(state, Tensor)})
        if own["_cache"] is not None:
            own["_cache"] = {name: private_copy(state) for name, state in own["_cache"].items()}

    def _move_list_states_to_cpu(self) -> None:
        for name in self._defaults:
            state = getattr(self, name)
            if isinstance(state, list):
                state[:] = [element.to("cpu") for element in state]

    def _report(self) -> None:
        """Raise or warn about the data seen so far; called once the states are complete."""

    def _own_value(self, value: Any) -> Any:
        """Return ``value`` with one-element tensors as scalars, sharing no memory with a state."""
        if isinstance(value, Tensor):
            return self._own_tensor(value)
        return map_tensors(self._own_tensor, value)

    def _own_tensor(self, value: Tensor) -> Tensor:
        # What a user's `compute` returns may belong to anybody; a fused one makes it, or returns
        # (part of) a state.
        if self.fused_update:
            for name in self._defaults:
                state = self.__dict__.get(name)  # one that was derived belongs to nobody
                if isinstance(state, list) or (
                    state is not None
                    and state.dtype is value.dtype
                    and state.untyped_storage().data_ptr() == value.untyped_storage().data_ptr()
                ):
                    value = value.clone()
                    break
        else:
            value = value.clone()
        return as_scalar(value)

    @torch.jit.unused
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the states, as ``update`` does, and return the value of the batch alone.

        With ``full_state_update=False`` the batch is counted once, into a scratch state that is
        then merged. When ``update`` or ``compute`` raises there, the states are as before.

        Raises:
            TorchMetricsUserError: the states are those of all processes (``sync``).
        """
        own = self.__dict__
        if own["_link"] is not None:
            self._leave_group()
        if own["_is_synced"]:
            raise TorchMetricsUserError(
                f"{type(self).__name__} is synchronised; call `unsync` before `forward`."
            )
        if is_compiling() and self._is_traceable():
            return forward_traced([[self]], [], self._update_raw, args, kwargs)[0]
        _register_with_torchmetrics()
        if self._adds_batches():
            return forward_batch([[self]], [], self._update_raw, args, kwargs)[0]
        return self._forward_shared((self,), args, kwargs)[0]

    def _update_raw(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._raw_update(*args, **kwargs)

    def _is_traceable(self) -> bool:
        """Whether ``forward`` needs no count, no communication, and knows all that changes."""
        own = self.__dict__
        return (
            dim_zero_mean not in self._reductions.values()
            and type(self).reset is Metric.reset
            and "update" not in own
            and "compute" not in own
            and not (self.dist_sync_on_step and self._is_distributed())
        )

    def _adds_batches(self) -> bool:
        """Whether ``forward`` only has to add the states of the batch to the totals."""
        own = self.__dict__
        return (
            bool(own["_summed"])
            and self.fused_update
            and self.full_state_update is False
            and not own["dist_sync_on_step"]
            and "update" not in own
            and "compute" not in own
        )

    def _begin_scratch(self) -> dict[str, Tensor]:
        """Put states without data in place of the states, which are returned."""
        own = self.__dict__
        names: tuple[str, ...] = own["_summed"]
        scratch = own["_scratch"]
        if scratch is None:
            own["_scratch"] = scratch = {name: private_copy(self._defaults[name]) for name in names}
        totals = {name: own[name] for name in names}
        for name in names:
            own[name] = scratch[name].zero_()
        own["_enable_grad"] = True
        return totals

    def _add_batch(self, totals: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        """Add the states of a batch to ``totals``, in place where their dtypes allow it."""
        for name, part in batch.items():
            total, reduction = totals[name], self._reductions[name]
            if isinstance(reduction, Merger):
                totals[name] = reduction.absorb(total, part)
                continue
            if part.dtype is not total.dtype and part.is_floating_point():
                totals[name] = total = normal_tensor(functools.partial(total.to, part.dtype))
            total.add_(part)

    def _set(self, **attributes: Any) -> None:
        """Set attributes in a way that torch can trace, and that says nothing to a collection."""
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _traced_tensor(self, value: Tensor) -> Tensor:
        """Do as `_own_tensor` in a compiled region, where nobody knows which memory this is."""
        return as_scalar(value.clone())

    def _joined(self, name: str, total: State, batch: Any) -> State:
        """Return ``total`` with the state of one batch merged into it, in place if possible."""
        reduction = self._reductions[name]
        if isinstance(total, list):
            total.extend(map_tensors(Tensor.detach, batch))
            return total
        if isinstance(reduction, Merger):
            return reduction.absorb(total, batch)
        merged = _merge(reduction, total, batch.detach(), 1, 1)
        same = merged.shape == total.shape and merged.dtype == total.dtype
        return total.copy_(merged) if same else merged

    def _forward_shared(
        self, members: Sequence[Metric], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Any]:
        """Forward for all ``members``, which share the states of this metric, itself included."""
        twice = any(m.full_state_update is not False or m.dist_sync_on_step for m in members)
        if twice:
            self.update(*args, **kwargs)
        count = self._count
        totals = self.metric_state
        saved = [{name: m.__dict__[name] for name in _BOOKKEEPING} for m in members]
        try:
            scratch = {name: private_copy(default) for name, default in self._defaults.items()}
            for member in members:
                member._begin_batch(scratch)
            self._enable_grad = True
            self.update(*args, **kwargs)
            batch = self.metric_state
            for member in members[1:]:
                member.__dict__.update(batch, _count=self._count, _traced=self._traced)
            values = [m.compute() for m in members]
            values = [
                # The value of all processes has no gradients.
                value if m.dist_sync_on_step else m._follow(value, args, kwargs)
                for m, value in zip(members, values, strict=True)
            ]
        except BaseException:
            for member, before in zip(members, saved, strict=True):
                member.__dict__.update(totals, **before)
            raise
        for member, before in zip(members, saved, strict=True):
            member.__dict__.update(totals, **before)
        if not twice:
            count += 1
            self._absorb(batch, count - 1)
            totals = self.metric_state
        for member, value in zip(members, values, strict=True):
            member.__dict__.update(totals, _computed=None, _count=count, _forward_cache=value)
            if member.compute_on_cpu:
                member._move_list_states_to_cpu()
        return values

    def _begin_batch(self, scratch: dict[str, State]) -> None:
        """Put the metric in the state of one batch, from which ``_forward_shared`` restores it."""
        self.__dict__.update(
            scratch,
            _computed=None,
            _count=0,
            _traced=False,
            _to_sync=self.dist_sync_on_step,
            _should_unsync=False,
            _partial=True,
            compute_on_cpu=False,
        )
        if type(self).reset is not Metric.reset:  # it may hold more than states
            self.reset()

    def _absorb(self, batch: dict[str, State], count: int) -> None:
        """Merge the states of one batch behind those of ``count`` updates."""
        with torch.no_grad():
            for name, part in batch.items():
                total, reduction = getattr(self, name), self._reductions[name]
                if isinstance(total, list) and isinstance(part, list):
                    total.extend(map_tensors(Tensor.detach, part))
                else:
                    self._assign(name, _merge(reduction, total, part, count, 1))

    def reset(self) -> None:
        """Return the states to their defaults, in place where that is possible."""
        own = self.__dict__
        if own["_link"] is not None:
            self._leave_group()
        if own["_cache"] is not None:  # synchronised: the own states are the ones to keep
            own.update(own["_cache"])
        own.update(
            _count=0,
            _traced=False,
            _computed=None,
            _forward_cache=None,
            _cache=None,
            _is_synced=False,
            _spare={},
        )
        for name, default in self._defaults.items():
            current = own.get(name)
            if isinstance(default, Tensor):
                if isinstance(current, Tensor) and current.device != default.device:
                    default = default.to(current.device)
                self._assign(name, default)
            elif isinstance(current, list):
                current.clear()
            else:
                own[name] = []

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge the states of another metric, or a dict of states, into those of this one.

        Lists and stacked states put the incoming part first. Means are weighted by the number of
        updates behind them, a dict counting as one, and the update counts add up.

        Raises:
            ValueError: ``incoming_state`` is neither a dict nor a metric of this class, or lacks a
                state.
            RuntimeError: the metric needs its whole state to update (``full_state_update``), or
                synchronises on every step.
        """
        if not isinstance(incoming_state, (dict, Metric)):
            raise ValueError(
                f"`incoming_state` must be a dict or a Metric, got {type(incoming_state)}."
            )
        if self.full_state_update is not False or self.dist_sync_on_step:
            raise RuntimeError(
                "`merge_state` needs `full_state_update=False` and `dist_sync_on_step=False`;"
                f" override it in {type(self).__name__} otherwise."
            )
        count = 1
        if isinstance(incoming_state, Metric):
            if not isinstance(incoming_state, type(self)):
                raise ValueError(
                    f"`incoming_state` must be a {type(self).__name__}, got"
                    f" {type(incoming_state).__name__}."
                )
            count = incoming_state.update_count
            incoming_state = incoming_state.metric_state
        for name in self._defaults:
            if name not in incoming_state:
                raise ValueError(
                    f"`incoming_state` must hold the state {name!r}, got {[*incoming_state]}."
                )
        if self._link is not None:
            self._leave_group()
        own_count = self.update_count
        with torch.no_grad():
            merged = {
                name: _merge(fx, incoming_state[name], getattr(self, name), count, own_count)
                for name, fx in self._reductions.items()
            }
            for name, state in merged.items():
                self._assign(name, state)
        self.__dict__.update(_count=own_count + count, _computed=None)

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        """Refuse what only ``torchmetrics.wrappers.Running`` asks for.

        It keeps the tensors of a state while ``reset`` fills them anew, and would count zeros.
        """
        raise TorchMetricsUserError(
            f"torchmetrics.wrappers.Running cannot hold {type(self).__name__}, whose `reset` keeps"
            " its tensors; use fastmetrics.wrappers.Running."
        )

    def state_bytes(self) -> bytes:
        """Return the states of this process as bytes, for :meth:`from_state_bytes`.

        They describe themselves, with a version and a checksum, and hold no code.
        """
        return write_states(named_metrics(self))

    def from_state_bytes(self, data: bytes) -> Self:
        """Return a copy of this metric with the states of ``data`` instead of its own.

        Raises:
            ValueError: ``data`` is damaged, has another version, or stems from a metric of another
                class or with arguments that count something else.

        Example:
            >>> from fastmetrics import SumMetric
            >>> metric = SumMetric()
            >>> metric.update(2.0)
            >>> SumMetric().from_state_bytes(metric.state_bytes()).compute()
            tensor(2.)
        """
        fresh: Self = independent_copy(self)
        fresh.reset()
        read_states(data, named_metrics(fresh))
        return fresh

    def _merge_earlier(self, part: Self) -> None:
        """Merge the states of ``part``, a metric like this one that saw its data before."""
        earlier = named_metrics(part)
        for name, metric in named_metrics(self).items():
            if metric._defaults:
                metric.merge_state(earlier[name])

    def _own_states(self) -> dict[str, State]:
        """Return the states of this process, be it synchronised or not."""
        return self.metric_state if self._cache is None else self._cache

    def _take_states(self, states: dict[str, State]) -> None:
        if self._link is not None:
            self._leave_group()
        for name, state in states.items():
            self._assign(name, map_tensors(lambda t: t.to(self.device), state))
        self.__dict__["_computed"] = None

    def _extras(self) -> Any:
        """Return what a copy needs besides the states, as JSON has it."""
        return None

    def _take_extras(self, extras: Any) -> None:
        """Set what ``_extras`` of a metric like this one returned."""

    def clone(self) -> Self:
        """Return a deep copy."""
        return deepcopy(self)

    def _is_distributed(self) -> bool:
        available = self.distributed_available_fn
        return bool(available()) if callable(available) else False

    def sync(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any | None = None,
        should_sync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
        *,
        async_op: bool = False,
    ) -> SyncHandle | None:
        """Replace the states by those of all processes; does nothing with one process.

        All states travel together, see ``docs/distributed.md``. With ``async_op`` they travel in
        the background, and the states stay those of this process until ``wait`` of the handle.

        Args:
            dist_sync_fn: gathers a tensor, ``(tensor, group) -> list``; the metric's own by
                default. With such a function each state travels on its own.
            process_group: the processes; those of the metric by default.
            should_sync: False turns the call into nothing.
            distributed_available: tells whether there is a process group.
            async_op: return a :class:`~fastmetrics.distributed.SyncHandle` at once.

        Raises:
            TorchMetricsUserError: the states are those of all processes already, or ``async_op``
                where states travel in their own way.
            RuntimeError: the processes hold different metrics, or one does not answer; the states
                are untouched.
        """
        if self._is_synced and should_sync:
            raise TorchMetricsUserError(f"{type(self).__name__} is synchronised already.")
        available = (
            self._is_distributed() if distributed_available is None else distributed_available()
        )
        if not should_sync or not available:
            return SyncHandle() if async_op else None
        if self._packs(dist_sync_fn):
            return sync_metrics({type(self).__name__: self}, process_group, async_op)
        if async_op:
            raise TorchMetricsUserError(
                f"{type(self).__name__} gathers its states in its own way, not in the background."
            )
        # No copies: synchronising replaces states, it never changes them.
        cache = self.metric_state
        try:
            self._sync_dist(dist_sync_fn or self.dist_sync_fn or gather_all_tensors, process_group)
        except BaseException:
            self.__dict__.update(cache)
            raise
        self.__dict__.update(_cache=cache, _is_synced=True)
        return None

    def _packs(self, dist_sync_fn: Callable[..., Any] | None = None) -> bool:
        """Whether the states travel together with those of other metrics, without a graph."""
        own = "_sync_dist" in self.__dict__ or type(self)._sync_dist is not Metric._sync_dist
        gather = dist_sync_fn or self.dist_sync_fn
        graph = self._partial and self.is_differentiable is not False and torch.is_grad_enabled()
        return not own and not graph and gather in (None, gather_all_tensors)

    def _described(self, name: str, source: str = "") -> Statistic:
        """Return the states, those of ``source`` too if any, and what they have in common."""
        return Statistic(
            name,
            source or name,
            type(self).__qualname__,
            canonical(self._statistic()),
            self._reductions,
            self._defaults,
            self.metric_state,
            self.update_called,
            self.device,
            self.dtype,
        )

    def compute_async(self) -> PendingValue:
        """Return a handle whose ``wait`` returns the value that ``compute`` would return now.

        The states of this moment are copied and travel in the background, where there are other
        processes; those of the metric are left alone. All processes must call this alike.
        """
        if self._computed is not None:
            value = self._computed
            return PendingValue(SyncHandle(), lambda: value)
        copy = independent_copy(self)
        handle = sync_for_compute(copy._sources(type(self).__name__), async_op=True)
        return PendingValue(handle, copy.compute)

    def _sources(self, name: str) -> dict[str, Metric]:
        """Return the metrics that ``compute`` synchronises, by the names that errors call them."""
        return {name: self} if self._wraps_compute else {}

    def _syncs_in_compute(self) -> bool:
        return (
            self._to_sync
            and self._computed is None
            and not self._is_synced
            and self._is_distributed()
        )

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., Any] = gather_all_tensors,
        process_group: Any | None = None,
    ) -> None:
        group = process_group or self.process_group
        count = self.update_count
        for name, reduction in self._reductions.items():
            state = getattr(self, name)
            if isinstance(state, Tensor):
                synced = sync_tensor_state(state, reduction, dist_sync_fn, group, count)
            else:
                empty = torch.empty(0, device=self.device, dtype=self.dtype)
                synced = sync_list_state(state, reduction, dist_sync_fn, group, empty)
            object.__setattr__(self, name, synced)

    def unsync(self, should_unsync: bool = True) -> None:
        """Return to the states of this process.

        Raises:
            TorchMetricsUserError: the states are those of this process already.
        """
        if not should_unsync:
            return
        if not self._is_synced:
            raise TorchMetricsUserError(f"{type(self).__name__} is not synchronised.")
        if self._cache is None:
            raise TorchMetricsUserError(
                f"{type(self).__name__} has lost the states of this process and cannot unsync."
            )
        own = self.__dict__
        if self._link is not None and self._link.source is not None:
            for name in own["_defaults"]:  # those of this process are read from another metric
                own.pop(name, None)
        else:
            own.update(self._cache)
        own.update(_is_synced=False, _cache=None)

    @contextmanager
    def sync_context(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any | None = None,
        should_sync: bool = True,
        should_unsync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> Generator[None, None, None]:
        """Hold the states of all processes inside a ``with`` block; arguments as for ``sync``."""
        self.sync(
            dist_sync_fn=dist_sync_fn,
            process_group=process_group,
            should_sync=should_sync,
            distributed_available=distributed_available,
        )
        try:
            yield
        finally:
            self.unsync(should_unsync=self._is_synced and should_unsync)

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Plot ``val``, a value or a list of values, by default that of ``compute``.

        Args:
            args: ``val`` and ``ax``, a matplotlib axis; both may be left out.
            kwargs: the same by name.

        Returns:
            The figure (None when ``ax`` was given) and the axis.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        return self._plot(*args, **kwargs)

    def _plot(self, val: Any | None = None, ax: Any | None = None) -> Any:
        from fastmetrics.utilities.plot import plot_single_or_multi_val

        return plot_single_or_multi_val(
            self.compute() if val is None else val,
            ax=ax,
            higher_is_better=self.higher_is_better,
            lower_bound=self.plot_lower_bound,
            upper_bound=self.plot_upper_bound,
            legend_name=self.plot_legend_name,
            name=type(self).__name__,
        )

    @property
    def device(self) -> torch.device:
        """The device of the states."""
        device: torch.device = self.__dict__["_device"]
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point dtype chosen with ``set_dtype``; the default one otherwise."""
        dtype: torch.dtype = self.__dict__["_dtype"]
        return dtype

    def type(self, dst_type: str | torch.dtype) -> Self:
        """Do nothing: states keep their dtype, see :meth:`set_dtype`."""
        return self

    def float(self) -> Self:
        """Do nothing: states keep their dtype, see :meth:`set_dtype`."""
        return self

    def double(self) -> Self:
        """Do nothing: states keep their dtype, see :meth:`set_dtype`."""
        return self

    def half(self) -> Self:
        """Do nothing: states keep their dtype, see :meth:`set_dtype`."""
        return self

    def bfloat16(self) -> Self:
        """Do nothing: states keep their dtype, see :meth:`set_dtype`."""
        return self

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Convert the floating-point states to ``dst_type``; counts stay integers."""
        metrics = [m for m in self.modules() if isinstance(m, Metric)]
        for metric in metrics:
            metric.__dict__["_dtype_convert"] = True
        try:
            self._apply(lambda t: t.type(dst_type) if t.is_floating_point() else t)
        finally:
            for metric in metrics:
                metric.__dict__["_dtype_convert"] = False
        return self

    def _apply(  # type: ignore[override]  # user code passes exclude_state second
        self,
        fn: Callable[[Tensor], Tensor],
        exclude_state: Sequence[str] = "",
        recurse: bool = True,
    ) -> Self:
        """Move states, defaults and cached values as ``fn`` does; their dtypes stay.

        Only ``set_dtype`` converts: a model cast to half precision must not count in half
        precision.
        """
        _register_with_torchmetrics()
        own = self.__dict__
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if own["_dtype_convert"] or moved.dtype == tensor.dtype:
                return moved
            return tensor.to(moved.device)

        for name in ("_computed", "_forward_cache", "_cache"):
            own[name] = map_tensors(move, own[name])
        if self._stays_under(fn):
            return self
        if own["_link"] is not None:
            self._leave_group()
        if own["_dtype_convert"]:
            exclude_state = (*exclude_state, *self._exact_states)

        def move_normal(tensor: Tensor) -> Tensor:
            return normal_tensor(lambda: move(tensor))

        for name, default in self._defaults.items():
            if name not in exclude_state:
                self._defaults[name] = map_tensors(move_normal, default)
                own[name] = map_tensors(move_normal, own[name])
        probe = move(torch.zeros(1, device=self.device))
        own["_device"] = probe.device
        if own["_dtype_convert"]:
            own["_dtype"] = probe.dtype
        own["_scratch"] = None
        own["_spare"] = {}
        return self

    def _stays_under(self, fn: Callable[[Tensor], Tensor]) -> bool:
        """Whether ``fn`` returns what it is given, as a move to the device of the metric does.

        Trainers make that move on every step; metrics that share a state must go on sharing it.
        """
        tensors: list[Any] = [torch.empty(0, dtype=self.dtype, device=self.device)]
        owner = self if self._link is None else self._link.owner  # what it reads is new each time
        for state in (*self._defaults.values(), *owner.metric_state.values()):
            tensors.extend(state if isinstance(state, list) else [state])
        return all(isinstance(tensor, Tensor) and fn(tensor) is tensor for tensor in tensors)

    def persistent(self, mode: bool = False) -> None:
        """Choose whether the states are part of ``state_dict``."""
        for name in self._persistent:
            self._persistent[name] = mode

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)

        def copy(tensor: Tensor) -> Tensor:
            return (tensor if keep_vars else tensor.detach()).clone()

        for name, persistent in self._persistent.items():
            if persistent:
                destination[prefix + name] = map_tensors(copy, getattr(self, name))

    def state_dict(  # type: ignore[override]  # arguments by position, as user code passes them
        self,
        destination: dict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Return copies of the persistent states, and those of submodules, by name."""
        result: dict[str, Any] = super().state_dict(
            destination=destination,  # type: ignore[arg-type]  # torch asks for its own dict type
            prefix=prefix,
            keep_vars=keep_vars,
        )
        return result

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        loaded = [name for name in self._defaults if prefix + name in state_dict]
        if loaded and self._link is not None:
            self._leave_group()
        for name in loaded:
            # Popped, so that the base class does not take it for an unexpected key.
            value = state_dict.pop(prefix + name)
            self._assign(name, map_tensors(lambda t: t.detach().to(self.device), value))
        if loaded:
            self.__dict__["_computed"] = None
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes; the copy stands alone, whatever this metric shares."""
        state = dict(self.__dict__)
        if state["_link"] is not None:
            state.update({name: private_copy(getattr(self, name)) for name in self._defaults})
        return {**state, "_link": None, "_scratch": None, "_owned": {}, "_spare": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore all attributes; the process may be one where no metric was made yet."""
        _register_with_torchmetrics()
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # untyped in torch

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _CONSTANTS:
            raise RuntimeError(f"`{name}` is a constant of {type(self).__name__}.")
        own = self.__dict__
        is_state = name in own.get("_defaults", ())
        if own.get("_link") is not None and (
            is_state or not (name.startswith("_") or name in _NEUTRAL)
        ):
            self._leave_group()
        if is_state:  # never a parameter, buffer or submodule
            # Fused updates write into it; torchmetrics.MetricCollection gives one to many metrics.
            object.__setattr__(self, name, private_copy(value) if self.fused_update else value)
        else:
            super().__setattr__(name, value)

    def _filter_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """Return those of ``kwargs`` that ``update`` takes."""
        update = self.__dict__.get("update") or type(self).update
        names = _keywords_of(update)
        return kwargs if names is None else {k: v for k, v in kwargs.items() if k in names}

    def __hash__(self) -> int:
        # The states themselves hash by identity; the counts tell apart what changed in place.
        values: list[Any] = [type(self).__name__, id(self), self._count, self._traced]
        link = self._link
        owner = self if link is None else link.owner  # what it reads is new each time
        for state in owner.metric_state.values():
            values.extend(state if isinstance(state, list) else [state])
        return hash(tuple(values))

    def __getattr__(self, name: str) -> Any:
        """Return a state that is read from the state of another metric of a collection."""
        own = self.__dict__
        link = own.get("_link")
        if link is not None and name in own["_defaults"]:
            return link.read(self)[name]
        return super().__getattr__(name)

    __iter__ = None

    __add__, __radd__ = _binary(torch.add)
    __sub__, __rsub__ = _binary(torch.sub)
    __mul__, __rmul__ = _binary(torch.mul)
    __truediv__, __rtruediv__ = _binary(torch.true_divide)
    __floordiv__, __rfloordiv__ = _binary(torch.floor_divide)
    __mod__, __rmod__ = _binary(torch.fmod)
    __pow__, __rpow__ = _binary(torch.pow)
    __matmul__, __rmatmul__ = _binary(torch.matmul)
    __and__ = __rand__ = _binary(torch.bitwise_and)[0]  # its first operand must be a tensor
    __or__, __ror__ = _binary(torch.bitwise_or)
    __xor__, __rxor__ = _binary(torch.bitwise_xor)
    __eq__ = _binary(torch.eq)[0]  # elementwise, like the next
    __ne__ = _binary(torch.ne)[0]
    __lt__ = _binary(torch.lt)[0]
    __le__ = _binary(torch.le)[0]
    __gt__ = _binary(torch.gt)[0]
    __ge__ = _binary(torch.ge)[0]
    __abs__ = __pos__ = _unary(torch.abs)
    __neg__ = _unary(_neg)
    __inv__ = __invert__ = _unary(torch.bitwise_not)

    def __getitem__(self, idx: Any) -> CompositionalMetric:
        return CompositionalMetric(_Item(idx), self, None)


def forward_batch(
    shared: Sequence[Sequence[Metric]],
    reading: Sequence[Sequence[Metric]],
    update: Callable[[tuple[Any, ...], dict[str, Any]], None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Any]:
    """Return the value of one batch for each metric, and add the batch to their states.

    One ``update`` of scratch states, the values from them, and one addition per state. When
    something raises, the states are as before.

    Args:
        shared: metrics that share their states, the first of which is updated, for each state.
        reading: metrics that have no states but read those of the others, all of a group the same.
        update: adds the batch to the states of the first metrics.
        args: the batch.
        kwargs: the batch.
    """
    members = [member for group in (*shared, *reading) for member in group]
    totals: list[dict[str, Tensor]] = []
    try:
        for group in shared:
            totals.append(group[0]._begin_scratch())
        update(args, kwargs)
        batches = []
        for group, total in zip(shared, totals, strict=True):
            own = group[0].__dict__
            batches.append({name: own[name] for name in total})  # the scratch, or its successor
            for member in group[1:]:
                member.__dict__.update(batches[-1])
        for group in reading:
            states = group[0]._link.read(group[0])
            for member in group:
                member.__dict__.update(states)
        values = [
            member._follow(member._own_value(member._raw_compute()), args, kwargs)
            for member in members
        ]
        for group, total, batch in zip(shared, totals, batches, strict=True):
            group[0]._add_batch(total, batch)
    finally:
        for group, total in zip(shared, totals, strict=False):
            group[0].__dict__["_enable_grad"] = False
            for member in group:
                member.__dict__.update(total)
        for member in (m for group in reading for m in group):
            for name in member._defaults:
                member.__dict__.pop(name, None)
    for member, value in zip(members, values, strict=True):
        own = member.__dict__
        own["_computed"] = None
        own["_count"] += 1
        own["_forward_cache"] = value
    return values


def forward_traced(
    shared: Sequence[Sequence[Metric]],
    reading: Sequence[Sequence[Metric]],
    update: Callable[[tuple[Any, ...], dict[str, Any]], None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Any]:
    """Do what ``forward`` does in a region that torch compiles; arguments of ``forward_batch``.

    Reads no counter, writes attributes only once the graph has run, and leaves what the events say
    to a later ``compute``.
    """
    members = [member for group in (*shared, *reading) for member in group]
    leaders = [group[0] for group in shared]
    twice = any([m.full_state_update is not False for m in members])
    if twice:
        with torch.no_grad():
            update(args, kwargs)
    totals = [leader.metric_state for leader in leaders]
    try:
        for leader in leaders:
            leader._set(**{n: private_copy(default) for n, default in leader._defaults.items()})
            leader._set(_enable_grad=True, _partial=True)
        update(args, kwargs)
        batches = [leader.metric_state for leader in leaders]
        for group, batch in zip(shared, batches, strict=True):
            for member in group[1:]:
                member._set(**batch)
        values = [
            member._follow(map_tensors(member._traced_tensor, member._raw_compute()), args, kwargs)
            for member in members
        ]
    finally:
        for group, total in zip(shared, totals, strict=True):
            group[0]._set(_enable_grad=False, _partial=False)
            for member in group:
                member._set(**total)
    if not twice:
        for group, total, batch in zip(shared, totals, batches, strict=True):
            joined = {name: group[0]._joined(name, total[name], batch[name]) for name in total}
            for member in group:
                member._set(**joined)
    for member, value in zip(members, values, strict=True):
        member._note_traced_update()
        if is_dynamo_compiling():  # an export has no values, only stand-ins for them
            member._set(_forward_cache=value)
    return values


def _merge(fx: Reduction, first: Any, second: Any, n_first: int, n_second: int) -> Any:
    """Return one state for two, which stand for ``n_first`` and ``n_second`` updates."""
    if fx is dim_zero_sum:
        return first + second
    if fx is dim_zero_max:
        return torch.maximum(first, second)
    if fx is dim_zero_min:
        return torch.minimum(first, second)
    if fx is dim_zero_mean:
        if not n_first or not n_second:
            return first if n_first else second
        mean = (n_first * first + n_second * second) / (n_first + n_second)
        return mean.to(first.dtype) if first.is_floating_point() else mean
    if fx is dim_zero_cat or fx is None:
        if isinstance(first, list) or isinstance(second, list):
            lists = [state if isinstance(state, list) else [state] for state in (first, second)]
            return map_tensors(Tensor.detach, [*lists[0], *lists[1]])
        return torch.cat([first, second]) if fx else torch.stack([first, second])
    if first.shape != second.shape:
        first, second = torch.broadcast_tensors(first, second)
    return fx(torch.stack([first, second]))


def named_metrics(module: Module) -> dict[str, Metric]:
    """Return the metrics that ``module`` is made of, itself first if it is one, each once."""
    found = ((name, m) for name, m in module.named_modules() if isinstance(m, Metric))
    return {name or type(metric).__name__: metric for name, metric in found}


def independent_copy(module: Any) -> Any:
    """Return a deep copy of metrics that shares their process groups and the networks in them."""
    shared: list[Any] = []
    for metric in named_metrics(module).values():
        shared.append(metric.process_group)
        shared += [child for child in metric.children() if not _holds_metrics(child)]
    return deepcopy(module, {id(each): each for each in shared})


def _holds_metrics(module: Module) -> bool:
    return any(hasattr(part, "_defaults") for part in module.modules())


def sync_for_compute(metrics: dict[str, Metric], async_op: bool = False) -> SyncHandle:
    """Synchronise metrics as their ``compute`` would, and keep it from doing so.

    The caller restores ``_to_sync`` and ``_should_unsync``. What cannot travel in the background
    is synchronised at once.
    """
    waiting = {name: metric for name, metric in metrics.items() if metric._syncs_in_compute()}
    packed = {name: metric for name, metric in waiting.items() if metric._packs()}
    handle = sync_metrics(packed, async_op=async_op)
    for name, metric in waiting.items():
        if name not in packed:
            metric.sync()
    for metric in metrics.values():
        metric.__dict__.update(_to_sync=False, _should_unsync=False)
    return handle or SyncHandle()


def sync_metrics(
    metrics: dict[str, Metric], process_group: Any = None, async_op: bool = False
) -> SyncHandle | None:
    """Synchronise metrics, by the names that errors call them, in one exchange for each group.

    Metrics that share their states send them once.
    """
    groups: dict[int, Any] = {}
    members: dict[int, list[Metric]] = {}
    described: dict[int, list[Statistic]] = {}
    sources: dict[tuple[int, int], str] = {}
    for name, metric in metrics.items():
        group = process_group or metric.process_group
        key = id(group)
        groups[key] = group
        source = sources.setdefault((key, id(metric._link or metric)), name)
        members.setdefault(key, []).append(metric)
        described.setdefault(key, []).append(metric._described(name, source))

    def install(exchanged: list[list[dict[str, State]]]) -> None:
        for metric in metrics.values():
            if metric._is_synced:
                raise TorchMetricsUserError(f"{type(metric).__name__} is synchronised already.")
        for each, synced in zip(members.values(), exchanged, strict=True):
            for metric, states in zip(each, synced, strict=True):
                metric.__dict__.update(states, _cache=metric.metric_state, _is_synced=True)

    packets = [(described[key], group) for key, group in groups.items()]
    if async_op:
        return SyncHandle([exchange_later(*packet) for packet in packets], install)
    install([exchange(*packet) for packet in packets])
    return None


class _Item:
    """``x[index]`` as a function that can be pickled."""

    __name__ = "getitem"

    def __init__(self, index: Any) -> None:
        self.index = index

    def __call__(self, x: Any) -> Any:
        return x[self.index]


class CompositionalMetric(Metric):
    """An operator applied to the values of metrics: what ``metric_a + metric_b`` returns.

    A metric that occurs more than once in an expression, as in ``2 * p * r / (p + r)``, is updated
    once.

    Args:
        operator: a function of one value (``metric_b=None``) or two.
        metric_a: a metric (one of torchmetrics will do), number or tensor.
        metric_b: the same, or None.
    """

    fused_update = True
    _wraps_compute = False

    def __init__(self, operator: Callable[..., Any], metric_a: Any, metric_b: Any) -> None:
        super().__init__()
        self.op = operator
        for name, operand in (("metric_a", metric_a), ("metric_b", metric_b)):
            if isinstance(operand, Tensor):
                self.register_buffer(name, operand, persistent=False)
            else:
                setattr(self, name, operand)

    def _leaves(self) -> dict[int, Any]:
        """Return the metrics that the expression is made of, each once."""
        leaves: dict[int, Any] = {}
        for operand in (self.metric_a, self.metric_b):
            if isinstance(operand, CompositionalMetric):
                leaves.update(operand._leaves())
            elif is_metric(operand):
                leaves[id(operand)] = operand
        return leaves

    def _sources(self, name: str) -> dict[str, Metric]:
        found: dict[str, Metric] = {}
        for i, leaf in enumerate(self._leaves().values()):
            found.update(leaf._sources(f"{name}[{i}]"))
        return found

    def _evaluate(self, value_of: Callable[[Any], Any]) -> Any:
        """Return the value of the expression; None when a metric has none."""
        values = []
        for operand in (self.metric_a, self.metric_b):
            if isinstance(operand, CompositionalMetric):
                values.append(operand._evaluate(value_of))
            elif is_metric(operand):
                values.append(value_of(operand))
            else:
                values.append(operand)
                continue
            if values[-1] is None:
                return None
        return self.op(values[0]) if self.metric_b is None else self.op(*values)

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] | None = None, process_group: Any | None = None
    ) -> None:
        """Do nothing: the metrics synchronise themselves."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update each metric once; keywords that its ``update`` does not take are left out."""
        for leaf in self._leaves().values():
            leaf.update(*args, **leaf._filter_kwargs(**kwargs))

    def compute(self) -> Any:
        """Return the operator applied to the values of the metrics."""
        return self._evaluate(lambda leaf: leaf.compute())

    @torch.jit.unused
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Update each metric once and return the operator applied to their values of the batch."""
        values = {
            key: leaf(*args, **leaf._filter_kwargs(**kwargs))
            for key, leaf in self._leaves().items()
        }
        self._forward_cache = self._evaluate(lambda leaf: values[id(leaf)])
        return self._forward_cache

    def reset(self) -> None:
        """Reset the metrics."""
        super().reset()
        for leaf in self._leaves().values():
            leaf.reset()

    def persistent(self, mode: bool = False) -> None:
        """Choose whether the states of the metrics are part of ``state_dict``."""
        for leaf in self._leaves().values():
            leaf.persistent(mode=mode)

    def __repr__(self) -> str:
        """Return the operator and its operands."""
        name = getattr(self.op, "__name__", repr(self.op))
        operands = f"    {self.metric_a!r},\n    {self.metric_b!r}"
        return f"{type(self).__name__}(\n  {name}(\n{operands}\n  )\n)"
