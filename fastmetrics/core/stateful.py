"""A module with states: where they are, and how they are declared, moved, copied and saved."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from typing_extensions import Self

from fastmetrics.core import upstream
from fastmetrics.core.attributes import show_states
from fastmetrics.core.copying import copied, without_own_way
from fastmetrics.core.locking import exclusive
from fastmetrics.core.reductions import Reduction, reduction_of
from fastmetrics.core.scripting import Unscripted
from fastmetrics.core.states import State, States, blank, private_copy
from fastmetrics.core.statistic import check_form, check_tensor
from fastmetrics.core.wrapping import counted_update
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.data import map_tensors, normal_tensor, packed
from fastmetrics.utilities.prints import rank_zero_warn

# Class attributes that nobody assigns to a metric.
CONSTANTS = frozenset(
    {
        "higher_is_better",
        "is_differentiable",
        "full_state_update",
        "plot_lower_bound",
        "plot_upper_bound",
        "plot_legend_name",
    }
)
SETTINGS = {
    "compute_on_cpu": False,
    "dist_sync_on_step": False,
    "sync_on_compute": True,
    "compute_with_cache": True,
}
# How `persistent` asks for checkpoints that torchmetrics loads.
UPSTREAM = "torchmetrics"
# Public attributes that say nothing about what a metric counts, so that a metric may change them
# and go on sharing its state.
_NEUTRAL = frozenset({*SETTINGS, "training", "process_group", "dist_sync_fn"})
_SIMPLE = (type(None), bool, int, float, str)  # never of a module, which takes longer to find out
EXTRAS = "_extras"  # in a checkpoint, what a metric knows besides its states
# What says which states a metric holds, and what its `compute` does about other processes.
_POINTERS = ("_states", "_kept", "_to_sync", "_should_unsync")


class Stateful(Unscripted):
    """What all metrics are, before they count anything; ``docs/states.md`` tells the whole story.

    ``fused_update`` and ``_exact_states`` are explained in :class:`fastmetrics.metric.Metric`.
    """

    fused_update: bool = False
    # States that `set_dtype` leaves alone: the ops add them up in float64, whatever the values are.
    _exact_states: tuple[str, ...] = ()

    process_group: Any = None

    # What the metric points to, and those of this process while `_states` are those of all.
    _states: Any
    _kept: Any

    def __init__(self) -> None:
        self.__dict__.update(
            _states=States(),
            _kept=None,
            _cached=None,
            _cached_at=-1,
            _device=torch.get_default_device(),
            _dtype=torch.get_default_dtype(),
            _dtype_convert=False,
            _persistent={},
        )
        if upstream.is_upstream_class(type(self)):
            upstream.next_constructor(type(self), Stateful)(self)
        else:
            super().__init__()  # last: another base may declare states

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
        reduction = reduction_of(dist_reduce_fx)
        if isinstance(default, Tensor):
            default = private_copy(default.contiguous())
        self._declare_states({name: default}, {name: reduction}, persistent)

    def _declare_states(
        self,
        defaults: Mapping[str, State],
        reductions: Mapping[str, Reduction],
        persistent: bool = False,
    ) -> None:
        """Declare states whose defaults nobody else changes."""
        states, device = self._private(), self.device
        for name, default in defaults.items():
            states.declare(name, default, reductions[name], device)
        self._persistent.update(dict.fromkeys(defaults, persistent))
        show_states(type(self), list(defaults))
        self._point(states)

    @property
    def metric_state(self) -> dict[str, State]:
        """The states themselves, by name."""
        values = self._states.values
        return {name: values[name] for name in values or self._defaults}

    @property
    def _defaults(self) -> dict[str, State]:
        defaults: dict[str, State] = self._states.defaults
        return defaults

    @property
    def _reductions(self) -> dict[str, Any]:
        return {name: reduction.function for name, reduction in self._states.reductions.items()}

    @property
    def _persistent(self) -> dict[str, bool | str]:
        persistent: dict[str, bool | str] = self.__dict__["_persistent"]
        return persistent

    @property
    def update_called(self) -> bool:
        """Whether ``update`` or ``forward`` was called since the last ``reset``."""
        return self.update_count > 0

    @property
    def update_count(self) -> int:
        """The number of calls of ``update`` and ``forward`` since the last ``reset``.

        Calls inside a compiled region are not counted; if there were no others, the count is 1.
        """
        count: int = self._states.updates()
        return count

    @property
    def _update_count(self) -> int:
        return self.update_count

    @_update_count.setter
    def _update_count(self, count: int) -> None:
        states = self._private()
        states.count, states.touched = count, False
        states.changed()

    @property
    def _update_called(self) -> bool:
        rank_zero_warn("Use `update_called` instead of `_update_called`.", DeprecationWarning)
        return self.update_called

    @property
    def _computed(self) -> Any:
        own = self.__dict__
        return own["_cached"] if own["_cached_at"] == own["_states"].stamp() else None

    @_computed.setter
    def _computed(self, value: Any) -> None:
        self.__dict__.update(_cached=value, _cached_at=self._states.stamp())

    @property
    def _enable_grad(self) -> bool:
        return bool(self._states.batch)

    @property
    def _is_synced(self) -> bool:
        return self.__dict__["_kept"] is not None

    @property
    def _cache(self) -> dict[str, State] | None:
        return None if self._kept is None else self._kept.values

    def _point(self, states: Any) -> None:
        """Point to states; those of this process, if the metric holds those of all.

        Tools that look into ``__dict__``, as torch.export does, find tensors under their names.
        """
        own = self.__dict__
        if own["_kept"] is not None:
            own["_kept"] = states
            return
        for name in states.defaults:
            own.pop(name, None)
        if isinstance(states, States):
            own.update(states.home)
        object.__setattr__(self, "_states", states)

    def _private(self) -> States:
        """Return the states for somebody who changes those of this metric alone."""
        states: States = self.__dict__["_states"]
        return self._leave() if states.shared else states

    def _leave(self) -> States:
        """Take a copy of states that a collection shares, and return it; it plans anew."""
        states, kept = self._states, self._kept
        states.left = True
        own: States = states.copy()
        if kept is None:
            self._point(own)
        else:
            object.__setattr__(self, "_states", own)
        if kept is not None and kept.shared:
            kept.left = True
            self.__dict__["_kept"] = kept.copy()
        return own

    def _hold(self, synced: States) -> None:
        """Hold the states of all processes until ``unsync``."""
        own = self.__dict__
        own.update(_kept=own["_states"], _states=synced)  # in one step

    def _pointers(self) -> dict[str, Any]:
        """Return where the metric points; its ``__dict__`` takes that back in one step."""
        own = self.__dict__
        return {name: own[name] for name in _POINTERS}

    def _own_states(self) -> Any:
        """Return the states of this process, be it synchronised or not."""
        return self._states if self._kept is None else self._kept

    def _take_states(self, states: dict[str, State]) -> None:
        own = self._private()
        own.changed()
        for name, state in states.items():
            own.assign(name, map_tensors(lambda t: t.to(self.device), state))

    @property
    def _default_device(self) -> torch.device:
        """Where the defaults of states are made: on the meta device they would have no values."""
        return torch.device("cpu") if self.device.type == "meta" else self.device

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
        metrics = [m for m in self.modules() if isinstance(m, Stateful)]
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
        upstream.register()
        own = self.__dict__
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if own["_dtype_convert"] or moved.dtype == tensor.dtype:
                return moved
            return tensor.to(moved.device)

        for name in ("_cached", "_forward_cache"):
            own[name] = map_tensors(move, own[name])
        if self._stays_under(fn):
            return self
        if own["_dtype_convert"]:
            exclude_state = (*exclude_state, *self._exact_states)
        valid = self._computed is not None
        states = [self._private()] if own["_kept"] is None else [self._private(), own["_kept"]]
        for each in states:
            names = [name for name in each.defaults if name not in exclude_state]
            valid &= not each.move(move, names)
        self._point(self._own_states())
        if valid:
            own["_cached_at"] = self._states.stamp()
        probe = move(torch.zeros(1, device=self.device))
        own["_device"] = probe.device
        if own["_dtype_convert"]:
            own["_dtype"] = probe.dtype
        return self

    def _stays_under(self, fn: Callable[[Tensor], Tensor]) -> bool:
        """Whether ``fn`` returns what it is given, as a move to the device of the metric does.

        Trainers make that move on every step; metrics that share a state must go on sharing it.
        """
        states = self._states
        tensors = [torch.empty(0, dtype=self.dtype, device=self.device), *states.tensors()]
        tensors += [default for default in states.defaults.values() if isinstance(default, Tensor)]
        return all(isinstance(tensor, Tensor) and fn(tensor) is tensor for tensor in tensors)

    def persistent(self, mode: bool | str = False) -> None:
        """Choose whether the states are part of ``state_dict``.

        Args:
            mode: False, True, or ``"torchmetrics"``: part of it under the names and in the form of
                torchmetrics, for its metrics to load. What only ours hold is not in it then.

        Raises:
            ValueError: ``mode`` is another string, or torchmetrics keeps more than is counted here.
        """
        if isinstance(mode, str):
            check_choice("mode", mode, (False, True, UPSTREAM))
            self._check_upstream()
        self._persist(mode)

    def _persist(self, mode: bool | str) -> None:
        for name in self._persistent:
            self._persistent[name] = mode

    def _check_upstream(self) -> None:
        """Raise ``ValueError`` if the states cannot be written in the form of torchmetrics."""

    def _upstream_states(self, states: States) -> dict[str, State]:
        """Return states in the form of torchmetrics; they are those that a user declared."""
        return dict(states.values)

    def _check_states(self, states: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` unless the states can be these, as far as that is known."""

    def _form(self) -> bool | str:
        """Return whether anything is part of ``state_dict``, or that it is for torchmetrics."""
        modes = self.__dict__["_persistent"].values()
        return any(modes) and (UPSTREAM if UPSTREAM in modes else True)

    def _extras(self) -> Any:
        """Return what a copy needs besides the states, as JSON has it; None if nothing."""
        return None

    def _take_extras(self, extras: Any) -> None:
        """Set what ``_extras`` of a metric like this one returned.

        Raises:
            ValueError: no such metric can have returned that; nothing has changed.
        """

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
        if self._form():
            self._save(result, prefix, keep_vars)
        return result

    @exclusive
    def _save(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        def copy(tensor: Tensor) -> Tensor:
            return (tensor if keep_vars else tensor.detach()).clone()

        form, states = self._form(), self._states
        named = self._upstream_states(states) if form == UPSTREAM else {}
        for name, persistent in self._persistent.items():
            if persistent and persistent != UPSTREAM:
                named[name] = states.values[name]
        for name, state in named.items():
            destination[prefix + name] = map_tensors(copy, state)
        extras = self._extras()
        # How often states were updated is told where one of them is a mean.
        count = states.updates() if states.weighs_updates else None
        if form is True and (extras, count) != (None, None):
            text = json.dumps({"count": count, "extras": extras}).encode()
            destination[prefix + EXTRAS] = torch.tensor([*text], dtype=torch.uint8, device="cpu")

    def _state_names(self) -> set[str]:
        """Return the names under which a checkpoint may hold states of this metric."""
        return {*self._defaults}

    def _saved_names(self, found: Sequence[str]) -> list[str]:
        """Return those of the names in a checkpoint that are of this metric."""
        own = {EXTRAS, *self._defaults}
        known = own if own.issuperset(found) else own | self._state_names()
        return [name for name in found if name in known]

    def _read(self, given: Mapping[str, Any], *, keep: bool) -> dict[str, Any]:
        """Return the states that ``given`` ones say.

        What they do not say is as by default, or ``keep`` as it is.

        Raises:
            ValueError: they are no states that this metric can have.
        """
        states = {} if keep else blank(self._states).values
        self._check_states({**self._states.values, **states, **given})
        states |= {name: map_tensors(Tensor.detach, value) for name, value in given.items()}
        return states | {n: states[n].double() for n in self._exact_states if n in given}

    def _read_saved(self, given: Mapping[str, Any], extras: Any) -> tuple[dict[str, Any], Any]:
        """Return the states and extras that a checkpoint says, as ``_read`` does."""
        return self._read(given, keep=True), extras

    def _take_saved(self, given: dict[str, Any]) -> None:
        """Take states and extras, or raise ``ValueError`` where that is not possible."""
        count = extras = None
        if EXTRAS in given:
            count, extras = _read_extras(given.pop(EXTRAS), type(self._extras()))
        states, extras = self._read_saved(given, extras)
        if extras is not None:
            self._take_extras(extras)
        self._take_states(states)
        if count is not None:
            self._update_count = count

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
        """Take all that a checkpoint says of this metric, or nothing and the reason."""
        if state_dict:
            error_msgs += self._load(state_dict, prefix)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    @exclusive
    def _load(self, state_dict: dict[str, Any], prefix: str) -> list[str]:
        """Take out of a checkpoint what is of this metric; return why not, if it cannot be taken.

        It is taken out in any case, or torch takes it for what nobody expected.
        """
        found = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
        given = {name: state_dict.pop(prefix + name) for name in self._saved_names(found)}
        try:
            if given:
                self._take_saved(given)
        except ValueError as error:
            return [f"{prefix[:-1] or type(self).__name__}: {error}"]
        return []

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return a copy that shares nothing but the process group, made in whatever mode."""
        caller = sys._getframe(1)
        if caller.f_code is deepcopy.__code__ and caller.f_locals["x"] is not self:
            # A wrapper that hands on attributes, as one of torchmetrics does, is what is copied.
            return without_own_way(caller.f_locals["x"], memo)
        return self._deep_copy(memo)

    @exclusive
    def _deep_copy(self, memo: dict[int, Any]) -> Self:
        memo[id(self.process_group)] = self.process_group
        new = memo[id(self)] = type(self).__new__(type(self))
        state = self.__getstate__()
        new.__setstate__(normal_tensor(lambda: {n: copied(v, memo) for n, v in state.items()}))
        return new

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        """Refuse to be pickled with a process group, which no other process and no file knows."""
        if isinstance(self.process_group, getattr(torch.distributed, "ProcessGroup", ())):
            raise TypeError(
                f"{type(self).__name__} cannot be pickled with its `process_group`; set"
                " `process_group = None` before, or save `state_dict()`."
            )
        reduced = super().__reduce_ex__(protocol)
        state: Any = reduced[2]
        for name in {"_cached", "_forward_cache"} & state.keys():
            state[name] = map_tensors(packed, state[name])
        return reduced

    def __copy__(self) -> Self:
        """Return a shallow copy; whichever of both changes first takes a copy of the states."""
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        if isinstance(self._states, States):
            self._states.shared = True
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes; a metric that is copied alone shares nothing with the others."""
        state = {**self.__dict__, "_cached": self._computed, "_cached_at": None}
        for name in self._defaults:
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore all attributes; the process may be one where no metric was made yet."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # untyped in torch
        show_states(type(self), list(self._defaults))
        self.__dict__["_cached_at"] = self._states.stamp()
        self._point(self._own_states())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in CONSTANTS:
            raise RuntimeError(f"`{name}` is a constant of {type(self).__name__}.")
        own = self.__dict__
        states = own.get("_states")
        if states is not None:
            if name in states.defaults:  # never a parameter, buffer or submodule
                states = self._private()
                if value is not states.values.get(name):  # else changed in place, as by `+=`
                    # Fused updates write into it; torchmetrics.MetricCollection gives one to many.
                    copies = self.fused_update or (
                        isinstance(value, Tensor) and not is_compiling() and value.is_inference()
                    )
                    states.values[name] = private_copy(value) if copies else value
                states.changed()
                return
            if states.shared and not (name.startswith("_") or name in _NEUTRAL):
                self._leave()
            holds_others = own["_parameters"] or own["_buffers"] or own["_modules"]
            if type(value) in _SIMPLE and not holds_others:
                object.__setattr__(self, name, value)
                return
        super().__setattr__(name, counted_update(self, value) if name == "update" else value)

    def __hash__(self) -> int:
        # Every change of the states is another version; torchmetrics has their addresses here.
        return hash((type(self).__name__, id(self), self._states.stamp()))


def _read_extras(saved: Any, kind: type) -> tuple[int | None, Any]:
    """Return the number of updates, if it was saved, and the extras, which are of this kind."""
    check_tensor(EXTRAS, saved)
    check_form(EXTRAS, saved, ("N",), torch.uint8)
    try:
        said = json.loads(bytes(saved.tolist()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{EXTRAS}` must be JSON: {error}.") from None
    if not isinstance(said, dict) or said.keys() != {"count", "extras"}:
        raise ValueError(f"`{EXTRAS}` must say `count` and `extras`, got {said!r:.80}.")
    count, extras = said["count"], said["extras"]
    if count is not None and not (type(count) is int and 0 <= count < 2**63):
        raise ValueError(f"`count` in `{EXTRAS}` must be a number of updates, got {count!r:.80}.")
    if type(extras) is not kind:
        raise ValueError(f"`{EXTRAS}` must hold a {kind.__name__}, got {extras!r:.80}.")
    return count, extras
