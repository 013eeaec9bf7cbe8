"""All replicas of a bootstrap as one metric, whose states have one more axis."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import Self, override

from fastmetrics.core.sharing import statistic_of
from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic
from fastmetrics.core.syncing import independent_copy
from fastmetrics.metric import Metric, is_native
from fastmetrics.ops.bootstrap import bootstrap_counts_, bootstrap_weights_
from fastmetrics.ops.confusion import LabelTables
from fastmetrics.ops.stat_scores import ClassCounts
from fastmetrics.ops.strings import TextSums
from fastmetrics.utilities.exceptions import TorchMetricsUserError

# What updates may be called with. The first names are those of the batch.
_BATCHES = (("preds", "target", "weight"), ("value", "weight"), ("value",))
# Events are the same in all replicas, which see the same samples.
_SHARED = "events"
# How many positions are counted apart at a time, so that temporaries stay in the cache.
_APART = 2**14


def _names_of(metric: Metric) -> tuple[str, ...]:
    return tuple(inspect.signature(type(metric)._raw_update).parameters)[1:]


def can_replicate(metric: Any) -> bool:
    """Whether a metric counts or sums, with weights, so that replicas fit into one state each."""
    statistic = statistic_of(metric) if is_native(metric) else None
    return (
        isinstance(statistic, Statistic)
        and all(reduction == "sum" for reduction in statistic.reductions.values())
        and _names_of(metric) in _BATCHES
    )


def counts_texts(metric: Any) -> bool:
    """Whether it looks at a text once, however often that counts in each replica."""
    return isinstance(statistic_of(metric), TextSums)


def stacked(values: list[Any]) -> Any:
    """Return the values of all replicas as one, or by name; whole numbers become float64."""
    if isinstance(values[0], Mapping):
        return {name: stacked([value[name] for value in values]) for name in values[0]}
    together = torch.stack(values)
    return together if together.is_floating_point() else together.double()


def _counts_classes(statistic: Statistic) -> bool:
    """Whether one pass over a batch updates all replicas."""
    return (
        isinstance(statistic, ClassCounts)
        and statistic.num_classes is not None
        and statistic.top_k == 1
    )


class CountsSamples(Metric):
    """A metric that numbers its samples in the order in which they come.

    Those of several processes take turns, as a ``DistributedSampler`` deals them.
    """

    if TYPE_CHECKING:  # TorchScript cannot read annotations of buffers
        seen: Tensor

    def _count_samples(self) -> None:
        """Begin with 0."""
        nothing = torch.zeros(1, dtype=torch.int64, device=self._default_device)
        self.register_buffer("seen", nothing, persistent=False)

    @override
    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        seen = self.seen
        super()._apply(*args, **kwargs)
        # `to_empty` leaves what the memory held, and the meta device has no numbers.
        self.seen.copy_(torch.zeros(1) if seen.is_meta else seen)
        return self

    def _turn(self, numbers: Tensor | None) -> tuple[int, int]:
        """Return the number of the first sample here, and the step to the next one."""
        if numbers is not None or not self._is_distributed():
            return 0, 1
        return dist.get_rank(self.process_group), dist.get_world_size(self.process_group)

    def _begin_batch(self) -> None:
        """Keep the number of samples: those of ``forward`` count, too."""

    def reset(self) -> None:
        """Return to no data; samples are counted from 0 again."""
        super().reset()
        self.seen.zero_()

    def persistent(self, mode: bool | str = False) -> None:
        """Choose whether the states, and the number of samples, are part of ``state_dict``."""
        super().persistent(mode)
        change = self._non_persistent_buffers_set
        change.discard("seen") if mode else change.add("seen")

    @override
    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # The number of samples is loaded as states are: also where it would not be saved.
        key, saved = f"{prefix}seen", "seen" not in self._non_persistent_buffers_set
        seen = None if saved else state_dict.pop(key, None)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if seen is not None:
            self.seen.copy_(seen)

    def _extras(self) -> int:
        return int(self.seen.item())

    def _take_extras(self, extras: int) -> None:
        self.seen.fill_(extras)


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise TorchMetricsUserError(
        "`metrics` of a BootStrapper are copies, which take no batch: all replicas are in one"
        " state. Update the BootStrapper; one of a derived class has a metric for each replica."
    )


class Replicas(CountsSamples):
    """A metric over replicas of its data, each of which counts a sample as often as chance says.

    How often follows from the seed, the number of the sample and that of the replica.

    Args:
        metric: one that :func:`can_replicate`.
        replicas: how many there are.
        seed: of the generator; without one, texts are drawn with replacement.
    """

    full_state_update = False
    fused_update = True

    def __init__(self, metric: Any, replicas: int, seed: int | None) -> None:
        super().__init__(
            process_group=metric.process_group,
            dist_sync_fn=metric.dist_sync_fn,
            distributed_available_fn=metric.distributed_available_fn,
            sync_on_compute=metric.sync_on_compute,
        )
        self.metric = independent_copy(metric)
        self.metric.reset()
        self.replicas = replicas
        self.seed = seed
        self._names = _names_of(metric)
        statistic: Statistic = self.metric.statistic
        for name, state in statistic.empty(self._default_device).items():
            shape = (replicas, *(1,) * state.ndim)
            whole = state if name == _SHARED else state.unsqueeze(0).repeat(shape)
            if name == "counts" and not _counts_classes(statistic):
                whole = whole.double()  # as weighted counts are
            self.add_state(name, whole, statistic.reductions[name])
        self._count_samples()
        self.to(metric.device)

    @property
    def _exact_states(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant of the base
        exact: tuple[str, ...] = self.metric.statistic.exact
        return exact

    def update(self, *args: Any, numbers: Tensor | None = None, **kwargs: Any) -> None:
        """Add a batch to all replicas; ``numbers`` are those of its samples."""
        batch, weight = self._batch(args, kwargs)
        how: Any = (numbers, self.seed, *self._turn(numbers))
        statistic, values = self.metric.statistic, self._states.values
        if weight is None and _counts_classes(statistic) and values["counts"].dtype == torch.int64:
            self._count_classes(statistic, batch, *how)
            return
        if isinstance(statistic, TextSums):
            self._add_texts(statistic, batch, weight, *how)
            return
        # The weights are drawn before, and samples counted behind what may raise.
        weights, seen = self._draw(batch[-1].shape[0], *how)
        if (
            weight is None
            and isinstance(statistic, LabelTables)
            and batch[0].shape == batch[1].shape
        ):
            self._count_labels(statistic, batch, weights)
        else:
            self._add_weighted(statistic, batch, weight, weights)
        self.seen.copy_(seen)

    def _draw(
        self, samples: int, numbers: Tensor | None, seed: int | None, offset: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return the weights ``[N, R]`` of a batch, and how many samples were seen with it."""
        if seed is None:
            return self._drawn_with_replacement(samples, numbers), self.seen
        weights = torch.empty(samples, self.replicas, dtype=torch.uint8, device=self.device)
        seen = self.seen.clone()
        bootstrap_weights_(weights, seen, numbers, seed, offset, step)
        return weights, seen

    def _drawn_with_replacement(self, samples: int, numbers: Tensor | None) -> Tensor:
        if numbers is not None:
            raise ValueError("`sample_numbers` need a `seed` with this strategy.")
        weights = torch.zeros(self.replicas, samples)
        if samples:
            chosen = torch.multinomial(torch.ones_like(weights), samples, replacement=True)
            weights.scatter_add_(1, chosen, torch.ones_like(weights))
        return weights.t()

    def _batch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
        """Return the batch and its weights."""
        given = dict(zip(self._names, args, strict=False)) | kwargs
        names = [name for name in self._names if name != "weight"]
        missing = [name for name in names if name not in given]
        unknown = [name for name in given if name not in self._names]
        if missing or unknown or len(args) > len(self._names):
            raise TypeError(
                f"`update` takes {[*self._names]}, got {len(args)} arguments"
                f" and {[*kwargs]} by name."
            )
        batch = [given[name] for name in names]
        texts = isinstance(self.metric.statistic, TextSums)
        if not texts and not all(isinstance(part, Tensor) and part.ndim for part in batch):
            raise ValueError("`update` needs tensors with an axis of samples.")
        return batch, given.get("weight")

    def _count_classes(
        self, statistic: Any, batch: list[Tensor], numbers: Tensor | None, seed: int,
        offset: int, step: int,
    ) -> None:  # fmt: skip
        values = self._states.values
        preds, target = batch
        bootstrap_counts_(
            values["counts"],
            values["events"],
            self.seen,
            preds,
            target,
            numbers=numbers,
            num_classes=statistic.num_classes,
            ignore_index=statistic.ignore_index,
            validate=statistic.validate_args,
            seed=seed,
            offset=offset,
            step=step,
        )

    def _count_labels(self, statistic: Any, batch: list[Tensor], weights: Tensor) -> None:
        """Count each sample apart, and add that to each replica as often as it counts there."""
        values = self._states.values
        apart = dataclasses.replace(statistic, samplewise=True)
        states = States({"events": torch.zeros_like(values["events"])})
        counts = torch.zeros_like(values["counts"])
        size = max(1, _APART // (batch[-1][:1].numel() or 1))
        for times, *part in zip(*(x.split(size) for x in (weights, *batch)), strict=True):
            states.values["counts"] = []
            apart.add(states, *(x.unsqueeze(-1) for x in part))  # that has an axis to count over
            each = apart.counts_of(states).flatten(1).double()
            counts += (times.t().double() @ each).view_as(counts)
        values["counts"] += counts
        values["events"] += states.values["events"]

    def _add_texts(self, statistic: TextSums, batch: list[Any], weight: Any, *how: Any) -> None:
        """Look at each text once, and add what was found as often as it counts."""
        rows = statistic.rows_of(*batch)
        if weight is not None:
            statistic.weigh(rows, weight)
            rows[:, :-1] *= rows[:, -1:]
        weights, seen = self._draw(len(rows), *how)
        sums = self._states.values["sums"]
        sums += weights.t().to(rows) @ rows.to(sums.device)
        self.seen.copy_(seen)

    def _add_weighted(
        self, statistic: Any, batch: list[Tensor], weight: Any, weights: Tensor
    ) -> None:
        """Add a batch to one replica after the other."""
        values = self._states.values
        if _counts_classes(statistic) and not values["counts"].is_floating_point():
            values["counts"] = values["counts"].double()
        # A replica reads its weights side by side, not one from each row.
        for replica, own in enumerate(weights.t().contiguous()):
            states = self._of_replica(replica)
            if replica and _SHARED in states.values:
                states.values[_SHARED] = states.values[_SHARED].clone()
            own = self._shaped(own, batch)
            own = own if weight is None else own * weight
            statistic.add(states, *batch, weight=own)

    def _shaped(self, weights: Tensor, batch: list[Tensor]) -> Tensor:
        """Return the weights as the op takes them, which spreads those of numbers."""
        if self._names[0] == "value":
            return weights.view(-1, *(1,) * (batch[0].ndim - 1))
        return weights

    def _of_replica(self, replica: int) -> States:
        """Return the states of one replica, which share their memory."""
        whole = self._states
        states = States(
            {n: v if n == _SHARED else v[replica] for n, v in whole.values.items()},
            batch=whole.batch,
        )
        states.count = whole.count
        states.changed()
        return states

    def compute(self) -> Any:
        """Return the values of all replicas."""
        metric = self.metric
        own, values = metric._states, []
        try:
            for replica in range(self.replicas):
                object.__setattr__(metric, "_states", self._of_replica(replica))
                values.append(metric._own_value(metric._raw_compute()))
        finally:
            object.__setattr__(metric, "_states", own)
        return stacked(values)

    def _report(self) -> None:
        self.metric.statistic.report(type(self.metric).__name__, self._of_replica(0))

    def of_replica(self, replica: int) -> Any:
        """Return a metric with the states of one replica, which takes no batch."""
        metric = independent_copy(self.metric)
        metric._take_states(self._of_replica(replica).values)
        metric._update_count = self._update_count
        metric.update = _refuse
        return metric
