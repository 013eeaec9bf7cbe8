"""Ratios of the counts of classes, and their averages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.counted import (
    FEW,
    IN_ORDER,
    TABLE_ORDER,
    Counts,
    divide,
    is_readable,
)
from fastmetrics.ops.define import DIRECT, define
from fastmetrics.ops.faults import NUM_EVENTS
from fastmetrics.utilities.data import scalar, vector

__all__ = ["ratio_"]

_NAME = "ratio_"

# How the ratios of classes become one.
MEANS = range(6)
APART, TOGETHER, OF_ALL, OF_SEEN, OF_TARGETED, BY_TARGETS = MEANS


# What `ratio_` is given beside counts: terms, mean, undefined, nothing.
Rule = tuple[list[float], int, float, float]


def check_ratio(
    value: Tensor, counts: Tensor, events: Tensor | None, terms: Sequence[float], mean: int,
    undefined: float, nothing: float,
) -> None:  # fmt: skip
    """Metadata check of `ratio_`, and its fake."""
    axes, last = (2, (4,)) if events is None else (4, (2, 2))
    tables = counts.ndim >= axes and counts.shape[-len(last) :] == last
    if not tables or (events is not None and counts.shape[-4] not in (1, 2)):
        form = "[..., C, 4]" if events is None else "[..., H, C, 2, 2] with H of 1 or 2"
        raise ValueError(f"{_NAME}: `counts` must be {form}, got {shape_text(counts)}.")
    if counts.dtype not in (torch.int64, torch.float64) or not counts.is_contiguous():
        raise ValueError(
            f"{_NAME}: `counts` must be contiguous int64 or float64, got {counts.dtype} with"
            f" strides {counts.stride()}."
        )
    if events is not None and (events.shape != (NUM_EVENTS,) or events.dtype != torch.int64):
        raise ValueError(
            f"{_NAME}: `events` must be int64 [{NUM_EVENTS}], got {events.dtype} with"
            f" {shape_text(events)}."
        )
    if len(terms) != 8 or mean not in MEANS:
        raise ValueError(
            f"{_NAME}: there must be eight `terms` and `mean` one of {[*MEANS]}, got"
            f" {len(terms)} terms and {mean}."
        )
    shape = _shape_of(counts.shape, mean, events is not None)
    fits = value.shape == shape and value.is_contiguous() and value.device == counts.device
    if not fits or value.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{_NAME}: `value` must be contiguous float32 or float64 with shape {shape} on"
            f" {counts.device}, got {value.dtype} with {shape_text(value)} on {value.device}."
        )


def _shape_of(counts: Sequence[int], mean: int, tables: bool) -> tuple[int, ...]:
    """Return the shape of the value of counts in this shape."""
    sets = counts[: -4 if tables else -2]
    return (*sets, counts[-3 if tables else -2]) if mean == APART else (*sets,)


def _sum(terms: Sequence[float], columns: Sequence[Tensor]) -> Tensor:
    """Return the columns, each times its factor, added up."""
    used = [(t, x) for t, x in zip(terms, columns, strict=True) if t]
    first, *others = (x if t == 1 else t * x for t, x in used)
    return functools.reduce(torch.add, others, first)


def _value_of(columns: Sequence[Tensor], rule: Rule) -> Tensor:
    """Return the float64 value of tp, fp, tn and fn, each ``[..., C]``."""
    terms, mean, undefined, nothing = rule
    if mean == TOGETHER:
        columns = [x.sum(-1) for x in columns]
    score = divide(_sum(terms[:4], columns), _sum(terms[4:], columns), undefined)
    if mean in (APART, TOGETHER):
        return score
    tp, fp, _, fn = columns
    if mean == OF_ALL:
        weight = torch.ones_like(score)
    else:
        weight = tp + fn + fp if mean == OF_SEEN else tp + fn
        weight = weight if mean == BY_TARGETS else weight.sign()
    if undefined != undefined:
        weight = weight * (score == score)
        score = score.nan_to_num(0.0)
    return divide((score * weight).sum(-1), weight.sum(-1), nothing)


def ratio_reference(
    value: Tensor, counts: Tensor, events: Tensor | None, terms: Sequence[float], mean: int,
    undefined: float, nothing: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    found = Counts(counts, IN_ORDER if events is None else TABLE_ORDER, events=events)
    rule = ([*terms], mean, undefined, nothing)
    value.copy_(_value_of(found.columns(torch.float64), rule))


_ratio = define(
    _NAME,
    "(Tensor(a!) value, Tensor counts, Tensor? events, float[] terms, int mean, float undefined,"
    " float nothing)",
    ratio_reference,
    check_ratio,
    in_compute=True,
    triton=False,
)


def ratio_(
    value: Tensor,
    counts: Tensor,
    events: Tensor | None,
    terms: Sequence[float],
    mean: int,
    undefined: float,
    nothing: float,
) -> None:
    """Write the ratio of two sums of ``tp, fp, tn, fn`` for each class, or its average.

    ``(t0 tp + t1 fp + t2 tn + t3 fn) / (t4 tp + t5 fp + t6 tn + t7 fn)``, in float64.

    Args:
        value: float32 or float64, ``[...]``, with ``APART`` ``[..., C]``. Overwritten.
        counts: int64 or float64 ``[..., C, 4]``: tp, fp, tn and fn of each class. Beside events
            ``[..., H, C, 2, 2]``: tables ``[target, prediction]`` of scores as probabilities and,
            with H = 2, as logits.
        events: int64 ``[4]``; the logits are read if any score lay outside ``[0, 1]``.
        terms: the eight factors t.
        mean: ``APART``: none. ``TOGETHER``: the ratio of the sums over classes. The mean over
            ``OF_ALL`` classes, ``OF_SEEN`` those that occur in predictions or targets,
            ``OF_TARGETED`` those with targets. ``BY_TARGETS``: weighted by ``tp + fn``. Of this
            module.
        undefined: the value of 0/0; NaN has no part in means.
        nothing: a mean over no class.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or there is no such mean.

    >>> import torch
    >>> from fastmetrics.ops import ratio_
    >>> from fastmetrics.ops.ratio import OF_ALL
    >>> counts, value = torch.tensor([[3, 1, 5, 1], [2, 2, 6, 0]]), torch.empty(())
    >>> precision = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]  # tp / (tp + fp)
    >>> ratio_(value, counts, None, precision, OF_ALL, undefined=0.0, nothing=0.0)
    >>> value
    tensor(0.6250)
    """
    _ratio(value, counts, events, terms, mean, undefined, nothing)


def ratio_of(counts: Counts, rule: Rule) -> Tensor:
    """Return the float32 value of counts."""
    mean = rule[1]
    state, events, apart = counts.state, counts.events, mean == APART
    tables = events is not None
    known = counts.order == (TABLE_ORDER if tables else IN_ORDER)
    if known and not is_dynamo_compiling() and state.ndim == (4 if tables else 2):
        classes = state.shape[-3 if tables else -2]
        if not apart or classes <= FEW:
            form = (True, classes) if apart else (True,)
            found = DIRECT[_NAME](form, state, events, *rule)
            if found:
                return vector(found[0]) if apart else scalar(found[0][0])
    if not (known and is_readable(state)):  # operations that torch fuses, or leaves on the device
        return _value_of(counts.columns(torch.float64), rule).float()
    shape = _shape_of(state.shape, mean, tables)
    value = torch.empty(shape, dtype=torch.float32, device=state.device)
    _ratio(value, state.contiguous(), events, *rule)
    return value


def ratio_of_numbers(
    shape: tuple[int, ...], tables: bool, rule: Rule
) -> Callable[[list[Any], list[int]], Tensor | None]:
    """Return what values counts and events that came as numbers, or answers None.

    Args:
        shape: of the counts.
        tables: whether they are tables, which events choose.
        rule: for the value.
    """
    mean = rule[1]
    wanted = (True, *_shape_of(shape, mean, tables))
    run = DIRECT[_NAME]

    def value(counts: list[Any], events: list[int]) -> Tensor | None:
        beside = (events, NUM_EVENTS) if tables else None
        found = run(wanted, (counts, *shape), beside, *rule)
        if not found:
            return None
        return vector(found[0]) if len(wanted) > 1 else scalar(found[0][0])

    return value
