"""Several metrics under one call, with one update per distinct statistic."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Generator, ItemsView, Iterator, KeysView, Sequence, ValuesView
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import ModuleDict
from typing_extensions import Self, TypeIs

from fastmetrics.core import upstream

# Arithmetic between metrics needs it.
from fastmetrics.core.composition import CompositionalMetric as CompositionalMetric
from fastmetrics.core.locking import Lock, serial
from fastmetrics.core.naming import flatten
from fastmetrics.core.routing import Routed, RoutedPlan
from fastmetrics.core.scripting import Unscripted
from fastmetrics.core.sharing import CollectionPlan, Group, explain, make_groups
from fastmetrics.core.stateful import UPSTREAM
from fastmetrics.core.syncing import (
    independent_copy,
    named_metrics,
    sync_for_compute,
    sync_metrics,
    with_all_states,
)
from fastmetrics.core.upstream import CollectionLookalike, is_upstream_collection
from fastmetrics.distributed import PendingValue, SyncHandle, read_states, write_states
from fastmetrics.metric import Metric, is_native
from fastmetrics.utilities.data import normal_tensor
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from fastmetrics.utilities.fallback import names_of_others
from fastmetrics.utilities.prints import rank_zero_warn


def is_native_collection(value: object) -> TypeIs[MetricCollection]:
    """Whether ``value`` is a collection of this package, whose metrics are planned as ours are."""
    return isinstance(value, CollectionLookalike)


class MetricCollection(CollectionLookalike, Unscripted, Routed, ModuleDict, metaclass=ABCMeta):
    """Metrics that are called together and return one dict.

    Metrics whose declared statistic (family and arguments) is the same share one state, which is
    updated once; values of states play no part in that. A metric that is changed on its own
    (``collection["Accuracy"].update(...)``) takes its copy of the state and goes its own way until
    the collection is reset.

    Args:
        metrics: a metric or a list or tuple of metrics (named by their classes), a dict of
            metrics, or collections in place of metrics, whose entries are taken over.
        additional_metrics: more metrics after a metric or list.
        prefix: put before every name of the results.
        postfix: put behind every name of the results.
        compute_groups: True shares as declared, False never, and a list of lists of names shares
            as the list says.

    Raises:
        ValueError: something that is no metric, a name twice, a ``prefix`` or ``postfix`` that is
            no string, or ``compute_groups`` that name an unknown metric.

    Example:
        >>> import torch
        >>> from fastmetrics import MetricCollection
        >>> from fastmetrics.classification import BinaryPrecision, BinaryRecall
        >>> metrics = MetricCollection(BinaryPrecision(), BinaryRecall(), prefix="val/")
        >>> metrics.update(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 0, 1]))
        >>> metrics.compute()
        {'val/BinaryPrecision': tensor(0.6667), 'val/BinaryRecall': tensor(1.)}
    """

    _modules: dict[str, Any]  # metrics, all of them

    def __init__(
        self,
        metrics: Any,
        *additional_metrics: Metric,
        prefix: str | None = None,
        postfix: str | None = None,
        compute_groups: bool | list[list[str]] = True,
    ) -> None:
        super().__init__()
        self.prefix = self._check_arg(prefix, "prefix")
        self.postfix = self._check_arg(postfix, "postfix")
        self._enable_compute_groups = compute_groups
        self._groups: dict[int, list[str]] = {}
        self._updated = False
        self._lock = Lock()
        self._plan = CollectionPlan(lock=self._lock)  # who shares what
        # The affixes of the nested collection a metric came from.
        self._affixes: dict[str, tuple[str, str]] = {}
        self.add_metrics(metrics, *additional_metrics)

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Collections of torchmetrics are collections, too, as its metrics are metrics."""
        return (cls is MetricCollection and is_upstream_collection(other)) or NotImplemented

    @staticmethod
    def _check_arg(arg: str | None, name: str) -> str | None:
        if arg is None or isinstance(arg, str):
            return arg
        raise ValueError(f"`{name}` must be a string or None, got {arg!r}.")

    @serial
    def add_metrics(self, metrics: Any, *additional_metrics: Metric) -> None:
        """Add metrics; arguments and errors as for the constructor.

        They share no state with metrics that have seen data.
        """
        if isinstance(metrics, Metric):
            metrics = [metrics]
        if isinstance(metrics, Sequence):
            ignored = [m for m in additional_metrics if not isinstance(m, Metric)]
            if ignored:
                rank_zero_warn(f"Ignored extra arguments that are no metrics: {ignored}.")
            metrics = [*metrics, *(m for m in additional_metrics if isinstance(m, Metric))]
        elif additional_metrics:
            raise ValueError(
                "More metrics can follow a metric or a list of metrics only, got"
                f" {additional_metrics} behind a {type(metrics).__name__}."
            )
        if isinstance(metrics, dict):
            self._add_dict(metrics)
        elif isinstance(metrics, Sequence):
            self._add_sequence(metrics)
        elif isinstance(metrics, MetricCollection):
            self._add_sequence([metrics], unique=True)
        else:
            raise ValueError(
                "`metrics` must be a metric, a collection, or a dict or list of those, got"
                f" {metrics!r}."
            )
        self.__dict__["_updated"] = False  # the groups are new ones
        self._make_plan()

    def _add_dict(self, metrics: dict[str, Any]) -> None:
        for name, metric in metrics.items():
            if not isinstance(metric, (Metric, MetricCollection)):
                raise ValueError(f"`metrics[{name!r}]` must be a metric, got {metric!r}.")
        for name in sorted(metrics):
            metric = metrics[name]
            if isinstance(metric, MetricCollection):
                for inner, nested in metric.items(copy_state=False):
                    self._add_nested(f"{name}_{inner}", nested, metric)
            else:
                self[name] = metric

    def _add_sequence(self, metrics: Sequence[Any], unique: bool = False) -> None:
        for metric in metrics:
            if not isinstance(metric, (Metric, MetricCollection)):
                raise ValueError(f"`metrics` must hold metrics, got {metric!r}.")
        for metric in metrics:
            if isinstance(metric, MetricCollection):
                for name, nested in metric.items(copy_state=False):
                    self._check_new(name, unique)
                    self._add_nested(name, nested, metric)
            else:
                name = type(metric).__name__
                self._check_new(name, True)
                self[name] = metric

    def _check_new(self, name: str, unique: bool) -> None:
        if unique and name in self:
            raise ValueError(f"Two metrics have the name {name!r}; pass a dict to name them.")

    def _add_nested(self, name: str, metric: Any, collection: MetricCollection) -> None:
        self[name] = metric
        self._affixes[name] = (collection.prefix or "", collection.postfix or "")

    @serial
    def __setitem__(self, key: str, module: Any) -> None:
        if key in self:
            del self[key]
        super().__setitem__(key, module)
        self._plan.broken = True

    @serial
    def __delitem__(self, key: str) -> None:
        metric = self._modules[key]
        if is_native(metric):
            metric._private()
        super().__delitem__(key)
        self._affixes.pop(key, None)
        self._plan.broken = True

    def clear(self) -> None:
        """Remove all metrics."""
        for key in list(self._modules):
            del self[key]

    def _make_plan(self) -> CollectionPlan:
        """Decide which metrics share a state, and let them."""
        self._plan.end()
        routes = self._route_of_each()
        together, apart = make_groups(self._modules, self._enable_compute_groups, routes)
        self._groups = dict(enumerate(together)) if self._enable_compute_groups else {}
        self._plan = (RoutedPlan if routes else CollectionPlan)(
            [
                Group([self._modules[n] for n in names], routes.get(names[0], ()))
                for names in together
            ],
            lock=self._lock,
            derives=self._enable_compute_groups is True,
            fuses=bool(self._enable_compute_groups),
            apart=apart,
        )
        return self._plan

    def _whole_plan(self) -> CollectionPlan:
        """Return the plan, made again when a metric left its group, came or went."""
        return self._plan if self._plan.holds() else self._make_plan()

    def _live_plan(self) -> CollectionPlan:
        """Return the plan, with all metrics sharing again what was lent to the user.

        The caller holds the lock.
        """
        plan = self._whole_plan()
        plan.relink()
        return plan

    @property
    @serial
    def compute_groups(self) -> dict[int, list[str]]:
        """The names of the metrics that share a state, group by group.

        As in torchmetrics, each metric is alone before the first update; :meth:`explain` tells what
        is planned. There are none with ``compute_groups=False``.
        """
        self._live_plan()
        if self._groups_checked or not self._groups:
            return self._groups
        return {place: [name] for place, name in enumerate(self._modules)}

    @serial
    def explain(self) -> None:
        """Print what each metric counts and with whom.

        One line per metric: the statistic; the metric whose state it shares, or from whose state
        its own is read; what updates the state; its bytes; and which pass over a batch it is
        updated in, together with the other states of that pass.

        >>> from fastmetrics import MetricCollection
        >>> from fastmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
        >>> from fastmetrics.classification import MulticlassRecall
        >>> metrics = [MulticlassAccuracy(3), MulticlassRecall(3), MulticlassConfusionMatrix(3)]
        >>> MetricCollection(metrics).explain()  # doctest: +SKIP
        metric                     statistic    shared with                          backend  ...
        """
        names = {id(metric): name for name, metric in self._to_renamed_dict().items()}
        heads = ("metric", "statistic", "shared with", "backend", "bytes", "updated in")
        rows = [heads, *explain(names, self._live_plan())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip())

    @property
    def _groups_checked(self) -> bool:
        """Whether the groups are shown: from the first update on, or as the user has given them."""
        if isinstance(self._enable_compute_groups, list):
            return True
        return self._enable_compute_groups and self._updated

    @property
    def metric_state(self) -> dict[str, dict[str, Any]]:
        """The states of each metric, by name."""
        return {k: m.metric_state for k, m in self.items(copy_state=False)}

    @serial
    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update each distinct state once; keywords go to the metrics that take them."""
        self._live_plan().update(args, kwargs)
        self.__dict__["_updated"] = True

    @serial
    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Add a batch, as ``update`` does, and return the values of the batch alone."""
        values = self._compute_and_reduce("forward", *args, **kwargs)
        self.__dict__["_updated"] = True
        return values

    @serial
    def compute(self) -> dict[str, Any]:
        """Return the value of each metric, by name."""
        return with_all_states(self._sources(), lambda: self._compute_and_reduce("compute"))

    def _compute_and_reduce(self, method_name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the values of ``compute`` or ``forward``; derived classes may define it."""
        modules = self._modules.items()
        if method_name == "compute":
            return self._named({name: metric.compute() for name, metric in modules})
        values = self._live_plan().forward(args, kwargs)
        return self._named({name: values[id(metric)] for name, metric in modules})

    def _named(self, values: dict[str, Any]) -> dict[str, Any]:
        flat = flatten(values, self._affixes)
        return {self._set_name(name): value for name, value in flat.items()}

    def _sources(self, prefix: str = "") -> dict[str, Metric]:
        """Return each metric that ``compute`` synchronises once, by name; not upstream's own."""
        self._live_plan()
        found: dict[int, tuple[str, Metric]] = {}
        for name, metric in self._modules.items():
            if is_native(metric):
                for key, source in metric._sources(f"{prefix}{name}").items():
                    found.setdefault(id(source), (key, source))
        return dict(found.values())

    @serial
    def compute_async(self) -> PendingValue:
        """Return a handle whose ``wait`` returns what ``compute`` would return now.

        See :meth:`fastmetrics.metric.Metric.compute_async`.
        """
        copy = independent_copy(self)
        handle = sync_for_compute(copy._sources(), async_op=True)
        return PendingValue(handle, lambda: copy._compute_and_reduce("compute"))

    @serial
    def sync(
        self,
        process_group: Any | None = None,
        should_sync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
        *,
        async_op: bool = False,
    ) -> SyncHandle | None:
        """Replace the states of all metrics by those of all processes, in one exchange.

        Arguments and errors as for :meth:`fastmetrics.metric.Metric.sync`. When something raises,
        no metric is synchronised.
        """
        self._live_plan()
        metrics = self._modules
        synced = [name for name, metric in metrics.items() if metric._is_synced]
        if synced and should_sync:
            raise TorchMetricsUserError(f"{', '.join(synced)} of the collection: synchronised.")
        taking_part = {
            name: metric
            for name, metric in metrics.items()
            if should_sync and (distributed_available or metric.distributed_available_fn)()
        }
        packed = {
            name: metric
            for name, metric in taking_part.items()
            if is_native(metric) and metric._packs()
        }
        others = {name: metric for name, metric in taking_part.items() if name not in packed}
        if async_op and others:
            raise TorchMetricsUserError(
                f"{', '.join(others)} of the collection: states that travel in their own way, not"
                " in the background."
            )
        try:
            handle = sync_metrics(packed, process_group, async_op)
            for metric in others.values():
                metric.sync(process_group=process_group, distributed_available=lambda: True)
        except BaseException:
            self.unsync(any(metric._is_synced for metric in metrics.values()))
            raise
        return handle

    @serial
    def unsync(self, should_unsync: bool = True) -> None:
        """Return to the states of this process.

        Raises:
            TorchMetricsUserError: no metric is synchronised.
        """
        if not should_unsync:
            return
        synced = [metric for metric in self._modules.values() if metric._is_synced]
        if not synced:
            raise TorchMetricsUserError("No metric of the collection is synchronised.")
        for metric in synced:
            metric.unsync()

    @contextmanager
    def sync_context(
        self,
        process_group: Any | None = None,
        should_sync: bool = True,
        should_unsync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> Generator[None, None, None]:
        """Hold the states of all processes inside a ``with`` block; arguments as for ``sync``."""
        self.sync(process_group, should_sync, distributed_available)
        try:
            yield
        finally:
            synced = any(metric._is_synced for metric in self._modules.values())
            self.unsync(should_unsync and synced)

    @serial
    def reset(self) -> None:
        """Reset all metrics; those that went their own way share a state again."""
        plan = self._plan
        if plan.holds() and not plan.apart:
            plan.reset()
            return
        for metric in self._modules.values():
            metric.reset()
        self._make_plan()

    @serial
    def state_bytes(self) -> bytes:
        """Return the states of all metrics as bytes, shared ones once.

        Raises:
            ValueError: there is a metric of torchmetrics.
        """
        return write_states(self._saved_metrics())

    @serial
    def from_state_bytes(self, data: bytes) -> Self:
        """Return a copy of this collection with the states of ``data`` instead of its own.

        Raises:
            ValueError: as for :meth:`fastmetrics.metric.Metric.from_state_bytes`.
        """
        fresh: Self = independent_copy(self)
        fresh.reset()
        read_states(data, fresh._saved_metrics())
        fresh.__dict__["_updated"] = any(m.update_called for m in fresh._modules.values())
        fresh._make_plan()
        return fresh

    def _saved_metrics(self) -> dict[str, Metric]:
        others = [name for name, m in self._modules.items() if not is_native(m)]
        if others:
            raise ValueError(f"Only metrics of fastmetrics can be saved as bytes, not {others}.")
        self._live_plan()
        return named_metrics(self)

    @serial
    def _merge_earlier(self, part: Self) -> None:
        """Merge the states of ``part``, a collection like this one that saw its data before."""
        for name, metric in self._modules.items():
            metric._merge_earlier(part._modules[name])
        self.__dict__["_updated"] |= part._updated
        self._make_plan()

    def clone(self, prefix: str | None = None, postfix: str | None = None) -> Self:
        """Return a deep copy, with another prefix or postfix if given."""
        copy = deepcopy(self)
        if prefix:
            copy.prefix = self._check_arg(prefix, "prefix")
        if postfix:
            copy.postfix = self._check_arg(postfix, "postfix")
        return copy

    def persistent(self, mode: bool | str = True) -> None:
        """Choose whether the states of the metrics are part of ``state_dict``.

        ``mode`` is as for :meth:`fastmetrics.metric.Metric.persistent`; where one of the metrics
        refuses it, none has changed.
        """
        if mode == UPSTREAM:
            for metric in self._modules.values():
                if isinstance(metric, Metric):
                    metric._check_upstream()
        for metric in self._modules.values():
            metric.persistent(mode)

    @serial
    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Convert the floating-point states of the metrics to ``dst_type``."""
        with self._live_plan().alone():
            for metric in self._modules.values():
                metric.set_dtype(dst_type)
        return self

    @serial
    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        apply: Any = super()._apply  # untyped in torch
        if all(is_native(m) and m._stays_under(fn) for m in self._modules.values()):
            apply(fn, recurse)
            return self
        with self._live_plan().alone():
            apply(fn, recurse)
        self._make_plan()  # what passes hold beside states has moved too
        return self

    @serial
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy whose metrics share what they share here."""
        new: Self = object.__new__(type(self))
        memo[id(self)] = new
        state = normal_tensor(lambda: deepcopy(self.__dict__, memo))
        new.__setstate__(state)
        return new

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Name the real class: pickle would compare it with ``__class__``."""
        return object.__new__, (type(self),), self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore all attributes."""
        if not upstream.became_theirs(self, state, "_plan"):
            super().__setstate__(state)  # type: ignore[no-untyped-call]  # untyped in torch

    def _set_name(self, base: str) -> str:
        return f"{self.prefix or ''}{base}{self.postfix or ''}"

    def _to_renamed_dict(self) -> dict[str, Any]:
        return {self._set_name(name): metric for name, metric in self._modules.items()}

    @serial
    def _compute_groups_create_state_ref(self, copy: bool = False) -> None:
        if copy:
            self._whole_plan().lend()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.keys())

    def keys(self, keep_base: bool = False) -> KeysView[str]:
        """Return the names, with prefix and postfix unless ``keep_base``."""
        return self._modules.keys() if keep_base else self._to_renamed_dict().keys()

    def items(self, keep_base: bool = False, copy_state: bool = True) -> ItemsView[str, Any]:
        """Return names and metrics.

        Args:
            keep_base: leave prefix and postfix out of the names.
            copy_state: give each metric a copy of the state it shares, until the next update.
        """
        self._compute_groups_create_state_ref(copy_state)
        return self._modules.items() if keep_base else self._to_renamed_dict().items()

    def values(self, copy_state: bool = True) -> ValuesView[Any]:
        """Return the metrics; ``copy_state`` as for ``items``."""
        self._compute_groups_create_state_ref(copy_state)
        return self._modules.values()

    def __getitem__(self, key: str, copy_state: bool = True) -> Any:
        """Return the metric of a name, with or without prefix and postfix."""
        self._compute_groups_create_state_ref(copy_state)
        return self._modules[key.removeprefix(self.prefix or "").removesuffix(self.postfix or "")]

    def __repr__(self) -> str:
        """Return the metrics, prefix and postfix."""
        text = super().__repr__()[:-2]
        if self.prefix:
            text += f",\n  prefix={self.prefix}"
        if self.postfix:
            text += f",\n  postfix={self.postfix}"
        return f"{text}\n)"

    def _get_name(self) -> str:
        return type(self).__name__  # torch asks `__class__`, which takes longer

    def plot(
        self,
        val: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
        ax: Any | None = None,
        together: bool = False,
    ) -> Any:
        """Plot values, by default those of ``compute``, in one figure per metric.

        Args:
            val: a result of ``compute`` or ``forward``, or a list of them.
            ax: one axis per metric to draw on; a single axis if ``together``.
            together: draw all metrics in one figure.

        Returns:
            A list of (figure, axis) pairs, or one pair if ``together``.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            ValueError: ``together`` is no bool, or ``ax`` does not fit it.
        """
        from fastmetrics.utilities.plot import are_axes, is_axis, plot_single_or_multi_val

        if not isinstance(together, bool):
            raise ValueError(f"`together` must be a bool, got {together!r}.")
        if ax is not None and together and not is_axis(ax):
            raise ValueError(f"`ax` must be one axis when `together=True`, got {ax!r}.")
        if ax is not None and not together and not are_axes(ax, len(self)):
            raise ValueError(
                f"`ax` must be a list of {len(self)} axes when `together=False`, got {ax!r}."
            )
        val = val or self.compute()
        if together:
            return plot_single_or_multi_val(val, ax=ax)
        figures = []
        for i, (name, metric) in enumerate(self.items(copy_state=False)):
            own = val[name] if isinstance(val, dict) else [step[name] for step in val]
            figures.append(metric.plot(own, ax=None if ax is None else ax[i]))
        return figures


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
