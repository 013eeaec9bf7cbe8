"""Argument rules shared by classes and functionals: each rule and its message lives here once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastmetrics.utilities.fallback import names_of_others

if TYPE_CHECKING:
    from fastmetrics.metric import Metric

__all__ = ["check_forward_full_state_property"]

INPUTS = ("auto", "probs", "logits")
AVERAGES = ("micro", "macro", "weighted", "none", None)
NORMALIZATIONS = ("true", "pred", "all", "none", None)
KAPPA_WEIGHTS = ("linear", "quadratic", "none", None)
FAIRNESS_TASKS = ("demographic_parity", "equal_opportunity", "all")
MULTIDIM_AVERAGES = ("global", "samplewise")


def check_choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``allowed``."""
    allowed = tuple(allowed)
    is_plain = value is None or isinstance(value, (str, int))  # arrays compare by element
    if not is_plain or value not in allowed:
        raise ValueError(f"`{name}` must be one of {allowed}, got {value!r}.")


def check_bool(name: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be a bool, got {value!r}.")


def check_unit_interval(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a float in [0, 1]."""
    if not (isinstance(value, float) and 0.0 <= value <= 1.0):
        raise ValueError(f"`{name}` must be a float in [0, 1], got {value!r}.")


def check_int(name: str, value: Any, minimum: int) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer in [minimum, 2^31)."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"`{name}` must be an integer of at least {minimum}, got {value!r}.")
    if value >= 2**31:  # labels are held in 32 bits, and a state has an entry for each
        raise ValueError(f"`{name}` must be below 2**31, got {value}.")


def check_number(name: str, value: Any) -> None:
    """Raise ``TypeError``, as torchmetrics does, unless ``value`` is a number."""
    if not isinstance(value, (int, float)):
        raise TypeError(f"`{name}` must be a number, got {value!r}.")


def as_floats(name: str, values: Any) -> list[float]:
    """Return numbers as a list; raise ``ValueError`` unless they are a sequence of some."""
    try:
        return [*map(float, values)]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"`{name}` must be a list of numbers, got {values!r:.80}.") from None


def check_ignore_index(value: Any) -> None:
    """Raise ``ValueError`` unless ``ignore_index`` is None or an integer of 64 bits."""
    if value is not None and not isinstance(value, int):
        raise ValueError(f"`ignore_index` must be None or an integer, got {value!r}.")
    if value is not None and not -(2**63) <= value < 2**63:
        raise ValueError(f"`ignore_index` must be an integer of 64 bits, got {value}.")


def check_thresholding(threshold: Any, ignore_index: Any, input: Any) -> None:
    """Raise ``ValueError`` unless scores can be cut at ``threshold`` under these rules."""
    check_unit_interval("threshold", threshold)
    check_ignore_index(ignore_index)
    check_choice("input", input, INPUTS)


def check_zero_division(value: Any) -> None:
    """Raise ``ValueError`` unless ``zero_division`` is 0, 1 or NaN."""
    if not isinstance(value, Real) or (value not in (0, 1) and value == value):
        raise ValueError(f"`zero_division` must be 0, 1 or NaN, got {value!r}.")


def is_samplewise(multidim_average: Any, validate_args: bool = True) -> bool:
    """Return whether each sample has a value; raise ``ValueError`` unless that or "global"."""
    if validate_args is not False:
        check_choice("multidim_average", multidim_average, MULTIDIM_AVERAGES)
    samplewise: bool = multidim_average == "samplewise"
    return samplewise


def check_top_k(top_k: Any, num_classes: int | None) -> None:
    """Raise ``ValueError`` unless ``top_k`` is in [1, num_classes], or 1 where that is unknown."""
    check_int("top_k", top_k, 1)
    if top_k > (num_classes or 1):
        raise ValueError(f"`top_k` must be at most num_classes={num_classes}, got {top_k}.")


def check_beta(value: Any) -> None:
    """Raise ``ValueError`` unless ``beta`` is a positive float with a square."""
    if not (isinstance(value, float) and value > 0.0):
        raise ValueError(f"`beta` must be a float above 0, got {value!r}.")
    if value > 1e150:
        raise ValueError(f"`beta` must be at most 1e150, got {value!r}.")


def _check_same_shape(preds: Tensor, target: Tensor) -> None:
    """Raise ``RuntimeError`` unless both have one shape."""
    if preds.shape != target.shape:
        raise RuntimeError(
            f"`preds` and `target` must have the same shape, got {tuple(preds.shape)} and"
            f" {tuple(target.shape)}."
        )


def check_forward_full_state_property(
    metric_class: type[Metric],
    init_args: dict[str, Any] | None = None,
    input_args: dict[str, Any] | None = None,
    num_update_to_compare: Sequence[int] = (10, 100, 1000),
    reps: int = 5,
) -> None:
    """Print which ``full_state_update`` a metric should have, and what each takes if both work.

    Args:
        metric_class: the class of the metric.
        init_args: what to make it with.
        input_args: a batch, by name.
        num_update_to_compare: numbers of steps; the values of the first many are compared, then
            each number is timed.
        reps: how often each number is timed; the fastest counts.

    >>> import torch
    >>> from fastmetrics import MeanMetric
    >>> from fastmetrics.utilities import check_forward_full_state_property
    >>> batch = {"value": torch.ones(3)}
    >>> check_forward_full_state_property(MeanMetric, {}, batch, [2], 1)  # doctest: +ELLIPSIS
    Full state for 2 steps took: ... s
    Partial state for 2 steps took: ... s
    Recommended setting `full_state_update=...`
    """
    makes = [
        type(metric_class.__name__, (metric_class,), {"full_state_update": full})
        for full in (True, False)
    ]
    full, partial = (make(**(init_args or {})) for make in makes)
    batch = input_args or {}
    if not _same_values(full, partial, batch, num_update_to_compare[0]):
        print("Recommended setting `full_state_update=True`")
        return
    for steps in num_update_to_compare:
        times = [_fastest(metric, batch, steps, reps) for metric in (full, partial)]
        print(f"Full state for {steps} steps took: {times[0]:.3g} s")
        print(f"Partial state for {steps} steps took: {times[1]:.3g} s")
    print(f"Recommended setting `full_state_update={times[0] <= times[1]}`")


def _same_values(full: Metric, partial: Metric, batch: dict[str, Any], steps: int) -> bool:
    """Whether two metrics have the same values in ``forward`` and, after that, in ``compute``."""
    try:
        for _ in range(steps):
            torch.testing.assert_close(partial(**batch), full(**batch), equal_nan=True)
        torch.testing.assert_close(partial.compute(), full.compute(), equal_nan=True)
    except (AssertionError, RuntimeError):  # an update may need the states that are not there
        return False
    return True


def _fastest(metric: Metric, batch: dict[str, Any], steps: int, reps: int) -> float:
    times = []
    for _ in range(reps):
        metric.reset()
        start = perf_counter()
        for _ in range(steps):
            metric(**batch)
        times.append(perf_counter() - start)
    return min(times)


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
