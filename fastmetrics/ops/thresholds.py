"""Thresholds, and how they are laid out for `score_histogram_`."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fastmetrics.utilities.checks import check_int
from fastmetrics.utilities.data import makes_plain_tensors, packed_attributes
from fastmetrics.utilities.recording import is_recorded
from fastmetrics.utilities.refusals import REAL_DTYPES, REAL_TENSOR, what_else

Thresholds = int | list[float] | Tensor | str | None

RANKED = "auto"


def check_thresholds(thresholds: Any) -> None:
    """Raise ``ValueError`` unless ``thresholds`` says where a curve is evaluated."""
    if thresholds is None or (isinstance(thresholds, str) and thresholds == RANKED):
        return
    if isinstance(thresholds, int):
        check_int("thresholds", thresholds, 2)
    elif isinstance(thresholds, list):
        if not thresholds or not all(isinstance(t, float) and 0 <= t <= 1 for t in thresholds):
            raise ValueError(
                f"`thresholds` must be a list of at least one float in [0, 1], got {thresholds!r}."
            )
    elif isinstance(thresholds, Tensor):
        found = what_else(thresholds)
        if found is None and thresholds.dtype not in REAL_DTYPES:
            found = f"dtype {thresholds.dtype}"
        if found is not None:
            raise ValueError(f"`thresholds` must be {REAL_TENSOR}, got {found}.")
        if thresholds.ndim != 1 or not thresholds.numel():
            raise ValueError(
                "`thresholds` must be a tensor with one axis and at least one element, got shape"
                f" {tuple(thresholds.shape)}."
            )
    else:
        raise ValueError(
            f"`thresholds` must be None, {RANKED!r}, an integer, a list of floats or a tensor,"
            f" got {thresholds!r}."
        )


@dataclass(eq=False, repr=False)
class Grid:
    """Thresholds that were given: as the user sees them, and as the op compares them.

    Grids are equal where scores are compared with equal numbers, on whatever device.

    Attributes:
        thresholds: ``[T]``, in the order and dtype in which they were given.
        edges: float64 ``[H, T]``, ascending, for each interpretation of the scores.
        uniform: whether they are ``linspace(0, 1, T)``.
        order: ``[T]``, where each threshold stands among the descending ones; None when they are
            known to ascend.
    """

    thresholds: Tensor
    edges: Tensor
    uniform: bool
    order: Tensor | None
    _values: tuple[float, ...] | None = field(default=None, init=False)
    _real: Grid | None = field(default=None, init=False)  # where the numbers of a meta grid are

    __getstate__ = packed_attributes

    @property
    def values(self) -> tuple[float, ...]:
        """All edges as numbers; a GPU is asked for them once."""
        if self._values is None:
            self._values = tuple(self.edges.flatten().tolist())
        return self._values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    def __repr__(self) -> str:
        return f"Grid{self.values}"

    def to(self, device: torch.device) -> Grid:
        """Return the same thresholds on ``device``."""
        if self.edges.device == device:
            return self
        if self._real is not None:
            return self._real.to(device)
        order = None if self.order is None else self.order.to(device)
        moved = Grid(self.thresholds.to(device), self.edges.to(device), self.uniform, order)
        if device.type == "meta":  # where the numbers are gone
            moved._real = self
        moved._values = self.values if device.type == "meta" else self._values
        return moved

    def ascending(self, values: Tensor) -> Tensor:
        """Return ``values`` ``[..., T]`` of the thresholds as given by ascending threshold."""
        if self.order is None:
            return values
        descending = torch.empty_like(values)
        descending[..., self.order] = values
        return descending.flip(-1)


def _logit(probabilities: Tensor) -> Tensor:
    """Logits in float64: -inf below 0, and NaN, which no score reaches, above 1."""
    p = probabilities.clamp(min=0.0)
    return p.log() - (-p).log1p()


def make_grid(
    thresholds: int | list[float] | Tensor,
    input: str,
    multiclass: bool,
    device: torch.device | None = None,
) -> Grid:
    """Lay out thresholds for `score_histogram_`; softmax leaves probabilities, logits do not.

    A number of uniform thresholds is laid out once per device, and shared: nobody writes into a
    grid, and users get copies.
    """
    wanted = torch.get_default_device() if device is None else device
    if wanted.type == "meta":
        return make_grid(thresholds, input, multiclass, torch.device("cpu")).to(wanted)
    if not isinstance(thresholds, int) or device is None or not makes_plain_tensors():
        return _lay_out(thresholds, input, multiclass, device)
    return _shared_grid(thresholds, input, multiclass, device)


@functools.lru_cache(maxsize=32)
def _shared_grid(thresholds: int, input: str, multiclass: bool, device: torch.device) -> Grid:
    with torch.inference_mode(False):
        return _lay_out(thresholds, input, multiclass, device)


def _lay_out(
    thresholds: int | list[float] | Tensor,
    input: str,
    multiclass: bool,
    device: torch.device | None,
) -> Grid:
    uniform = isinstance(thresholds, int)
    if isinstance(thresholds, int):
        given = torch.linspace(0, 1, thresholds, device=device)
    elif isinstance(thresholds, list):
        given = torch.tensor(thresholds, device=device)
    else:
        given = thresholds.detach().to(device, copy=True)
    ascending, index = given.double().sort(stable=True)
    order = None if uniform else len(given) - 1 - index.argsort()
    if order is not None and not is_recorded():
        even = torch.linspace(0, 1, len(given), device=given.device)
        uniform = torch.equal(ascending, even.double())
        if torch.equal(index, torch.arange(len(given), device=given.device)):
            order = None
    rows = {
        "probs": lambda: [ascending],
        "logits": lambda: [ascending if multiclass else _logit(ascending)],
        "auto": lambda: [ascending, ascending if multiclass else _logit(ascending)],
    }
    edges = torch.stack(rows[input]())
    return Grid(given, edges, uniform, order)
