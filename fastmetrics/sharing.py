"""Which metrics of a collection share a state, and how one pass over a batch updates them all.

A *group* is made of metrics with the same declared statistic: the first keeps the state, the others
hold references to its tensors. A group whose statistic another one contains keeps nothing: its
states are worked out from those of that *source* whenever somebody reads them. Groups whose
statistics one op can update together form a *pass*. All of it follows from what the metrics
declare, never from values of states, except that metrics only share what they have seen together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling

from fastmetrics.core.statistic import Statistic
from fastmetrics.metric import Metric, forward_batch, forward_traced, private_copy
from fastmetrics.ops.backend import describe
from fastmetrics.ops.define import REFERENCES
from fastmetrics.ops.fused import FusedCall, Update
from fastmetrics.utilities.exceptions import TorchMetricsUserError


class Group:
    """Metrics of a collection that share one state.

    A metric that is changed by anybody but the collection takes a copy of the state and leaves,
    which breaks the plan.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = members
        self.leader, *self.others = members
        # Whether nothing but the op and the notes about it happens in an update.
        self._fused = isinstance(self.leader, Metric) and self.leader.fused_update
        self.source: Group | None = None
        self.readers: list[Group] = []
        self.in_pass = False
        self.plan: Plan | None = None
        # What the others were handed, and all that follows the leader's updates.
        self._handed: dict[str, Any] = {}
        self._followers: list[dict[str, Any]] = []
        self._names: tuple[str, ...] = ()

    @property
    def owner(self) -> Any:
        """The metric that keeps the state which the members show."""
        return self.leader if self.source is None else self.source.leader

    def link(self) -> None:
        """Share the state, if there is anybody to share it with."""
        if not (self.others or self.source or self.readers or self.in_pass):
            return
        for member in self.members:
            if member._link not in (None, self):  # it shares with metrics of another collection
                member._leave_group()
            object.__setattr__(member, "_link", self)
            if self.source is not None and not member._is_synced:
                for name in member._defaults:
                    member.__dict__.pop(name, None)
        if self.source is None:
            followers = [*self.others, *(m for r in self.readers for m in r.members)]
            self._followers = [m.__dict__ for m in followers]
            self._names = tuple(self.leader._defaults) if self.others else ()
            self._handed = {}
            for follower in self._followers:
                follower["_traced"] = self.leader._traced
            self.share()

    def release(self) -> None:
        """Let the collection change the metrics one by one, until ``link``."""
        for member in self.members:
            if isinstance(member, Metric) and member._link is self:
                self._keep_what_it_reads(member)
                object.__setattr__(member, "_link", None)

    def _keep_what_it_reads(self, member: Metric) -> None:
        if self.source is not None and not member._is_synced:
            states = self.read(member)
            member.__dict__.update({name: private_copy(state) for name, state in states.items()})

    def read(self, metric: Metric) -> dict[str, Any]:
        """Return the states of a member of a group with a source."""
        assert self.source is not None
        states = metric._derive(self.source.leader)
        assert states is not None
        return states

    def break_up(self) -> None:
        """Have the plan made anew before its next use; who reads the state here takes its own."""
        if self.plan is not None:
            self.plan.broken = True
        for reader in self.readers:
            for member in reader.members:
                if member._link is reader:
                    reader._keep_what_it_reads(member)
            reader.source = None
        self.readers = []

    def share(self) -> None:
        """Hand the state of the first metric, and how often it was updated, to those that follow.

        References are handed out again only where the first metric holds other tensors than before.
        """
        own = self.leader.__dict__
        if is_dynamo_compiling():
            self._share_traced(own)
            return
        count = own["_count"]
        for follower in self._followers:
            follower["_computed"] = None
            follower["_count"] = count
        handed = self._handed
        for name in self._names:
            if handed.get(name) is not own[name]:
                handed[name] = own[name]
                for member in self.others:
                    member.__dict__[name] = own[name]

    def _share_traced(self, own: dict[str, Any]) -> None:
        for member in self.others:
            for name in own["_defaults"]:
                object.__setattr__(member, name, own[name])
        for group in (self, *self.readers):
            for member in group.members:
                if member is not self.leader:
                    member._note_traced_update()

    def separate(self) -> None:
        """Give each metric but the first a copy of the state, until the next ``share``."""
        if self.source is not None:
            return  # what they read is theirs
        self._handed = {}
        for member in self.others:
            own = member.__dict__
            for name in self.leader._defaults:
                if own[name] is getattr(self.leader, name):
                    own[name] = private_copy(own[name])

    def update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a batch to the state."""
        leader = self.leader
        own = leader.__dict__
        if kwargs:
            kwargs = leader._filter_kwargs(**kwargs)
        if own.get("_link") is not self:
            leader.update(*args, **kwargs)
            return
        if self._fused and "update" not in own:
            leader._raw_update(*args, **kwargs)  # a raise leaves no trace
            self.count_update()
            return
        object.__setattr__(leader, "_link", None)
        try:
            leader.update(*args, **kwargs)
        finally:
            object.__setattr__(leader, "_link", self)
            self.share()

    def count_update(self) -> None:
        """Note that the state has another batch, which a fused update has just added."""
        leader = self.leader
        if is_dynamo_compiling():
            leader._note_traced_update()
        else:
            own = leader.__dict__
            own["_computed"] = None
            own["_count"] += 1
            if own["compute_on_cpu"]:
                leader._move_list_states_to_cpu()
        if self.others or self.readers:
            self.share()

    def update_raw(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a batch to the state that the first metric holds at the moment, and nothing else."""
        self.leader._raw_update(*args, **self.leader._filter_kwargs(**kwargs))

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Add a batch to the state, once released, and return the value of each member for it."""
        if not self.others or not all(map(_has_plain_forward, self.members)):
            return [m(*args, **m._filter_kwargs(**kwargs)) for m in self.members]
        kwargs = self.leader._filter_kwargs(**kwargs)
        values: list[Any] = self.leader._forward_shared(self.members, args, kwargs)
        return values


class Pass:
    """Groups whose statistics one op updates while it reads a batch once.

    If the batch is refused, none of them changes.
    """

    def __init__(self, groups: Sequence[Group], updates: Sequence[Update]) -> None:
        self.groups = groups
        self._leaders = [group.leader for group in groups]
        self._call = FusedCall(updates)
        self._reporting = [m for m in self._leaders if "events" in m._defaults]

    def update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a batch to the states of all groups."""
        if not self._run(args, kwargs):
            for group in self.groups:
                group.update(args, kwargs)
            return
        for group in self.groups:
            group.count_update()

    def update_raw(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a batch to the states that the first metrics hold at the moment, and nothing else."""
        if not self._run(args, kwargs):
            for group in self.groups:
                group.update_raw(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Add a batch to the states; False, and nothing done, if each metric must do it itself."""
        batch = _batch_of(args, kwargs)
        if batch is None:
            return False
        states = [m._open_state(*batch) for m in self._leaders]
        if any(state is None for state in states):
            return False
        self._call.run(states, [m.events for m in self._reporting], *batch)
        for metric, state in zip(self._leaders, states, strict=True):
            metric._keep_state(state)
        return True


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


class Plan:
    """The groups of a collection, and the passes that update them."""

    def __init__(self, groups: Sequence[Group], derives: bool, fuses: bool) -> None:
        self.groups = groups
        self.broken = False
        for group in groups:
            group.plan = self
        if derives:
            for group in groups:
                _find_source(group, groups)
        own = [group for group in groups if group.source is None]
        self.passes = _find_passes(own) if fuses else []
        fused = {id(group): a_pass for a_pass in self.passes for group in a_pass.groups}
        # A pass takes the place of its first group.
        self._steps: list[Group | Pass] = list(
            {id(step): step for group in own for step in [fused.get(id(group), group)]}.values()
        )

    def link(self) -> None:
        """Let the metrics share their states."""
        for group in self.groups:
            group.link()

    def release(self) -> None:
        """Let the collection change the metrics one by one, until ``link``."""
        for group in self.groups:  # readers first, while their sources are whole
            if group.source is not None:
                group.release()
        for group in self.groups:
            group.release()

    def update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a batch to each state once."""
        for step in self._steps:
            step.update(args, kwargs)

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, Any]:
        """Add a batch, and return the value of each metric for it, by the metric's id."""
        for group in self.groups:
            for member in group.members:
                if isinstance(member, Metric) and member._is_synced:
                    raise TorchMetricsUserError(
                        "A metric of the collection is synchronised; call `unsync` before"
                        " `forward`."
                    )
        values: dict[int, Any] = {}
        for step in self._steps:
            groups = step.groups if isinstance(step, Pass) else [step]
            readers = [reader for group in groups for reader in group.readers]
            members = [m for group in (*groups, *readers) for m in group.members]
            shared = [group.members for group in groups]
            reading = [reader.members for reader in readers]
            if is_compiling() and all([_is_traceable(m) for m in members]):
                found = forward_traced(shared, reading, step.update_raw, args, kwargs)
            elif len(members) > 1 and _all_add_batches(members):
                found = forward_batch(shared, reading, step.update_raw, args, kwargs)
            else:
                found = _forward_apart(groups, readers, args, kwargs)
            values.update(zip(map(id, members), found, strict=True))
        return values


def _forward_apart(
    groups: Sequence[Group],
    readers: Sequence[Group],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Any]:
    """Forward group by group; those that read from others have states of their own meanwhile."""
    for group in (*readers, *groups):
        group.release()
    try:
        return [v for group in (*groups, *readers) for v in group.forward(args, kwargs)]
    finally:
        for group in (*groups, *readers):
            group.link()


def _all_add_batches(members: Sequence[Any]) -> bool:
    """Whether `forward` of all these metrics only has to add the states of a batch."""
    return all(_has_plain_forward(m) and m._adds_batches() for m in members)


def _is_traceable(metric: Any) -> bool:
    return _has_plain_forward(metric) and metric._is_traceable()


def _has_plain_forward(metric: Any) -> bool:
    return isinstance(metric, Metric) and type(metric).forward is Metric.forward


def make_groups(metrics: dict[str, Any], compute_groups: bool | list[list[str]]) -> list[list[str]]:
    """Return the names of the metrics that share a state, group by group.

    A list says which may; of those, metrics whose declared statistics differ stay apart.

    Raises:
        ValueError: ``compute_groups`` names an unknown metric.
    """
    given: dict[str, int] = {}
    if isinstance(compute_groups, list):
        given = {name: i for i, group in enumerate(compute_groups) for name in group}
        unknown = sorted(given.keys() - metrics.keys())
        if unknown:
            raise ValueError(f"`compute_groups` must name some of {[*metrics]}, got {unknown}.")
    keyed: dict[Hashable, list[str]] = {}
    for name, metric in metrics.items():
        key: Hashable = name
        if name in given or compute_groups is True:
            statistic = _sharing_key(metric)
            if name in given or statistic is not None:
                key = (given.get(name), statistic)
        keyed.setdefault(key, []).append(name)
    return [group for names in keyed.values() for group in _by_history(metrics, names)]


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


def _declares(metric: Any, method: str) -> bool:
    """Whether ``method`` speaks of the `update` that runs, not of one that was overridden."""
    if not isinstance(metric, Metric) or "update" in metric.__dict__:
        return False
    for cls in type(metric).__mro__:
        if method in cls.__dict__:
            return True
        if "update" in cls.__dict__:
            return False
    return False


def _sharing_key(metric: Any) -> Hashable | None:
    """Return a key that is equal for metrics whose states are the same after the same updates."""
    statistic = metric._statistic() if _declares(metric, "_statistic") else None
    if statistic is None:
        return None
    return (statistic, tuple(metric._defaults), *_conduct(metric))


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
    if a is b or not isinstance(a, Metric) or not isinstance(b, Metric):
        return a is b
    if a._link is not None and a._link is b._link:
        return True
    return (
        a._defaults.keys() == b._defaults.keys()
        and _same_counts(a, b)
        and all(_equal(getattr(a, name), getattr(b, name)) for name in a._defaults)
    )


def _same_counts(a: Metric, b: Metric) -> bool:
    return a._count == b._count and a._traced == b._traced


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
    return (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
        and (a is b or a.is_meta or torch.equal(a, b))
    )


def _find_source(group: Group, groups: Sequence[Group]) -> None:
    """Let a group read its states from those of another group, if there is one that says them."""
    reader = group.leader
    if not _declares(reader, "_derive"):
        return
    for other in groups:
        source = other.leader
        if other is group or other.source is not None or not _declares(source, "_statistic"):
            continue
        states = reader._derive(source)
        if (
            states is not None
            and _conduct(reader) == _conduct(source)
            and (_reads_from(reader, source) or _have_equal_states(reader, source, states))
        ):
            # What read from this group reads from its source now.
            readers = [group, *group.readers]
            group.readers = []
            for each in readers:
                each.source = other
            other.readers += readers
            return


def _reads_from(reader: Metric, source: Metric) -> bool:
    link = reader._link
    return link is not None and link.source is not None and link.source is source._link


def _have_equal_states(reader: Metric, source: Metric, states: dict[str, Any]) -> bool:
    return _same_counts(reader, source) and all(
        _equal(getattr(reader, name), state) for name, state in states.items()
    )


def _find_passes(groups: Sequence[Group]) -> list[Pass]:
    """Return the passes over batches of the same kind that update more than one group."""
    alike: dict[str, list[tuple[Group, Update]]] = {}
    for group in groups:
        update = group.leader._op() if _declares(group.leader, "_op") else None
        if update is not None:
            alike.setdefault(_rows_of(update), []).append((group, update))
    passes = []
    for found in alike.values():
        if len(found) > 1:
            passes.append(Pass([group for group, _ in found], [update for _, update in found]))
            for group, _ in found:
                group.in_pass = True
    return passes


def _rows_of(update: Update) -> str:
    """Say what a sample is to an update: statistics of one kind of sample fit into one pass."""
    op, arguments = update
    if op in ("error_sums_", "co_moments_"):
        return "numbers"
    multiclass = (
        op in ("stat_scores_", "confusion_")
        or (op == "score_histogram_" and arguments[2])
        or (op == "calibration_bins_" and arguments[1] > 0)
    )
    return "classes" if multiclass else "labels"


def explain(names: dict[int, str], plan: Plan) -> list[tuple[str, ...]]:
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
            size = sum(map(_size_of, member.metric_state.values())) if member is owner else 0
            step = ", ".join(f"pass {i}" for i in passes) or "-"
            rows.append((names[id(member)], statistic, shared, backend, f"{size:,}", step))
    order = list(names.values())
    return sorted(rows, key=lambda row: order.index(row[0]))


def _statistic_and_backend(metric: Any) -> tuple[str, str]:
    """Return the name of what a metric counts, and what adds a batch to it."""
    statistic = metric._statistic() if _declares(metric, "_statistic") else None
    family = statistic[0] if isinstance(statistic, tuple) else statistic
    if isinstance(family, Statistic):
        family = family.op.__name__
    name = str(family or type(metric).__name__).rstrip("_")
    if f"{name}_" not in REFERENCES:
        return name, "own update"
    rows = describe(f"{name}_")
    return name, next((how for where, how, _ in rows if metric.device.type in where), rows[-1][1])


def _size_of(state: Any) -> int:
    tensors = state if isinstance(state, list) else [state]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
