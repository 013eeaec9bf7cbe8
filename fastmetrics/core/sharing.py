"""Which metrics of a collection share a state, and how one pass over a batch updates them all.

A *group* is made of metrics with equal statistics: all point to the same states. A group whose
statistic another one contains keeps nothing: its states are read off those of that *source*. Groups
whose statistics one op can update together form a *pass*. All of it follows from what the metrics
declare, never from values of states, except that metrics only share what they have seen together.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastmetrics.core.forward import forward, unshared
from fastmetrics.core.keywords import NONE, claimed_by, known_to
from fastmetrics.core.locking import Lock, exclusive
from fastmetrics.core.states import Derived, Lent, Reader, Seen, States
from fastmetrics.core.statistic import Statistic
from fastmetrics.metric import Metric, is_native
from fastmetrics.ops.backend import describe
from fastmetrics.ops.fused import FusedCall, Update
from fastmetrics.utilities.exceptions import TorchMetricsUserError

# Pairs of an argument of ``update`` and the key of a model's outputs that it is read from.
Route = tuple[tuple[str, Hashable], ...]


class Group:
    """Metrics of a collection that point to the same states; a foreign metric is one by itself.

    Attributes:
        members: the metrics.
        leader: the first of them.
        foreign: whether it is a metric of another package.
        source: the group whose states these are read off, if there is one.
        states: what the members point to, or what their states are read off.
        route: where a batch of theirs is read from; empty for one that comes as it is.
    """

    def __init__(self, members: Sequence[Any], route: Route = ()) -> None:
        self.members = members
        self.route = route
        self.leader = members[0]
        self.foreign = not is_native(self.leader)
        self.source: Group | None = None
        self.readers: list[Group] = []
        self.in_pass = False
        self.states: Any = None

    @property
    def shares(self) -> bool:
        """Whether a member that changes on its own would change another one, or its pass."""
        return bool(len(self.members) > 1 or self.source or self.readers or self.in_pass)

    def link(self, lock: Lock) -> None:
        """Let all members point to the states of the first, or read them off the source.

        States that are shared have the lock of the collection.
        """
        if self.foreign:
            return
        if self.source is None:
            own = self.leader._own_states()
            if isinstance(own, Reader) or own.shared:  # those of another group or collection
                own.left = True
                own = own.copy()
                own.lock = Lock()
                self.leader._point(own)
            self.states = own
            own.shared = self.shares
            if own.shared:
                with own.lock:
                    own.lock = lock
            for member in self.members[1:]:
                member._point(own)
            return
        self.states = self.source.states
        seen = Seen()
        for member in self.members:
            head = member._own_states()
            if isinstance(head, Derived) and head.source is self.states:
                continue
            # What it had is what it returns to; what others may point to is not its own.
            own = head.own if isinstance(head, Reader) else head.like({})
            statistic, other = member.statistic, self.source.leader.statistic
            derived = Derived(self.states, own, statistic=statistic, other=other, seen=seen)
            member._point(derived)

    def update(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], claimed: frozenset[str] = NONE
    ) -> None:
        """Add a batch to the states; ``claimed`` are keywords as in :func:`known_to`."""
        leader = self.leader
        if kwargs:
            kwargs = known_to(leader, kwargs, claimed)
        if self.foreign:
            leader.update(*args, **kwargs)
            return
        states = leader._states
        shared, states.shared = states.shared, False  # as `unshared`, in a fifth of its time
        try:
            leader.update(*args, **kwargs)
        finally:
            states.shared = shared


class Pass:
    """Groups whose statistics one op updates while it reads a batch once.

    If the batch is refused, none of them changes.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.route = groups[0].route
        self._leaders = [group.leader for group in groups]
        self._statistics: list[Statistic] = [leader.statistic for leader in self._leaders]
        updates = [Update(s.op.__name__, s.arguments()) for s in self._statistics]
        self._call = FusedCall(updates)
        # Those with event counters, and those that look at the state after the op.
        every = [*enumerate(self._statistics)]
        self._reporting = [i for i, s in every if "events" in s.reductions]
        self._keeping = [i for i, s in every if type(s).keep is not Statistic.keep]

    def update(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], claimed: frozenset[str] = NONE
    ) -> None:
        """Add a batch to the states of all groups; ``claimed`` as in :meth:`Group.update`."""
        if not self._run(args, kwargs, claimed):
            for group in self.groups:
                group.update(args, kwargs, claimed)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], claimed: frozenset[str]) -> bool:
        """Add a batch to the states; False, and nothing done, if each metric must do it itself."""
        if claimed:
            kwargs = known_to(self._leaders[0], kwargs, claimed)
        batch = _batch_of(args, kwargs)
        if batch is None:
            return False
        heads: list[States] = [leader._states for leader in self._leaders]
        opened: list[Tensor] = []
        for statistic, states in zip(self._statistics, heads, strict=True):
            state = statistic.open(states, *batch)
            if state is None:
                return False
            opened.append(state)
        events = [heads[i].values["events"] for i in self._reporting]
        if is_dynamo_compiling():
            self._call.run(opened, events, *batch)
            self._keep(heads, opened)
            for states in heads:
                states.note()
            return True
        versions = [states.version for states in heads]
        for states in heads:
            states.note()  # before: an interrupt behind the op must not leave an old value
        try:
            self._call.run(opened, events, *batch)
        except Exception:
            for states, version in zip(heads, versions, strict=True):
                states.count, states.version = states.count - 1, version
            raise
        try:
            self._keep(heads, opened)
        except BaseException:  # an interrupt came before the last of them
            self._keep(heads, opened)
            raise
        return True

    def _keep(self, heads: Sequence[States], opened: Sequence[Tensor]) -> None:
        for i in self._keeping:
            self._statistics[i].keep(heads[i], opened[i])


def _batch_of(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Return ``preds, target, weight``, or None for a call that is not understood."""
    if len(args) == 2 and not kwargs:
        preds, target = args
        weight = None
    elif len(args) < 3:
        names = ("preds", "target")
        given = dict(zip(names, args, strict=False))
        if given.keys() & kwargs.keys():
            return None
        given.update(kwargs)
        if any(name not in given for name in names):
            return None
        preds, target, weight = given["preds"], given["target"], given.get("weight")
    else:
        return None
    if not isinstance(preds, Tensor) or not isinstance(target, Tensor):
        return None
    return preds, target, weight


class CollectionPlan:
    """The groups of a collection, and the passes that update them."""

    def __init__(
        self,
        groups: Sequence[Group] = (),
        *,
        lock: Lock,
        derives: bool = False,
        fuses: bool = False,
        apart: bool = False,
    ) -> None:
        self.groups = groups
        self.broken = False
        # Whether some that may share are apart because they have seen different data.
        self.apart = apart
        self._lent = False
        if derives:
            for group in groups:
                self.apart |= _find_source(group, groups)
        own = [group for group in groups if group.source is None]
        self.passes = _find_passes(own) if fuses else []
        fused = {id(group): a_pass for a_pass in self.passes for group in a_pass.groups}
        # A pass takes the place of its first group.
        self._steps: list[Group | Pass] = list(
            {id(step): step for group in own for step in [fused.get(id(group), group)]}.values()
        )
        # What one forward takes: a step, the metrics of its states and of those read off them, and
        # whether they leave forward to it.
        self._forwards = [(step, *_forward_of(step)) for step in self._steps]
        # Every metric of this package, with its group.
        self._members = [(g, m) for g in groups for m in g.members if is_native(m)]
        for group in (*own, *(group for group in groups if group.source is not None)):
            group.link(lock)
        self._heads = [g.states for g in own if not g.foreign]
        for head in self._heads:
            head.left = False
        self._shared = [head.shared for head in self._heads]

    def holds(self) -> bool:
        """Whether the metrics still share what they should."""
        return not (self.broken or any([head.left for head in self._heads]))

    def end(self) -> None:
        """Let nobody share; the metrics go on pointing to the same states until the next plan."""
        self.relink()
        for head in self._heads:
            head.shared = False

    def lend(self) -> None:
        """Give each metric but the first a copy of the state, until ``relink``."""
        if self._lent:
            return
        for group, member in self._members:
            if group.source is None and member is not group.leader:
                member._point(Lent(group.states, group.states.like({})))
                self._lent = True

    def relink(self) -> None:
        """Take back what was lent."""
        if self._lent:
            self._lent = False
            for group, member in self._members:
                if isinstance(member._own_states(), Lent):
                    member._point(group.states)

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Let each state have one owner, so that a change of all metrics changes it once."""
        heads = [(member, member._states) for _, member in self._members]
        seen: set[int] = set()
        for member, head in heads:
            if isinstance(head, Reader):
                object.__setattr__(member, "_states", head.own)
            elif id(head) in seen:
                object.__setattr__(member, "_states", States())
            seen.add(id(head))
        try:
            with unshared(self._heads):
                yield
        finally:
            for member, head in heads:
                object.__setattr__(member, "_states", head)

    def reset(self) -> None:
        """Reset all metrics, each state once."""
        self.relink()
        for group in self.groups:
            plain = [is_native(m) and type(m).reset is Metric.reset for m in group.members]
            if not all(plain) or any(m._is_synced for m in group.members):
                for member in group.members:
                    member.reset()
                continue
            if group.source is None:
                group.states.reset()
            for member in group.members:
                member.__dict__.update(_forward_cache=None, _cached=None)

    def update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a batch to each state once."""
        claimed = self._claimed(kwargs)
        try:
            for step in self._steps:
                step.update(args, kwargs, claimed)
        except BaseException:
            self._mend()
            raise

    def _mend(self) -> None:
        """Mark as shared what is: an interrupt may have kept a step from doing so."""
        for head, shared in zip(self._heads, self._shared, strict=True):
            head.shared = shared

    def _claimed(self, kwargs: dict[str, Any]) -> frozenset[str]:
        if not kwargs:
            return NONE
        return claimed_by([m for group in self.groups for m in group.members], kwargs)

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, Any]:
        """Add a batch, and return the value of each metric for it, by the metric's id."""
        self._refuse_synced()
        values: dict[int, Any] = {}
        claimed = self._claimed(kwargs)
        try:
            for each in self._forwards:
                values.update(forward_step(*each, args, kwargs, claimed))
        except BaseException:
            self._mend()
            raise
        return values

    def _refuse_synced(self) -> None:
        for _, member in self._members:
            if member._kept is not None:
                raise TorchMetricsUserError(
                    "A metric of the collection is synchronised; call `unsync` before `forward`."
                )


def forward_step(
    step: Group | Pass,
    groups: Sequence[Sequence[Any]],
    plain: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    claimed: frozenset[str] = NONE,
) -> dict[int, Any]:
    """Add a batch to the states of a step, and return the values of it by the metrics' ids."""
    if plain:
        update = partial(step.update, claimed=claimed) if claimed else step.update
        found = _forward(groups[0][0], groups, update, args, kwargs)
    else:
        found = [m(*args, **known_to(m, kwargs, claimed)) for g in groups for m in g]
    return dict(zip([id(m) for g in groups for m in g], found, strict=True))


_forward = exclusive(lambda _, *args: forward(*args))  # by the lock of the first metric


def _forward_of(step: Group | Pass) -> tuple[list[Sequence[Any]], bool]:
    first = step.groups if isinstance(step, Pass) else [step]
    groups = [*first, *(reader for group in first for reader in group.readers)]
    members = [member for group in groups for member in group.members]
    plain = len(members) > 1 and all(map(_has_plain_forward, members))
    return [group.members for group in groups], plain


def _has_plain_forward(metric: Any) -> bool:
    return is_native(metric) and type(metric).forward is Metric.forward


def make_groups(
    metrics: dict[str, Any],
    compute_groups: bool | list[list[str]],
    routes: Mapping[str, Route],
) -> tuple[list[list[str]], bool]:
    """Return the names of the metrics that share a state, group by group.

    And whether some that may share are apart because they have seen different data.

    A list says which may; of those, metrics whose declared statistics or routes differ stay apart.

    Raises:
        ValueError: ``compute_groups`` names an unknown metric.
    """
    given: dict[str, int] = {}
    if not isinstance(compute_groups, (bool, list)):
        raise ValueError(f"`compute_groups` must be a bool or a list, got {compute_groups!r:.80}.")
    if isinstance(compute_groups, list):
        for group in compute_groups:
            if not isinstance(group, (list, tuple)):
                raise ValueError(f"`compute_groups` must hold lists of names, got {group!r}.")
        given = {name: i for i, group in enumerate(compute_groups) for name in group}
        unknown = sorted(given.keys() - metrics.keys())
        if unknown:
            raise ValueError(f"`compute_groups` must name some of {[*metrics]}, got {unknown}.")
    keyed: dict[Hashable, list[str]] = {}
    for name, metric in metrics.items():
        key: Hashable = name
        if name in given or compute_groups is True:
            shared = _sharing_key(metric)
            if name in given or shared is not None:
                key = (given.get(name), shared, routes.get(name))
        keyed.setdefault(key, []).append(name)
    groups = [group for names in keyed.values() for group in _by_history(metrics, names)]
    return groups, len(groups) > len(keyed)


def _by_history(metrics: dict[str, Any], names: list[str]) -> list[list[str]]:
    """Split metrics that may share a state into those whose states are the same now."""
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if _same_history(metrics[group[0]], metrics[name]):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


def statistic_of(metric: Any) -> Any:
    """Return the statistic that ``update`` of a metric adds a batch to, and nothing else.

    None if it does more; whoever has a ``forward`` or ``reset`` of its own counts alone, too.
    """
    cls = type(metric)
    if not _has_plain_forward(metric) or cls.reset is not Metric.reset:
        return None
    if "update" in metric.__dict__:
        return None
    only_counts = getattr(cls._raw_update, "counts_only", False)
    return metric.statistic if only_counts and cls.update is cls._wrapped_update else None


def _sharing_key(metric: Any) -> Hashable | None:
    """Return a key that is equal for metrics whose states are the same after the same updates."""
    statistic = statistic_of(metric)
    return None if statistic is None else (statistic, *_conduct(metric))


def _conduct(metric: Metric) -> tuple[Hashable, ...]:
    """Return what metrics must have in common, besides data, for their states to stay the same."""
    return (
        metric.compute_on_cpu,
        metric.dist_sync_on_step,
        metric.full_state_update,
        id(metric.process_group),
        id(metric.dist_sync_fn),
    )


def _same_history(a: Any, b: Any) -> bool:
    """Whether two metrics of the same statistic have seen the same data so far."""
    if a is b or not is_native(a) or not is_native(b):
        return a is b
    one, two = a._own_states(), b._own_states()
    return one is two or _holds(one, two.values, two)


def _holds(states: Any, values: dict[str, Any], seen: Any) -> bool:
    """Whether states have these values, after as many updates as ``seen`` has had."""
    return (
        (states.count, states.touched) == (seen.count, seen.touched)
        and states.defaults.keys() == values.keys()
        and all(_equal(states.values[name], value) for name, value in values.items())
    )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
    return (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
        and (a is b or a.is_meta or torch.equal(a, b))
    )


def _find_source(group: Group, groups: Sequence[Group]) -> bool:
    """Let a group read its states off those of another group, if there is one that says them.

    Return whether there is one, but it has seen different data.
    """
    reader = group.leader
    statistic = statistic_of(reader)
    apart = False
    if not isinstance(statistic, Statistic):
        return apart
    for other in groups:
        source = other.leader
        takes_part = other is not group and other.source is None and other.route == group.route
        contains = statistic_of(source) if takes_part else None
        if not isinstance(contains, Statistic) or _conduct(reader) != _conduct(source):
            continue
        own, states = reader._own_states(), source._own_states()
        values = statistic.read_from(contains, states)
        if values is None:
            continue
        linked = isinstance(own, Derived) and own.source is states
        if linked or _holds(own, values, states):
            # What read from this group reads from its source now.
            readers = [group, *group.readers]
            group.readers = []
            for each in readers:
                each.source = other
            other.readers += readers
            return False
        apart = True
    return apart


def _find_passes(groups: Sequence[Group]) -> list[Pass]:
    """Return the passes over batches of the same kind that update more than one group."""
    alike: dict[Hashable, list[Group]] = {}
    for group in groups:
        statistic = statistic_of(group.leader)
        if isinstance(statistic, Statistic) and statistic.rows is not None:
            alike.setdefault((statistic.rows, group.route), []).append(group)
    passes = [Pass(found) for found in alike.values() if len(found) > 1]
    for found in passes:
        for group in found.groups:
            group.in_pass = True
    return passes


def explain(names: dict[int, str], plan: CollectionPlan) -> list[tuple[str, ...]]:
    """Return a row for each metric: name, statistic, whose state it is, backend, bytes, pass.

    Args:
        names: of the metrics, by their ids.
        plan: that of their collection.
    """
    rows = []
    for group in plan.groups:
        owner = group.leader if group.source is None else group.source.leader
        passes = [i for i, found in enumerate(plan.passes, 1) if group in found.groups]
        for member in group.members:
            if member is owner:
                shared = "-"
            else:
                shared = f"{'' if group.source is None else 'read from '}{names[id(owner)]}"
            statistic, backend = _statistic_and_backend(member)
            size = 0
            if member is owner and is_native(member):
                size = sum(tensor.nbytes for tensor in member._states.tensors())
            step = ", ".join(f"pass {i}" for i in passes) or "-"
            rows.append((names[id(member)], statistic, shared, backend, f"{size:,}", step))
    order = list(names.values())
    return sorted(rows, key=lambda row: order.index(row[0]))


def _statistic_and_backend(metric: Any) -> tuple[str, str]:
    """Return the name of what a metric counts, and what adds a batch to it."""
    statistic = statistic_of(metric)
    if not isinstance(statistic, Statistic):
        return type(metric).__name__, "own update"
    op = statistic.op.__name__
    rows = describe(op)
    backend = next((how for where, how, _ in rows if metric.device.type in where), rows[-1][1])
    return op.rstrip("_"), backend
