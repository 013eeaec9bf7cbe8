"""What all metrics of texts stand on: strings as arguments, kernels over them, sums of their rows.

A kernel fills one row of numbers for each sample, whatever it looks at: ``rows`` is float64
``[N, K]`` on the CPU. A statistic (:class:`TextSums`) adds up these rows, weighted if asked to, and
may keep them. Strings are read where the interpreter has them, and never kept.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from typing_extensions import override

from fastmetrics.core.states import Batch, States
from fastmetrics.core.statistic import Statistic, check_form
from fastmetrics.ops import backend
from fastmetrics.ops.checks import check_weight
from fastmetrics.ops.faults import report_weight_sums, weight_or_nan

F = TypeVar("F", bound=Callable[..., Any])

Texts = Sequence[str]

# The reference of each kernel, by name; `edit_rows` of the compiled module serves `edit_rows` here.
KERNELS: dict[str, Callable[..., Any]] = {}


def every_kernel() -> dict[str, Callable[..., Any]]:
    """Return the reference of each kernel; the modules are loaded for it, as texts are rare."""
    for family in ("edits", "extended_edits", "shifts", "ngrams", "chrf", "rouge"):
        importlib.import_module(f"fastmetrics.ops.{family}")
    return KERNELS


def uncompiled(function: F) -> F:
    """Return a function that compiled steps leave alone, and all that it calls.

    They would be compiled again for other strings.
    """
    left_alone: list[F] = []

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        if is_dynamo_compiling():
            torch._dynamo.skip_frame()
        if "torch._dynamo" not in sys.modules:
            return function(*args)
        if not left_alone:
            left_alone.append(torch._dynamo.disable(function))
        return left_alone[0](*args)

    return run  # type: ignore[return-value]  # the same arguments


def kernel(reference: F) -> F:
    """Return what runs the compiled function of that name, or ``reference`` where there is none.

    It takes ``rows``, float64 ``[N, K]`` to be filled, unless it returns something; then flat
    sequences of strings, then numbers. The compiled function takes the address of the rows, which
    fake tensors and other subclasses do not have.
    """
    name = reference.__name__
    KERNELS[name] = reference

    @functools.wraps(reference)
    def run(first: Any, *args: Any) -> Any:
        if is_dynamo_compiling():
            torch._dynamo.skip_frame()  # and run this uncompiled
        if backend.native is None or (isinstance(first, Tensor) and type(first) is not Tensor):
            return reference(first, *args)
        at = first.data_ptr() if isinstance(first, Tensor) else first
        return getattr(backend.native, name)(at, *args)

    return run  # type: ignore[return-value]  # the same arguments


def rows_for(samples: Sequence[Any], columns: int) -> Tensor:
    """Return what a kernel fills, on the host: float64 ``[N, K]``."""
    return torch.empty(len(samples), columns, dtype=torch.float64, device="cpu")


def texts_of(name: str, value: Any, wanted: str = "a string or a sequence of strings") -> Texts:
    """Return an argument that is one string or several as a sequence; kernels look at each.

    Raises:
        ValueError: it is neither; text in another form is refused, too.
    """
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, Mapping, Set)):
        return tuple(value)
    raise ValueError(f"`{name}` must be {wanted}, got {type(value).__name__}.")


def check_each(name: str, texts: Iterable[Any], place: str = "position {}") -> None:
    """Raise ``ValueError`` for the first that is no string."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"`{name}` must hold strings, got {type(text).__name__} at {place.format(i)}."
            )


def check_as_many(preds: Sequence[Any], target: Sequence[Any]) -> None:
    """Raise ``ValueError`` unless there are as many predictions as targets."""
    if len(preds) != len(target):
        raise ValueError(
            f"`preds` and `target` must have the same length, got {len(preds)} and {len(target)}."
        )


def pairs_of(preds: Any, target: Any) -> tuple[Texts, Texts]:
    """Return predictions and targets, one each for a sample.

    Raises:
        ValueError: an argument is no string and no sequence of them, or their numbers differ.
    """
    found = texts_of("preds", preds), texts_of("target", target)
    check_as_many(*found)
    return found


def with_references(preds: Any, target: Any) -> tuple[Texts, list[Texts]]:
    """Return predictions, and for each its references.

    As in torchmetrics, a flat sequence of strings is the references of the one prediction, or one
    reference for each of several.

    Raises:
        ValueError: an argument is none of that, something in them is no string, their numbers
            differ, or a prediction has no reference.
    """
    hypotheses = texts_of("preds", preds)
    check_each("preds", hypotheses)
    given = texts_of("target", target)
    if given and all(isinstance(each, str) for each in given):
        given = [given] if len(hypotheses) == 1 else [(each,) for each in given]  # type: ignore[list-item, misc]
    if not hypotheses and not any(given):  # a list without references stands for no samples, too
        given = []
    check_as_many(hypotheses, given)
    references = [
        each if isinstance(each, (list, tuple)) else texts_of(f"target[{i}]", each)
        for i, each in enumerate(given)
    ]
    every = itertools.chain.from_iterable(references)
    if all(references) and all(map(isinstance, every, itertools.repeat(str))):
        return hypotheses, references
    for i, each in enumerate(references):
        check_each("target", each, f"position {i}, reference {{}}")
        if not each:
            raise ValueError(f"`target` must hold references, got none at position {i}.")
    return hypotheses, references


def firsts_of(references: Iterable[Texts]) -> list[int]:
    """Return where the references of each sample begin, ``[N + 1]``, once they are laid in line."""
    return [0, *itertools.accumulate(map(len, references))]


class TextSums(Statistic):
    """Sums over samples of what a kernel finds in each of them, ``sums`` ``[K]``.

    The last column of a row is the weight of the sample. A subclass says ``rows_of`` and
    ``columns``.

    Attributes:
        keeps_rows: whether the rows of all samples are kept instead: ``rows``, a list of
            ``[N, K]``. Only their last column is weighted.
        columns: the names of the columns.
    """

    keeps_rows: bool
    columns: ClassVar[tuple[str, ...]]
    exact: ClassVar[tuple[str, ...]] = ("sums", "rows")

    def rows_of(self, preds: Any, target: Any) -> Tensor:
        """Return the row of each sample, float64 ``[N, K]`` on the CPU.

        Raises:
            ValueError: the arguments are no strings, or do not belong together.
        """
        raise NotImplementedError

    @uncompiled
    def numbers_of(self, preds: Any, target: Any) -> list[float]:
        """Return the sums of one batch, whose samples all weigh 1."""
        rows = self.rows_of(preds, target)
        found: list[float] = (rows if len(rows) == 1 else rows.sum(0, keepdim=True)).tolist()[0]
        return found

    def add_sums(self, sums: Tensor, preds: Any, target: Any) -> None:
        """Add up the rows, which all weigh 1, on the CPU."""
        sums += self.rows_of(preds, target).sum(0)

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"rows": "cat"} if self.keeps_rows else {"sums": "sum"}

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # see `keeps_rows`
        return (("rows",),) if self.keeps_rows else ()

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        if self.keeps_rows:
            return {"rows": []}
        return {"sums": torch.zeros(len(self.columns), dtype=torch.float64, device=device)}

    @override
    @uncompiled
    def add(self, states: States, preds: Any, target: Any, weight: Tensor | None = None) -> None:
        if weight is None and not self.keeps_rows and states.values["sums"].is_cpu:
            self.add_sums(states.values["sums"], preds, target)  # by far the most common
        else:
            self.add_rows(states, self.rows_of(preds, target), weight)

    def add_rows(self, states: States, rows: Tensor, weight: Tensor | None) -> None:
        """Add the rows of one batch, which nobody else holds, or keep them."""
        if weight is not None:
            self.weigh(rows, weight)
        if self.keeps_rows:
            states.values["rows"].append(rows)
            return
        if weight is not None:
            rows[:, :-1] *= rows[:, -1:]
        states.values["sums"] += rows.sum(0).to(states.values["sums"].device)

    def weigh(self, rows: Tensor, weight: Tensor) -> None:
        """Multiply the last column by the weight of each sample, NaN for one that is bad.

        Raises:
            TypeError: these are no weights.
            ValueError: there is not one for each sample.
        """
        check_weight(self.op.__name__, rows, weight.cpu(), rows.shape[0])
        rows[:, -1] *= weight_or_nan(weight.cpu())

    def sums(self, states: States) -> Tensor:
        """Return the sums, float64 ``[K]``."""
        if not self.keeps_rows:
            sums: Tensor = states.values["sums"]
            return sums
        rows = self.rows_in(states)
        weights = rows[:, -1:]
        return torch.cat([(rows[:, :-1] * weights).sum(0), weights.sum(0)])

    def rows_in(self, states: States) -> Tensor:
        """Return the rows of all samples, float64 ``[N, K]``, where they are kept."""
        rows: Tensor | list[Tensor] = states.values["rows"]
        if not isinstance(rows, list):
            return rows
        return torch.cat(rows) if rows else torch.zeros(0, len(self.columns), dtype=torch.float64)

    @override
    def report(self, owner: str, states: States) -> None:
        """Warn of weights that are none."""
        report_weight_sums(owner, self.sums(states).unsqueeze(0), -1)

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Take the sums of one that keeps the rows of the same."""
        if not isinstance(other, TextSums) or self.keeps_rows or not other.keeps_rows:
            return None
        same = dataclasses.replace(other, keeps_rows=False) == self
        return {"sums": other.sums(states)} if same else None

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        check_form(names[0], tensors[0], ("N", len(self.columns)), torch.float64)


def count_texts(
    statistic: TextSums, owner: str, preds: Any, target: Any, weight: Tensor | None = None
) -> States:
    """Return the states of one batch, reported on; for the function ``owner``."""
    states = Batch(statistic.empty())
    statistic.add(states, preds, target, weight)
    if weight is not None:
        statistic.report(owner, states)
    return states
