"""Several statistics of the same `preds`, `target` and `weight`, updated together.

The batch is read once, in blocks that stay in the cache while every statistic takes them, and
either all states change or none. A job is what the op of a statistic takes besides the batch: its
family, state, events and arguments. All jobs of a batch travel as one list of tensors and one of
numbers per type, which a :class:`FusedCall` prepares once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import CHECKS, EXPLANATIONS, REFERENCES, define
from fastmetrics.ops.fusible import (
    ABSENT,
    EDGES,
    FAMILIES,
    FLAG,
    NUMBER,
    OP_OF_CODE,
    OPTIONAL_INT,
    Family,
)

__all__ = ["fused_"]

_NAME = "fused_"


class Update(NamedTuple):
    """One call of the op of a statistic, without the tensors of the batch and of the state."""

    op: str
    arguments: tuple[Any, ...]  # all that the op takes after `weight`, in its order


class Job(NamedTuple):
    """One decoded job of a call."""

    family: Family
    written: list[Tensor]  # the state, and the events if the op has them
    arguments: list[Any]


class FusedCall:
    """Updates of several statistics, encoded once for many batches.

    Args:
        updates: what each statistic takes, in the order of the states. Tables per group and counts
            per sample cannot be fused.

    Raises:
        ValueError: an op, the number of its arguments or one that must be None is not as it should.

    Example:
        >>> import torch
        >>> from fastmetrics.ops.error_sums import SQUARED
        >>> from fastmetrics.ops.fused import FusedCall, Update
        >>> confusion = Update("confusion_", (None, True))
        >>> squares = Update("error_sums_", (SQUARED, 1.0, 0.0))
        >>> matrix = torch.zeros(2, 2, dtype=torch.int64)
        >>> sums = torch.zeros(1, 2, dtype=torch.float64)
        >>> events = torch.zeros(4, dtype=torch.int64)
        >>> preds, target = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])
        >>> FusedCall([confusion, squares]).run([matrix, sums], [events], preds, target, None)
        >>> matrix.tolist(), sums.tolist()
        ([[1, 1], [0, 1]], [[1.0, 3.0]])
    """

    def __init__(self, updates: Sequence[Update]) -> None:
        self.edges: list[Tensor] = []
        self.program: list[int] = []
        self.numbers: list[float] = []
        for update in updates:
            self._encode(update)

    def _encode(self, update: Update) -> None:
        if update.op not in FAMILIES:
            raise ValueError(f"{_NAME}: `op` must be one of {tuple(FAMILIES)}, got {update.op!r}.")
        kinds = FAMILIES[update.op].arguments
        if len(update.arguments) != len(kinds):
            raise ValueError(
                f"{_NAME}: {update.op} takes {len(kinds)} `arguments` after `weight`, got"
                f" {len(update.arguments)}."
            )
        self.program.append(FAMILIES[update.op].code)
        for kind, value in zip(kinds, update.arguments, strict=True):
            if kind == EDGES:
                self.edges.append(value)
            elif kind == NUMBER:
                self.numbers.append(float(value))
            elif kind == OPTIONAL_INT:
                self.program += (0, 0) if value is None else (1, int(value))
            elif kind != ABSENT:
                self.program.append(int(value))
            elif value is not None:
                raise ValueError(f"{_NAME}: {update.op} cannot be fused with groups, got {value}.")

    def run(
        self,
        states: list[Tensor],
        events: list[Tensor],
        preds: Tensor,
        target: Tensor,
        weight: Tensor | None,
    ) -> None:
        """Add one batch to every state, or to none if one of the updates raises.

        Args:
            states: one per update, in their order. Changed in place.
            events: int64 ``[4]``, one per update of an op that has events. Changed in place.
            preds: as every one of the ops takes it.
            target: as every one of the ops takes it.
            weight: optional ``[N]``.

        Raises:
            ValueError: shapes, dtypes or devices do not fit, or a position has no deviance.
            RuntimeError: a label is out of range (CPU); no state is changed.
        """
        fused_(states, events, self.edges, preds, target, weight, self.program, self.numbers)


def _decode(
    kind: int, edges: Iterator[Tensor], program: Iterator[int], numbers: Iterator[float]
) -> Tensor | float | None:
    if kind == ABSENT:
        return None
    if kind == EDGES:
        return next(edges)
    if kind == NUMBER:
        return next(numbers)
    value = next(program)
    if kind == OPTIONAL_INT:
        number = next(program)
        return number if value else None
    return bool(value) if kind == FLAG else value


def jobs_of(
    states: list[Tensor],
    events: list[Tensor],
    edges: list[Tensor],
    program: list[int],
    numbers: list[float],
) -> list[Job]:
    """Decode the jobs of one call.

    Raises:
        ValueError: the lists do not fit each other.
    """
    left_states, left_events, left_edges = iter(states), iter(events), iter(edges)
    left_program, left_numbers = iter(program), iter(numbers)
    jobs = []
    try:
        for code in left_program:
            family = FAMILIES[OP_OF_CODE[code]]
            written = [next(left_states)]
            if family.has_events:
                written.append(next(left_events))
            arguments = [
                _decode(kind, left_edges, left_program, left_numbers) for kind in family.arguments
            ]
            jobs.append(Job(family, written, arguments))
    except (StopIteration, KeyError):
        fits = False
    else:
        left = (left_states, left_events, left_edges, left_numbers)
        fits = all(next(some, None) is None for some in left)
    if not fits:
        raise ValueError(
            f"{_NAME}: `states`, `events`, `edges`, `program` and `numbers` do not fit each other,"
            f" got {len(states)}, {len(events)}, {len(edges)}, {program} and {numbers}."
        )
    return jobs


def check_fused(
    states: list[Tensor], events: list[Tensor], edges: list[Tensor], preds: Tensor, target: Tensor,
    weight: Tensor | None, program: list[int], numbers: list[float],
) -> None:  # fmt: skip
    """Metadata check of `fused_`, and its fake: that of every job."""
    for family, written, arguments in jobs_of(states, events, edges, program, numbers):
        if written[0].ndim != family.axes:
            raise ValueError(
                f"{_NAME}: {family.op} cannot be fused when it counts each sample on its own; its"
                f" state must have {family.axes} axes, got {shape_text(written[0])}."
            )
        CHECKS[family.op](*written, preds, target, weight, *arguments)


def fused_reference(
    states: list[Tensor], events: list[Tensor], edges: list[Tensor], preds: Tensor, target: Tensor,
    weight: Tensor | None, program: list[int], numbers: list[float],
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    # Copies change first, so that all states do or none.
    new_states, new_events = [s.clone() for s in states], [e.clone() for e in events]
    for family, written, arguments in jobs_of(new_states, new_events, edges, program, numbers):
        REFERENCES[family.op](*written, preds, target, weight, *arguments)
    for old, new in zip(states + events, new_states + new_events, strict=True):
        old.copy_(new)


def explain_fused(
    states: list[Tensor],
    events: list[Tensor],
    edges: list[Tensor],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    program: list[int],
    numbers: list[float],
) -> None:
    """Word what the kernel of one of the jobs refused."""
    for family, written, arguments in jobs_of(states, events, edges, program, numbers):
        if family.op in EXPLANATIONS:
            EXPLANATIONS[family.op](*written, preds, target, weight, *arguments)


_fused = define(
    _NAME,
    "(Tensor(a!)[] states, Tensor(b!)[] events, Tensor[] edges, Tensor preds, Tensor target,"
    " Tensor? weight, int[] program, float[] numbers)",
    fused_reference,
    check_fused,
    explain_fused,
)


def fused_(
    states: list[Tensor],
    events: list[Tensor],
    edges: list[Tensor],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    program: list[int],
    numbers: list[float],
) -> None:
    """Add one batch to several statistics; :class:`FusedCall` writes the encoded arguments.

    Args:
        states: one per job, no two the same. Changed in place.
        events: int64 ``[4]``, one per job whose op has events, no two the same. Changed in place.
        edges: the tensors among the arguments of the jobs.
        preds: as every one of the ops takes it.
        target: as every one of the ops takes it.
        weight: optional ``[N]``.
        program: for each job the code of its op and its integers.
        numbers: the float arguments of the jobs.

    Raises:
        ValueError: shapes, dtypes or devices do not fit; a position lies outside the domain of a
            deviance (CPU). No state is changed.
        RuntimeError: a label is out of range (CPU). No state is changed.

    Cost: reads each input once; temporaries are bounded by the sizes of the states.

    >>> import torch
    >>> from fastmetrics.ops.fused import fused_
    >>> from fastmetrics.ops.fusible import code_of
    >>> matrix, events = torch.zeros(2, 2, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    >>> labels = torch.tensor([0, 1, 1])
    >>> program = [code_of("confusion_"), 0, 0, 1]
    >>> fused_([matrix], [events], [], labels, labels, None, program, [])
    >>> matrix.tolist()
    [[1, 0], [0, 2]]
    """
    _fused(states, events, edges, preds, target, weight, program, numbers)
