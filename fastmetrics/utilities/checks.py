"""Argument rules shared by classes and functionals: each rule and its message lives here once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

INPUTS = ("auto", "probs", "logits")
AVERAGES = ("micro", "macro", "weighted", "none", None)
NORMALIZATIONS = ("true", "pred", "all", "none", None)
KAPPA_WEIGHTS = ("linear", "quadratic", "none", None)
FAIRNESS_TASKS = ("demographic_parity", "equal_opportunity", "all")
MULTIDIM_AVERAGES = ("global", "samplewise")


def check_choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``allowed``."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {allowed}, got {value!r}.")


def check_unit_interval(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a float in [0, 1]."""
    if not (isinstance(value, float) and 0.0 <= value <= 1.0):
        raise ValueError(f"`{name}` must be a float in [0, 1], got {value!r}.")


def check_int(name: str, value: Any, minimum: int) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer of at least ``minimum``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"`{name}` must be an integer of at least {minimum}, got {value!r}.")


def check_ignore_index(value: Any) -> None:
    """Raise ``ValueError`` unless ``ignore_index`` is None or an integer."""
    if value is not None and not isinstance(value, int):
        raise ValueError(f"`ignore_index` must be None or an integer, got {value!r}.")


def check_zero_division(value: Any) -> None:
    """Raise ``ValueError`` unless ``zero_division`` is 0, 1 or NaN."""
    if value not in (0, 1) and value == value:
        raise ValueError(f"`zero_division` must be 0, 1 or NaN, got {value!r}.")


def check_top_k(top_k: Any, num_classes: int | None) -> None:
    """Raise ``ValueError`` unless ``top_k`` is in [1, num_classes], or 1 where that is unknown."""
    check_int("top_k", top_k, 1)
    if top_k > (num_classes or 1):
        raise ValueError(f"`top_k` must be at most num_classes={num_classes}, got {top_k}.")


def check_beta(value: Any) -> None:
    """Raise ``ValueError`` unless ``beta`` is a positive float."""
    if not (isinstance(value, float) and value > 0.0):
        raise ValueError(f"`beta` must be a float above 0, got {value!r}.")
