"""The base of all metrics: the surface that users, frameworks and torchmetrics know."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling
from typing_extensions import Self, TypeIs

from fastmetrics.core import syncing, upstream
from fastmetrics.core.copying import may_be_part_of
from fastmetrics.core.forward import forward as forward_batch
from fastmetrics.core.forward import forward_alone
from fastmetrics.core.keywords import added_by, known_to
from fastmetrics.core.locking import exclusive
from fastmetrics.core.operators import Operators
from fastmetrics.core.reductions import Merger as Merger
from fastmetrics.core.scripting import Unscripted
from fastmetrics.core.stateful import SETTINGS, Stateful
from fastmetrics.core.states import States, private_copy
from fastmetrics.core.wrapping import ensure_wrapped
from fastmetrics.distributed import (
    Parcel,
    PendingValue,
    SyncHandle,
    canonical,
    distributed_available,
    gather_all_tensors,
    gather_state,
    is_real,
    read_states,
    write_states,
)
from fastmetrics.utilities.data import map_tensors
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from fastmetrics.utilities.fallback import names_of_others

if TYPE_CHECKING:
    from fastmetrics.core.composition import CompositionalMetric as CompositionalMetric

jit_distributed_available = distributed_available


class _UpdateSignature:
    """The signature of ``update`` without ``self``, worked out when somebody asks."""

    def __get__(self, metric: Metric | None, owner: type[Metric]) -> inspect.Signature:
        return inspect.signature((owner if metric is None else metric).update)


def as_scalar(value: Tensor) -> Tensor:
    """Return a tensor of one element without axes, others as they are."""
    return value.squeeze() if value.ndim and value.numel() == 1 else value


class Metric(Stateful, Operators, ABC):
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

    is_differentiable: bool | None = None
    higher_is_better: bool | None = None
    full_state_update: bool | None = None
    plot_lower_bound: float | None = None
    plot_upper_bound: float | None = None
    plot_legend_name: str | None = None

    _wraps_compute: ClassVar[bool] = True
    _raw_update: Callable[..., Any]
    _raw_compute: Callable[..., Any]
    _wrapped_update: ClassVar[Any] = None
    _wrapped_compute: ClassVar[Any] = None
    _update_signature = _UpdateSignature()

    compute_on_cpu: bool
    dist_sync_on_step: bool
    sync_on_compute: bool
    compute_with_cache: bool
    _to_sync: bool
    _should_unsync: bool
    _forward_cache: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._prepare_class()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make a metric; another base may have kept ``__init_subclass__`` from its class."""
        cls._prepare_class()
        return super().__new__(cls)

    @classmethod
    def _prepare_class(cls) -> None:
        upstream.put_ours_first(cls, (Metric, Stateful, Unscripted, Operators))
        ensure_wrapped(cls)

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Metrics of torchmetrics are metrics, too; `is_native` tells which ones are ours."""
        return (cls is Metric and upstream.is_upstream_class(other)) or NotImplemented

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        upstream.register()
        own = self.__dict__
        for name, default in SETTINGS.items():
            own[name] = kwargs.pop(name, default)
            if not isinstance(own[name], bool):
                raise ValueError(f"`{name}` must be a bool, got {own[name]!r}.")
        self.process_group = kwargs.pop("process_group", None)
        for name in ("dist_sync_fn", "distributed_available_fn"):
            if kwargs.get(name) is not None and not callable(kwargs[name]):
                raise ValueError(f"`{name}` must be a function, got {kwargs[name]!r}.")
        self.dist_sync_fn = kwargs.pop("dist_sync_fn", None)
        available = kwargs.pop("distributed_available_fn", None)
        self.distributed_available_fn = available or jit_distributed_available
        if kwargs:
            unknown = ", ".join(f"`{name}`" for name in sorted(kwargs))
            raise ValueError(f"Unexpected keyword arguments: {unknown}.")
        own.update(
            _inside=False,
            _forward_cache=None,
            _to_sync=self.sync_on_compute,
            _should_unsync=True,
        )
        self._states.grows = not self.compute_on_cpu

    @abstractmethod
    def update(self, *_: Any, **__: Any) -> None:
        """Add a batch to the states."""

    @abstractmethod
    def compute(self) -> Any:
        """Return the value of the states, over all processes when they are synchronised."""

    def _follow(self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the ``value`` of a batch in the form that autograd can follow, if it must."""
        return value

    def _join(self, total: States, batch: States) -> None:
        """Put the states of one batch behind those of all data."""
        total.join(batch)

    def _report(self) -> None:
        """Raise or warn about the data seen so far; called once the states are complete."""

    def _final_value(
        self, compute: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Return the value of complete states."""
        if not self._states.batch:
            self._report()
        return self._own_value(compute(self, *args, **kwargs))

    def _own_value(self, value: Any) -> Any:
        """Return ``value`` with one-element tensors as scalars, sharing no memory with a state."""
        if isinstance(value, Tensor):
            return self._own_tensor(value)
        return map_tensors(self._own_tensor, value)

    def _own_tensor(self, value: Tensor) -> Tensor:
        # What a user's `compute` returns may belong to anybody; a fused one makes it, or returns
        # (part of) a state.
        if not self.fused_update or may_be_part_of(self._states.values, value):
            value = value.clone()
        return as_scalar(value)

    def _lists_grow_unseen(self) -> bool:
        """Whether compiled regions add to lists of which they hold no length."""
        return False

    def _traced_tensor(self, value: Tensor) -> Tensor:
        """Do as `_own_tensor` in a compiled region, where nobody knows which memory this is."""
        return as_scalar(value.clone())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the states, as ``update`` does, and return the value of the batch alone.

        With ``full_state_update=False`` the batch is counted once, into states of its own that are
        then merged. When ``update`` or ``compute`` raises there, the states are as before.

        Raises:
            TorchMetricsUserError: the states are those of all processes (``sync``).
        """
        self._check_own_states()
        own = self.__dict__
        upstream.register()
        if is_dynamo_compiling():
            return self._forward(args, kwargs)
        while True:
            lock = own["_states"].lock
            with lock:
                if own["_states"].lock is lock:  # else another thread has put others in place
                    return self._forward(args, kwargs)

    def _check_own_states(self) -> None:
        if self.__dict__["_kept"] is not None:
            raise TorchMetricsUserError(
                f"{type(self).__name__} is synchronised; call `unsync` before `forward`."
            )

    def _forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        states = self.__dict__["_states"]
        if states.shared:
            states = self._leave()
        if self._counts_once(states):
            return forward_alone(self, states, args, kwargs)
        return forward_batch([[self]], self._update, args, kwargs)[0]

    def _counts_once(self, states: States) -> bool:
        """Whether ``forward`` is no more than an update of ours and its value."""
        cls, own = type(self), self.__dict__
        return (
            cls.fused_update
            and cls.full_state_update is False
            and cls.update is cls._wrapped_update
            and "update" not in own
            and cls.reset is Metric.reset
            and not (states.batch or own["dist_sync_on_step"] or own["compute_on_cpu"])
            and not is_compiling()
        )

    def _update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.update(*args, **kwargs)

    def _begin_batch(self) -> None:
        """Empty what a subclass keeps besides states, which are those of one batch by now."""
        if type(self).reset is not Metric.reset:
            self.reset()

    @exclusive
    def reset(self) -> None:
        """Return the states to their defaults, in place where that is possible."""
        own = self.__dict__
        if own["_kept"] is not None:  # synchronised: the own states are the ones to keep
            own.update(_states=own["_kept"], _kept=None)
        self._private().reset()
        own["_forward_cache"] = own["_cached"] = None

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
            count, values = incoming_state._snapshot()
        else:
            values = self._named_here(incoming_state)
        for name in self._defaults:
            if name not in values:
                raise ValueError(f"`incoming_state` must hold the state {name!r}, got {[*values]}.")
        self._merge(values, count)

    @exclusive
    def _merge(self, values: dict[str, Any], count: int) -> None:
        with torch.no_grad():
            self._private().merge(values, count)

    @exclusive
    def _snapshot(self) -> tuple[int, dict[str, Any]]:
        """Return the number of updates and copies of the states."""
        values = self._states.values
        return self.update_count, {name: private_copy(state) for name, state in values.items()}

    def _named_here(self, states: dict[str, Any]) -> dict[str, Any]:
        """Return states that somebody wrote down, under the names of this metric."""
        return states

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        """Refuse what only ``torchmetrics.wrappers.Running`` asks for.

        It keeps the tensors of a state while ``reset`` fills them anew, and would count zeros.
        """
        raise TorchMetricsUserError(
            f"torchmetrics.wrappers.Running cannot hold {type(self).__name__}, whose `reset` keeps"
            " its tensors; use fastmetrics.wrappers.Running."
        )

    @exclusive
    def state_bytes(self) -> bytes:
        """Return the states of this process as bytes, for :meth:`from_state_bytes`.

        They describe themselves, with a version and a checksum, and hold no code.
        """
        return write_states(syncing.named_metrics(self))

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
        fresh: Self = syncing.independent_copy(self)
        fresh.reset()
        read_states(data, syncing.named_metrics(fresh))
        return fresh

    def _merge_earlier(self, part: Self) -> None:
        """Merge the states of ``part``, a metric like this one that saw its data before."""
        earlier = syncing.named_metrics(part)
        for name, metric in syncing.named_metrics(self).items():
            if metric._defaults or metric._extras() is not None:  # else others hold its data
                metric.merge_state(earlier[name])

    def clone(self) -> Self:
        """Return a deep copy."""
        return deepcopy(self)

    def _is_distributed(self) -> bool:
        available = self.distributed_available_fn
        return bool(available()) if callable(available) else False

    @exclusive
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
        if self._packs(dist_sync_fn, process_group):
            return syncing.sync_metrics({type(self).__name__: self}, process_group, async_op)
        if async_op:
            raise TorchMetricsUserError(
                f"{type(self).__name__} gathers its states in its own way, not in the background."
            )
        try:
            # No copies: synchronising replaces states, it never changes them.
            self._hold(syncing.synced_states(self, dict(self._states.values)))
            self._sync_dist(dist_sync_fn or self.dist_sync_fn or gather_all_tensors, process_group)
        except BaseException:
            self.unsync(should_unsync=self._is_synced)
            raise
        return None

    def _packs(
        self, dist_sync_fn: Callable[..., Any] | None = None, process_group: Any | None = None
    ) -> bool:
        """Whether the states travel together with those of other metrics, without a graph."""
        own = "_sync_dist" in self.__dict__ or type(self)._sync_dist is not Metric._sync_dist
        gather = dist_sync_fn or self.dist_sync_fn
        graph = (
            self._states.batch and self.is_differentiable is not False and torch.is_grad_enabled()
        )
        packs = not own and not graph and gather in (None, gather_all_tensors)
        return packs and is_real(process_group or self.process_group)

    def _parcel(self, name: str, source: str = "") -> Parcel:
        """Return the states, those of ``source`` too if any, and what they have in common."""
        states = self._own_states()
        return Parcel(
            name,
            source or name,
            type(self).__qualname__,
            canonical(getattr(self, "statistic", None)),
            states.reductions,
            states.defaults,
            states.values,
            states.updates() > 0,
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
        copy = syncing.independent_copy(self)
        handle = syncing.sync_for_compute(copy._sources(type(self).__name__), async_op=True)
        return PendingValue(handle, copy.compute)

    def _sources(self, name: str) -> dict[str, Metric]:
        """Return the metrics that ``compute`` synchronises, by the names that errors call them."""
        return {name: self} if self._wraps_compute else {}

    def _syncs_in_compute(self) -> bool:
        """Whether `compute` synchronises; this asks what the user has given to ask once."""
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
        states = self._states
        gather = functools.partial(dist_sync_fn, group=process_group or self.process_group)
        empty = torch.empty(0, device=self.device, dtype=self.dtype)
        for name, reduction in states.reductions.items():
            states.values[name] = gather_state(
                states.values[name], reduction, gather, updates=states.updates(), empty=empty
            )

    @exclusive
    def unsync(self, should_unsync: bool = True) -> None:
        """Return to the states of this process.

        Raises:
            TorchMetricsUserError: the states are those of this process already.
        """
        if not should_unsync:
            return
        if not self._is_synced:
            raise TorchMetricsUserError(f"{type(self).__name__} is not synchronised.")
        own = self.__dict__
        own.update(_states=own["_kept"], _kept=None)

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore all attributes; the process may be one where no metric was made yet."""
        upstream.register()
        if upstream.became_theirs(self, state, "_states"):
            return
        super().__setstate__(state)

    def _filter_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """Return those of ``kwargs`` that ``update`` takes in torchmetrics, too."""
        return known_to(self, kwargs, added_by(self))


def is_native(value: object) -> TypeIs[Metric]:
    """Whether ``value`` is a metric of this package, whose states are kept as ours are."""
    return isinstance(value, Stateful)


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
