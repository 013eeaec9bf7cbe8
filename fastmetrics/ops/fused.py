"""Several statistics of the same `preds`, `target` and `weight`, updated together.

The batch is read once, in blocks that stay in the cache while every statistic takes them, and
either all states change or none. A job is what the op of a statistic takes besides the batch: its
family, state, events and arguments. All jobs of a batch travel as one list of tensors and one of
numbers per type, which a :class:`Program` prepares once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fastmetrics.ops import library
from fastmetrics.ops.error_sums import raise_if_no_deviance
from fastmetrics.ops.library import shape_text

_NAME = "fused_"

# How an argument travels: in `program` as one integer, or as two (whether there is one, and which),
# in `numbers`, in `edges`, or not at all because it must be None.
INT, FLAG, OPTIONAL_INT, NUMBER, EDGES, ABSENT = range(6)


class Family(NamedTuple):
    """What the op of a statistic takes besides the batch; csrc/fused.cpp reads the same order."""

    op: str
    global_axes: int  # of a state that does not count each sample on its own
    has_events: bool
    arguments: tuple[int, ...] = ()


# The code of a family in `program` is its place here.
FAMILIES = (
    Family("stat_scores_", 2, True, (INT, INT, OPTIONAL_INT, FLAG)),
    Family("confusion_", 2, True, (OPTIONAL_INT, FLAG)),
    Family("label_confusion_", 4, True, (ABSENT, NUMBER, FLAG, OPTIONAL_INT, FLAG)),
    Family("score_histogram_", 4, True, (EDGES, FLAG, FLAG, FLAG, OPTIONAL_INT, FLAG)),
    Family("calibration_bins_", 3, True, (EDGES, INT, FLAG, OPTIONAL_INT, FLAG)),
    Family("error_sums_", 2, False, (INT, NUMBER, NUMBER)),
    Family("co_moments_", 2, False),
)
_CODES = {family.op: code for code, family in enumerate(FAMILIES)}


class Update(NamedTuple):
    """One call of the op of a statistic, without the tensors of the batch and of the state."""

    op: str
    arguments: tuple[Any, ...]  # all that the op takes after `weight`, in its order


class Job(NamedTuple):
    """One decoded job of a call."""

    family: Family
    written: list[Tensor]  # the state, and the events if the op has them
    arguments: list[Any]


class Program:
    """Updates of several statistics, encoded once for many batches.

    Args:
        updates: what each statistic takes, in the order of the states. Tables per group and counts
            per sample cannot be fused.

    Raises:
        ValueError: an op, the number of its arguments or one that must be None is not as it should.

    Example:
        >>> import torch
        >>> from fastmetrics.ops.error_sums import SQUARED
        >>> from fastmetrics.ops.fused import Program, Update
        >>> confusion = Update("confusion_", (None, True))
        >>> squares = Update("error_sums_", (SQUARED, 1.0, 0.0))
        >>> matrix = torch.zeros(2, 2, dtype=torch.int64)
        >>> sums = torch.zeros(1, 2, dtype=torch.float64)
        >>> events = torch.zeros(3, dtype=torch.int64)
        >>> preds, target = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])
        >>> Program([confusion, squares]).run([matrix, sums], [events], preds, target, None)
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
        if update.op not in _CODES:
            raise ValueError(f"{_NAME}: `op` must be one of {tuple(_CODES)}, got {update.op!r}.")
        code = _CODES[update.op]
        kinds = FAMILIES[code].arguments
        if len(update.arguments) != len(kinds):
            raise ValueError(
                f"{_NAME}: {update.op} takes {len(kinds)} `arguments` after `weight`, got"
                f" {len(update.arguments)}."
            )
        self.program.append(code)
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
            events: int64 ``[3]``, one per update of an op that has events. Changed in place.
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
            family = FAMILIES[code]
            written = [next(left_states)]
            if family.has_events:
                written.append(next(left_events))
            arguments = [
                _decode(kind, left_edges, left_program, left_numbers) for kind in family.arguments
            ]
            jobs.append(Job(family, written, arguments))
    except (StopIteration, IndexError):
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
    states: list[Tensor],
    events: list[Tensor],
    edges: list[Tensor],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    program: list[int],
    numbers: list[float],
) -> None:
    """Metadata check of `fused_`, and its fake: that of every job."""
    for family, written, arguments in jobs_of(states, events, edges, program, numbers):
        if written[0].ndim != family.global_axes:
            raise ValueError(
                f"{_NAME}: {family.op} cannot be fused when it counts each sample on its own; its"
                f" state must have {family.global_axes} axes, got {shape_text(written[0])}."
            )
        library.CHECKS[family.op](*written, preds, target, weight, *arguments)


def fused_reference(
    states: list[Tensor],
    events: list[Tensor],
    edges: list[Tensor],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    program: list[int],
    numbers: list[float],
) -> None:
    """Plain torch twin of the compiled kernels."""
    # Copies change first, so that all states do or none.
    new_states, new_events = [s.clone() for s in states], [e.clone() for e in events]
    for family, written, arguments in jobs_of(new_states, new_events, edges, program, numbers):
        library.REFERENCES[family.op](*written, preds, target, weight, *arguments)
    for old, new in zip(states + events, new_states + new_events, strict=True):
        old.copy_(new)


_fused = library.define(
    _NAME,
    "(Tensor(a!)[] states, Tensor(b!)[] events, Tensor[] edges, Tensor preds, Tensor target,"
    " Tensor? weight, int[] program, float[] numbers)",
    fused_reference,
    check_fused,
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
    """Add one batch to several statistics; :class:`Program` writes the encoded arguments.

    Args:
        states: one per job, no two the same. Changed in place.
        events: int64 ``[3]``, one per job whose op has events, no two the same. Changed in place.
        edges: the tensors among the arguments of the jobs.
        preds: as every one of the ops takes it.
        target: as every one of the ops takes it.
        weight: optional ``[N]``.
        program: for each job the code of its family and its integers, as ``FAMILIES`` lists them.
        numbers: the float arguments of the jobs.

    Raises:
        ValueError: shapes, dtypes or devices do not fit; a position lies outside the domain of a
            deviance (CPU). No state is changed.
        RuntimeError: a label is out of range (CPU). No state is changed.

    Cost: reads each input once; temporaries are bounded by the sizes of the states.

    >>> import torch
    >>> from fastmetrics.ops.fused import fused_
    >>> matrix, events = torch.zeros(2, 2, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    >>> labels = torch.tensor([0, 1, 1])
    >>> fused_([matrix], [events], [], labels, labels, None, [1, 0, 0, 1], [])
    >>> matrix.tolist()
    [[1, 0], [0, 2]]
    """
    try:
        _fused(states, events, edges, preds, target, weight, program, numbers)
    except RuntimeError:
        for family, _, arguments in jobs_of(states, events, edges, program, numbers):
            if family.op == "error_sums_":
                raise_if_no_deviance(preds, target, arguments[0], arguments[2])
        raise
