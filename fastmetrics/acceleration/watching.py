"""What metrics and functions did while a program ran: how often, how long, and if correctly.

The methods of metric classes are wrapped, each class when its first metric is made or unpickled. A
metric that is to be checked carries the metric of torchmetrics that stands beside it, so that
copies of one carry copies of the other. In front of functions, where torchmetrics shows them, one
is put that counts; steps that torch compiles count nothing.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling

from fastmetrics.acceleration.replacing import Replacement, is_accelerated, shown_functions
from fastmetrics.collections import MetricCollection
from fastmetrics.core import syncing, upstream, wrapping
from fastmetrics.metric import Metric, is_native

STEPS = ("forward", "update", "compute", "sync", "reset")
# How far two values may be apart: torchmetrics sums in float32.
RTOL, ATOL = 1e-4, 1e-6
_BESIDE = "_torchmetrics_beside"
# Metrics whose values are those of other random numbers than torchmetrics'.
_BY_CHANCE = ("BootStrapper",)


@dataclass
class Row:
    """What metrics of one class did, or one function."""

    accelerated: bool
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    compared: int = 0
    difference: float = 0.0
    differing: int = 0


@dataclass
class Beside:
    """torchmetrics' metric beside one of ours, which sees the first ``most`` updates.

    When it is behind, the states of ours are what it computes a value from.
    """

    metric: Any
    most: int
    seen: int = 0
    behind: bool = False
    # What ours was like after the last step; in another process, as a pickle, that says nothing.
    left: list[int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"left": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Beside:
        return replace(self, metric=copy.deepcopy(self.metric, memo))

    def look(self, ours: Metric, counted: bool) -> None:
        """Fall behind if ours has changed without a step that is followed.

        So do loading, merging, assigning, compiled updates, and those by another metric.
        ``counted`` says that ours has taken note of the update that comes.
        """
        unseen = ours._states.touched or ours.update_count - counted != self.seen
        if unseen or (self.left and _versions(ours)[counted:] != self.left[counted:]):
            self.behind = True

    def follow(self, ours: Metric, step: str, *args: Any, **kwargs: Any) -> Any:
        """Do what ours did; a value where that gives one and both have seen the same."""
        self.seen, self.left = ours.update_count, _versions(ours)
        if step == "reset":
            self.behind = False
            return self.metric.reset()
        if step in ("update", "forward"):
            self.behind = self.behind or self.seen > self.most
        if self.behind and not (step == "compute" and self._take(ours)):
            return None
        with torch.random.fork_rng(devices=[]):
            return getattr(self.metric, step)(*args, **self._taken(kwargs))

    def _take(self, ours: Metric) -> bool:
        """Take the states of ours; return whether they hold all that torchmetrics keeps."""
        written = ours.clone()
        try:
            written.persistent("torchmetrics")
        except ValueError:
            return False
        states = written.state_dict()
        if not states or states.keys() != self.metric._defaults.keys():
            return False
        self.metric.load_state_dict(states)
        self.metric._update_count, self.metric._computed = self.seen, None
        return True

    def _taken(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return self.metric._filter_kwargs(**kwargs) if kwargs else kwargs


class _Parts(dict[str, Any]):
    """What a collection returned, among it the parts of a value that is a dict itself."""


def _versions(metric: Metric) -> list[int]:
    """Return a number for the states of a metric, and of each in it, that every change changes."""
    return [each._states.stamp() for each in metric.modules() if is_native(each)]


def _peers_of(value: Any) -> Any:
    """Return torchmetrics' own metrics for ours in arguments of a constructor.

    Raises:
        LookupError: there is none for one of them.
    """
    if isinstance(value, MetricCollection):
        members = value.items(keep_base=True, copy_state=False)
        theirs = {name: _peers_of(metric) for name, metric in members}
        return upstream.peers[MetricCollection](theirs, prefix=value.prefix, postfix=value.postfix)
    if isinstance(value, Metric):
        beside = value.__dict__.get(_BESIDE)
        if beside is None or beside.behind:
            raise LookupError
        return copy.deepcopy(beside.metric)
    if isinstance(value, dict):
        return {name: _peers_of(each) for name, each in value.items()}
    return [_peers_of(each) for each in value] if isinstance(value, list) else value


class Watch:
    """Watches all metrics of a process, and the functions that torchmetrics shows if asked to.

    Attributes:
        rows: what was seen, by the name of the class.
        functions: each function that is watched, by its name.
        most: how many updates of each metric torchmetrics follows; 0 for none.
        strict: whether metrics that are not accelerated raise when they are made.
        collectives: how many exchanges between processes were made.
        host_syncs: how often a GPU was waited for in an update.
    """

    def __init__(self, replacement: Replacement, most: int = 0, strict: bool = False) -> None:
        self.rows: dict[str, Row] = {}
        self.functions: dict[str, Row] = {}
        self.most = most
        self.strict = strict
        self.collectives = 0
        self.host_syncs = 0
        self._started = time.perf_counter()
        self._derived_before = {cls.__name__ for cls in replacement.not_covered()}
        self._peers = replacement.peers()
        self._inside = False
        self._seen: set[type] = set()
        self._timed_steps: set[tuple[type, str]] = set()
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to watch, also metrics of torchmetrics itself."""
        for base in (Metric, self._peers.get(Metric)):
            if base is not None:
                for made in ("__init__", "__setstate__"):
                    self._wrap(base, made, self._noticing)
        if self.most:
            for ours in self._peers:
                if issubclass(ours, Metric) and "__init__" in vars(ours):
                    self._wrap(ours, "__init__", self._with_peer)
            self._wrap(Metric, "_take_saved", self._leaving_behind)
        for step in ("forward", "update", "compute", "reset"):
            self._wrap(MetricCollection, step, functools.partial(self._collective, step))
        self._wrap(syncing, "exchange", self._counted)

    def start_functions(self, replacement: Replacement) -> None:
        """Begin to watch functions, accelerated or not: every call takes part of a microsecond."""
        shown = {id(function): (name, function) for name, function in shown_functions()}
        replacement.put_before(
            (function, self._called(name, function, replacement.theirs.get(id(function), function)))
            for name, function in shown.values()
        )

    def stop(self) -> None:
        """Give all classes their own methods again."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def forget(self) -> None:
        """Begin to count anew, as a forked process does."""
        self.rows.clear()
        for row in self.functions.values():
            row.calls.clear()
            row.seconds.clear()
        self.collectives = self.host_syncs = 0
        self._started = time.perf_counter()

    def row(self, cls: type) -> Row:
        """Return the row of a class."""
        return self.rows.setdefault(cls.__name__, Row(is_accelerated(cls)))

    def reason(self, name: str) -> str:
        """Say why the metrics of a class are not accelerated."""
        if name in self._derived_before:
            return "derived before torchmetrics was replaced"
        kind = "function" if name in self.functions else "metric"
        return f"fastmetrics has no such {kind} yet"

    def run_seconds(self) -> float:
        """Return how long the program runs."""
        return time.perf_counter() - self._started

    def _wrap(self, owner: Any, name: str, wrapped: Callable[[Any], Any]) -> None:
        own = vars(owner).get(name)
        method = getattr(owner, name)
        setattr(owner, name, functools.wraps(method)(wrapped(method)))
        self._undo.append(
            functools.partial(delattr, owner, name)
            if own is None
            else functools.partial(setattr, owner, name, own)
        )

    def _noticing(self, init: Callable[..., None]) -> Callable[..., None]:
        """Watch the class of each metric that is made, or comes from another process."""

        def noticed(metric: Any, *args: Any, **kwargs: Any) -> None:
            cls = type(metric)
            if cls not in self._seen:
                self._seen.add(cls)
                for step in STEPS:
                    self._time(cls, step)
                if Metric in cls.__mro__:
                    wrapping.ensure_wrapped(cls)
                elif self.strict:
                    raise self._refusal(cls.__name__)
            init(metric, *args, **kwargs)

        return noticed

    def _time(self, cls: type, step: str) -> None:
        """Wrap a step of a class, or of the base that has it: sharing asks whose it is."""
        owner = cls
        if step not in ("update", "compute"):  # whose bookkeeping is that of each class
            owner = next(base for base in cls.__mro__ if step in vars(base))
        if (owner, step) not in self._timed_steps:
            self._timed_steps.add((owner, step))
            self._wrap(owner, step, functools.partial(self._timed, step))

    def _with_peer(self, init: Callable[..., None]) -> Callable[..., None]:
        """Make torchmetrics' metric of the same arguments beside each of ours."""

        def made(metric: Any, *args: Any, **kwargs: Any) -> None:
            own = metric.__dict__
            outermost = _BESIDE not in own
            if outermost:
                own[_BESIDE] = None
            init(metric, *args, **kwargs)
            peer = self._peers.get(type(metric))
            if outermost and peer is not None and peer.__name__ not in _BY_CHANCE:
                with contextlib.suppress(LookupError):
                    theirs = peer(*map(_peers_of, args), **_peers_of(kwargs))
                    own[_BESIDE] = Beside(theirs, self.most, left=_versions(metric))

        return made

    def _leaving_behind(self, take: Callable[..., None]) -> Callable[..., None]:
        """Let torchmetrics' metric be behind one of ours that takes states from a checkpoint."""

        def taking(metric: Any, given: dict[str, Any]) -> None:
            beside = metric.__dict__.get(_BESIDE)
            if beside is not None:
                beside.behind = True
            take(metric, given)

        return taking

    def _called(self, name: str, function: Callable[..., Any], theirs: Any) -> Callable[..., Any]:
        """Return a function that counts, and pickles as what stands in its place elsewhere."""
        row = self.functions.setdefault(name, Row(is_accelerated(function)))
        calls, seconds, clock = row.calls, row.seconds, time.perf_counter
        refused = self.strict and not row.accelerated

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            if is_dynamo_compiling() or self._inside:
                return function(*args, **kwargs)
            if refused:
                raise self._refusal(name)
            self._inside = True
            started = clock()
            try:
                return function(*args, **kwargs)
            finally:
                seconds["call"] += clock() - started
                self._inside = False
                calls["call"] += 1

        called.__module__, called.__qualname__ = theirs.__module__, theirs.__qualname__
        return called

    def _refusal(self, name: str) -> RuntimeError:
        return RuntimeError(
            f"{name} is not accelerated, which --strict does not allow: {self.reason(name)}."
        )

    def _timed(self, step: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """Count and time the outermost step, and let torchmetrics follow."""

        def timed(metric: Any, *args: Any, **kwargs: Any) -> Any:
            if is_dynamo_compiling() or self._inside:
                return method(metric, *args, **kwargs)
            self._look(metric, step == "update")
            value = self._run(type(metric), step, method, metric, *args, **kwargs)
            self._compare(metric, step, value, args, kwargs)
            return value

        return timed

    def _collective(self, step: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """Count a step of a collection for each of its metrics; the time is that of all."""

        def timed(collection: Any, *args: Any, **kwargs: Any) -> Any:
            if is_dynamo_compiling() or self._inside:
                return method(collection, *args, **kwargs)
            members = collection._to_renamed_dict()
            for metric in members.values():
                self._look(metric, counted=False)
            values = self._run(type(collection), step, method, collection, *args, **kwargs)
            for name, metric in members.items():
                self.row(type(metric)).calls[step] += 1
                value = values.get(name, _Parts(values)) if isinstance(values, dict) else None
                self._compare(metric, step, value, args, kwargs)
            return values

        return timed

    def _run(self, cls: type, step: str, method: Any, *args: Any, **kwargs: Any) -> Any:
        self._inside = True
        started = time.perf_counter()
        try:
            with self._counting_syncs(step):
                return method(*args, **kwargs)
        finally:
            self._inside = False
            row = self.row(cls)
            row.calls[step] += 1
            row.seconds[step] += time.perf_counter() - started

    @contextlib.contextmanager
    def _counting_syncs(self, step: str) -> Iterator[None]:
        if step != "update" or not torch.cuda.is_initialized():
            yield
            return
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
            self.host_syncs += sum("synchron" in str(each.message) for each in caught)
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def _counted(self, exchange: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.collectives += 1
            return exchange(*args, **kwargs)

        return counted

    def _look(self, metric: Any, counted: bool) -> None:
        beside = metric.__dict__.get(_BESIDE) if self.most else None
        if beside is not None:
            beside.look(metric, counted)

    def _compare(self, metric: Any, step: str, value: Any, args: Any, kwargs: Any) -> None:
        beside = metric.__dict__.get(_BESIDE) if self.most else None
        if beside is None or step == "sync":
            return
        self._inside = True  # what torchmetrics does is not counted
        try:
            theirs = beside.follow(metric, step, *args, **kwargs)
        finally:
            self._inside = False
        if isinstance(value, _Parts):
            named = isinstance(theirs, dict) and theirs.keys() <= value.keys()
            value = {name: value[name] for name in theirs} if named else None
        if step in ("forward", "compute") and theirs is not None and value is not None:
            row = self.row(type(metric))
            apart = difference(value, theirs)
            row.compared += 1
            row.difference = max(row.difference, apart)
            row.differing += apart > 1


def difference(ours: Any, theirs: Any) -> float:
    """Return how far two values are apart, 1 being as far as they may be."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return max((difference(ours[name], theirs[name]) for name in ours), default=0.0)
    if isinstance(ours, (list, tuple)) and len(ours) == len(theirs):
        return max(map(difference, ours, theirs), default=0.0)
    one, other = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    if one.shape != other.shape:
        return math.inf
    apart = (one - other).abs() / (ATOL + RTOL * other.abs())
    same = (one == other) | (one.isnan() & other.isnan())
    return (
        float(torch.where(same, 0.0, apart.nan_to_num(nan=math.inf)).amax())
        if apart.numel()
        else 0.0
    )
