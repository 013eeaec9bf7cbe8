"""What goes on inside of a model: statistics of its gradients, and its best and worst samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from typing_extensions import Self

from fastmetrics.core.statistic import check_declared, check_form, check_tensor
from fastmetrics.distributed import gather_all_tensors
from fastmetrics.metric import Metric
from fastmetrics.ops import tensor_stats as stats_of
from fastmetrics.ops import tensor_stats_, top_samples_
from fastmetrics.ops import top_samples as top_of
from fastmetrics.ops.faults import new_events, raise_events
from fastmetrics.utilities.checks import check_int
from fastmetrics.utilities.data import normal_tensor

__all__ = ["GradientStats", "TopSamples"]

_COLUMNS = ("min", "mean", "max", "norm", "nan", "inf")


class GradientStats(Metric):
    r"""Smallest, mean and largest element, norm, NaN and infinities of every layer's gradient.

    One call reads the gradients of all layers once and never waits for the device, so it can follow
    every ``backward()``; activations or any other named tensors do as well. NaN and infinities are
    counted, and left out of everything else:

    .. math::
        \text{mean} = \frac{1}{n} \sum_i g_i, \qquad
        \text{norm} = \sqrt{\frac{1}{U} \sum_u \lVert g_u \rVert^2}

    over the :math:`n` finite elements of :math:`U` updates. The norm is thus that of the gradient
    after one update, and the root mean square of the norms after several: it grows neither with
    their number nor with that of the processes.

    Args:
        names: the layers to look at, in this order; what else ``update`` is given is left out. By
            default those of the first update, to which all later ones must keep.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: a name occurs twice, or ``names`` is a single string.

    Example:
        >>> import torch
        >>> from fastmetrics import GradientStats
        >>> model = torch.nn.Linear(2, 1)
        >>> model(torch.tensor([[3.0, 4.0]])).sum().backward()
        >>> metric = GradientStats()
        >>> metric.update(model)
        >>> metric.names
        ('weight', 'bias')
        >>> metric.compute()["norm"]
        tensor([5., 1.])
        >>> print(metric.table())
        layer   min  mean  max  norm  nan  inf
        weight    3   3.5    4     5    0    0
        bias      1     1    1     1    0    0
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    fused_update = True
    _exact_states = ("stats",)
    stats: Tensor

    def __init__(self, names: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        is_list = isinstance(names, (list, tuple)) and all(isinstance(each, str) for each in names)
        if names is not None and (not is_list or len({*names}) != len(names)):
            raise ValueError(f"`names` must be different names, got {names!r}.")
        self._chosen = names is not None
        self._names = tuple(names or ())
        rows = len(self._names) if self._chosen else 1
        size, device = (rows, stats_of.NUM_COLUMNS), self._default_device
        zeros = torch.zeros(size, dtype=torch.float64, device=device)
        self.add_state("stats", zeros, dist_reduce_fx=stats_of.MergeTensorStats())

    @property
    def names(self) -> tuple[str, ...]:
        """The layers, one per element of what ``compute`` returns; none before they are known."""
        return self._names

    def update(self, tensors: Module | Mapping[str, Tensor | None]) -> None:
        """Add one gradient per layer.

        Args:
            tensors: a module, of whose parameters the gradients are taken, or a mapping from names
                to tensors: dense, of any shape, float16, bfloat16, float32 or float64. Layers that
                are missing, None or empty are as they were.

        Raises:
            ValueError: a layer that was not there at the first update, a layer of ``names`` that
                the module does not have, or a dtype, layout or device that does not fit.
        """
        if isinstance(tensors, Module):
            found = {name: weight.grad for name, weight in tensors.named_parameters()}
            if self._chosen and not found.keys() >= {*self._names}:
                missing = ", ".join(sorted({*self._names} - found.keys()))
                raise ValueError(f"GradientStats: the module has no parameters {missing}.")
        else:
            found = dict(tensors)
        known = self._chosen or bool(self._names)
        names = self._names if known else (*found,)
        if not names:
            return
        if not self._chosen and not found.keys() <= {*names}:
            unknown = ", ".join(sorted(found.keys() - {*names}))
            raise ValueError(f"GradientStats: {unknown} were not there at the first update.")
        state = self.stats
        if len(state) != len(names):
            state = normal_tensor(state.expand(len(names), -1).clone)
        rows = [found.get(name) for name in names]
        if any(row is None for row in rows):
            nothing = torch.empty(0, device=state.device)
            rows = [nothing if row is None else row for row in rows]
        tensor_stats_(state, rows)  # type: ignore[arg-type]  # no None is left
        if not known:
            self._set_names(names)
        if state is not self.stats:
            object.__setattr__(self, "stats", state)

    def _set_names(self, names: tuple[str, ...]) -> None:
        """Keep to these layers; from now on a reset state has their number of rows."""
        self.__dict__["_names"] = names
        states = self._states
        default: Tensor = states.defaults["stats"]
        rows = normal_tensor(lambda: default.new_zeros(len(names), stats_of.NUM_COLUMNS))
        states.defaults["stats"] = rows

    def compute(self) -> dict[str, Tensor]:
        """Return ``min``, ``mean``, ``max`` and ``norm``, and the counts ``nan`` and ``inf``.

        Each is ``[L]``, in the order of :attr:`names`; the counts are int64. A layer that had no
        finite element yet has NaN for the others.
        """
        updates, count, total, squares, low, high, nans, infinities = self.stats.unbind(-1)
        values = (low, total / count, high, (squares / updates).sqrt())
        found = [torch.where(count > 0, x, math.nan).to(self.dtype) for x in values]
        return dict(zip(_COLUMNS, (*found, nans.long(), infinities.long()), strict=True))

    def table(self) -> str:
        """Return the values of ``compute`` as text, one line per layer, for people to read."""
        columns = {name: value.tolist() for name, value in self.compute().items()}
        rows = [["layer", *_COLUMNS]]
        for place, layer in enumerate(self._names):
            rows.append([layer, *(f"{columns[name][place]:.4g}" for name in _COLUMNS)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        )

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge the states of another metric, which must have the same layers, or none yet.

        Raises:
            ValueError: the layers differ, or what :meth:`fastmetrics.metric.Metric.merge_state`
                raises.
        """
        if isinstance(incoming_state, GradientStats) and incoming_state.names:
            self._agree(incoming_state.names)
        super().merge_state(incoming_state)

    def _agree(self, names: tuple[str, ...]) -> None:
        """Take over the layers of another part of the data, or raise where they differ."""
        if not self._names and not self._chosen:
            self._set_names(names)
        elif self._names != names:
            raise ValueError(
                "GradientStats: the layers must be the same, in the same order, in all parts of"
                f" the data, got {self._names} and {names}; `names` fixes them."
            )

    def _check_states(self, states: Mapping[str, Any]) -> None:
        rows = len(self._names) or "N"
        check_tensor("stats", states["stats"])
        check_form("stats", states["stats"], (rows, stats_of.NUM_COLUMNS), torch.float64)

    def _extras(self) -> list[str]:
        return [*self._names]

    def _take_extras(self, extras: list[str]) -> None:
        if not all(isinstance(name, str) for name in extras):
            raise ValueError(f"The names of layers must be strings, got {extras}.")
        if extras:
            self._agree(tuple(extras))

    def _read_saved(self, given: Mapping[str, Any], extras: Any) -> tuple[dict[str, Any], Any]:
        states, extras = super()._read_saved(given, extras)
        stats = states.get("stats", self.stats)
        if extras and len(stats) != len(extras):
            raise ValueError(f"`stats` must have a row for each of {extras}, got {len(stats)}.")
        return states, extras

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., Any] = gather_all_tensors,
        process_group: Any | None = None,
    ) -> None:
        # Names travel too: rows of different layers must never be added up, and a process that has
        # seen nothing learns what the rows of the others are.
        text = "\0".join(self._names).encode()
        own = torch.tensor([*text], dtype=torch.uint8, device=self.device)
        for part in dist_sync_fn(own, group=process_group or self.process_group):
            if part.numel():
                self._agree(tuple(bytes(part.tolist()).decode().split("\0")))
        super()._sync_dist(dist_sync_fn, process_group)

    def _own_tensor(self, value: Tensor) -> Tensor:
        return value  # made by `compute`; one layer is a vector too

    _traced_tensor = _own_tensor


class TopSamples(Metric):
    """The k samples with the highest scores and the k with the lowest, with their ids.

    Samples of equal scores rank by their ids, the lower first: the result is the same for any order
    of the samples and any split over batches and processes. Scores are compared as float64; those
    that are NaN are left out, and ``compute`` warns with their number. For a loss, of which less is
    better, the best and the worst change places.

    Args:
        k: how many samples to keep on each side.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``k`` is not a positive integer.

    Example:
        >>> import torch
        >>> from fastmetrics import TopSamples
        >>> metric = TopSamples(k=2)
        >>> metric.update(torch.tensor([0.3, 0.9, 0.1]), ids=torch.tensor([10, 11, 12]))
        >>> metric.update(torch.tensor([0.9, 0.5]), ids=torch.tensor([7, 8]))
        >>> found = metric.compute()
        >>> found["best_scores"], found["best_ids"]
        (tensor([0.9000, 0.9000]), tensor([ 7, 11]))
        >>> found["worst_scores"], found["worst_ids"]
        (tensor([0.1000, 0.3000]), tensor([12, 10]))
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    fused_update = True
    top: Tensor
    events: Tensor
    _next_id: Tensor

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_int("k", k, 1)
        self.k = k
        empty = torch.zeros(3, 2, k, dtype=torch.int64, device=self._default_device)
        self.add_state("top", empty, dist_reduce_fx=top_of.MergeTopSamples())
        self.add_state("events", new_events(self._default_device), dist_reduce_fx="sum")
        # No state: `forward` looks at a batch with states of its own, and numbers it all the same.
        self._number_from(0)

    def _number_from(self, first: int) -> None:
        """Give the next sample without an id this one."""
        self.__dict__["_next_id"] = normal_tensor(
            lambda: torch.full((1,), first, dtype=torch.int64, device=self.device)
        )

    def _extras(self) -> int | None:
        return None if self._next_id.is_meta else int(self._next_id)

    def _take_extras(self, extras: int | None) -> None:
        if extras is not None and not 0 <= extras < 2**63:
            raise ValueError(f"The next id must be an int64 from 0 on, got {extras}.")
        self._number_from(extras or 0)

    _check_states = check_declared

    def update(self, scores: Tensor, ids: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            scores: ``[N]``, any real dtype.
            ids: ``[N]`` int64, or None to number the samples from 0 on, as they come since the last
                ``reset``. Each process numbers its own samples: give ids where that matters.

        Raises:
            ValueError: a shape, dtype or device does not fit; the state is unchanged.
        """
        next_id = self._next_id
        if self._states.batch and self.dist_sync_on_step:  # `forward` has numbered the batch before
            next_id = next_id - len(scores)
        top_samples_(self.top, self.events, next_id, scores, ids)

    def compute(self) -> dict[str, Tensor]:
        """Return ``best_scores``, ``best_ids``, ``worst_scores`` and ``worst_ids``.

        Each is ``[k]``, the most extreme sample first, or shorter if there were fewer samples. Ids
        are int64, scores of the dtype of the metric. Waits for the device, to learn their number.
        """
        found = {}
        # Both sides have as many: k, or all there are.
        count = int(self.top[top_of.PRESENT, top_of.BEST].sum())
        for side, name in ((top_of.BEST, "best"), (top_of.WORST, "worst")):
            _, bits, ids = self.top[:, side, :count].unbind()
            found[f"{name}_scores"] = bits.view(torch.float64).to(self.dtype, copy=True)
            found[f"{name}_ids"] = ids.clone()
        return found

    def _report(self) -> None:
        raise_events(type(self).__name__, self.events, "they were left out.")

    def _own_tensor(self, value: Tensor) -> Tensor:
        return value  # made by `compute`; one sample is a vector too

    _traced_tensor = _own_tensor

    def reset(self) -> None:
        """Return the states to their defaults, and number samples from 0 on again."""
        super().reset()
        if not self._states.batch:  # `forward` puts its own states in place by a reset, too
            self._next_id.zero_()

    def _apply(  # type: ignore[override]  # as in Metric
        self,
        fn: Callable[[Tensor], Tensor],
        exclude_state: Sequence[str] = "",
        recurse: bool = True,
    ) -> Self:
        next_id = self._extras()
        super()._apply(fn, exclude_state, recurse)
        if self._next_id.device != self.device:
            self._number_from(next_id or 0)
        return self
