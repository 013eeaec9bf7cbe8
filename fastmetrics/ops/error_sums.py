"""Error sums: any choice of error terms of predictions and targets, summed over the samples.

With e = preds - target, p = preds and t = target in float64, the terms are as below; e of whole
numbers is the float64 nearest to their difference, also where p and t are rounded.

================= ======================================================================
``SQUARED``       e^2
``ABSOLUTE``      |e|
``SQUARED_LOG``   (log(1 + p) - log(1 + t))^2; NaN below -1
``PERCENTAGE``    |e| / max(|t|, 1.17e-6)
``SYMMETRIC``     |e| / max(|p| + |t|, 1.17e-6), finite wherever p and t are
``MAGNITUDE``     |t|
``LOG_COSH``      log(cosh(e))
``POWER``         |e|^p of the argument ``p``
``DEVIANCE``      the Tweedie deviance of the argument ``power``
================= ======================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, View, frozen
from fastmetrics.ops.checks import check_devices, check_real, check_weight, shape_text
from fastmetrics.ops.define import DIRECT, define
from fastmetrics.ops.differences import difference
from fastmetrics.ops.faults import report_weight_sums, weight_or_nan
from fastmetrics.utilities.checks import check_int
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from fastmetrics.utilities.recording import is_recorded

__all__ = ["error_sums_"]

SQUARED = 1 << 0
ABSOLUTE = 1 << 1
SQUARED_LOG = 1 << 2
PERCENTAGE = 1 << 3
SYMMETRIC = 1 << 4
MAGNITUDE = 1 << 5
LOG_COSH = 1 << 6
POWER = 1 << 7
DEVIANCE = 1 << 8
ALL_TERMS = (1 << 9) - 1

# What percentages divide by at least; of scikit-learn and torchmetrics.
EPSILON = 1.17e-06

_NAME = "error_sums_"


def num_columns(terms: int) -> int:
    """Columns of a state: one per term, one more for a deviance, and the count."""
    return terms.bit_count() + bool(terms & DEVIANCE) + 1


def columns_of(terms: int, state_terms: int) -> list[int]:
    """Return the columns of a state of ``state_terms`` that a state of ``terms`` would have."""
    bits = [1 << i for i in range(state_terms.bit_length()) if state_terms >> i & 1]
    columns = [i for i, bit in enumerate(bits) if terms & bit]
    last = num_columns(state_terms) - 1
    return [*columns, *([last - 1] if terms & DEVIANCE else []), last]


def check_error_sums(
    state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, terms: int, p: float,
    power: float,
) -> None:  # fmt: skip
    """Metadata check of `error_sums_`, and its fake."""
    if not 0 < terms <= ALL_TERMS:
        raise ValueError(f"{_NAME}: `terms` must lie in [1, {ALL_TERMS}], got {terms}.")
    if state.ndim != 2 or state.shape[1] != num_columns(terms) or state.dtype != torch.float64:
        raise ValueError(
            f"{_NAME}: the state must be float64 [D, {num_columns(terms)}], got {state.dtype}"
            f" {shape_text(state)}."
        )
    if terms & DEVIANCE and 0 < power < 1:
        raise ValueError(f"{_NAME}: `power` must not lie between 0 and 1, got {power}.")
    for name, tensor in (("preds", preds), ("target", target)):
        check_real(_NAME, name, tensor)
    # The error type is torchmetrics'.
    if preds.shape != target.shape:
        raise RuntimeError(
            f"{_NAME}: `preds` and `target` must have the same shape, got {shape_text(preds)} and"
            f" {shape_text(target)}."
        )
    check_devices(_NAME, state, preds, target)
    outputs = state.shape[0]
    if outputs != 1 and (preds.ndim not in (1, 2) or preds.shape[1:] not in ((), (1,), (outputs,))):
        raise ValueError(
            f"{_NAME}: `preds` and `target` must have shape (N, {outputs}) for {outputs} outputs,"
            f" got {shape_text(preds)}."
        )
    if weight is not None:
        check_weight(_NAME, state, weight, preds.shape[0] if preds.ndim else 1)


def _log_ratio(x: Tensor, y: Tensor, error: Tensor) -> Tensor:
    """``log(x / y)`` for y > 0, with ``error = x - y``: accurate for close numbers."""
    close = error.abs() < 0.5 * y
    near = torch.where(close, error / y, 0.0)
    far = torch.where(close, 1.0, x / y)
    return torch.where(close, near.log1p(), far.log())


def _log_cosh(e: Tensor) -> Tensor:
    small = e.abs() < 1.0
    near = 2.0 * torch.where(small, 0.5 * e, 0.0).sinh().square()
    far = torch.where(small, 1.0, e).abs()
    return torch.where(small, near.log1p(), far - math.log(2.0) + (-2.0 * far).exp().log1p())


def outside_domain(preds: Tensor, target: Tensor, power: float) -> Tensor:
    """Which positions have no Tweedie deviance of this power."""
    if power == 0:
        return torch.zeros_like(preds, dtype=torch.bool)
    outside = preds <= 0
    if power >= 2:
        return outside | (target <= 0)
    return outside | (target < 0) if power >= 1 else outside


def _deviance(p: Tensor, t: Tensor, error: Tensor, power: float) -> Tensor:
    if power == 0:
        return error.square()
    outside = outside_domain(p, t, power)
    p, t = torch.where(outside, 1.0, p), torch.where(outside, 1.0, t)
    error = torch.where(outside, 0.0, error)
    if power == 1:
        zero = t == 0
        log = _log_ratio(torch.where(zero, p, t), p, torch.where(zero, 0.0, -error))
        return 2.0 * (torch.where(zero, 0.0, t * log) + error)
    if power == 2:
        rise = torch.where(p < math.inf, -error / p, t / p - 1.0)
        return 2.0 * (rise - _log_ratio(t, p, -error))
    a, b = 2.0 - power, 1.0 - power
    positive = torch.where(t < 0, 0.0, t)
    zero, finite = positive == 0, p.isfinite() & t.isfinite()
    other = zero | ~finite
    log = _log_ratio(torch.where(other, p, positive), p, torch.where(other, 0.0, -error))
    ratio = torch.where(zero, -1.0, (a * log).expm1())
    exact = p.pow(a) * (ratio / a + error / p) * (2.0 / b)
    plain = positive.pow(a) / (a * b) - t * p.pow(b) / b + p.pow(a) / a
    return torch.where(finite & ~exact.isnan(), exact, 2.0 * plain)


def error_terms(preds: Tensor, target: Tensor, terms: int, p: float, power: float) -> list[Tensor]:
    """The terms of each position in float64, in the order of the columns.

    A deviance is 0 outside its domain, and the positions there are its second column.
    """
    error = difference(preds, target)
    preds, target = preds.double(), target.double()

    def halved(size: Tensor) -> Tensor:
        # A difference, or a sum, may be too large for float64 where its half is not.
        apart = torch.where(error.isfinite(), 0.5 * error, 0.5 * preds - 0.5 * target)
        return apart.abs() / size.clamp_min(0.5 * EPSILON)

    def squared_log() -> Tensor:
        close = error.abs() < 0.5 * (1.0 + target)
        near = torch.where(close, error / (1.0 + target), 0.0).log1p()
        p, t = (torch.where(close, 0.0, values) for values in (preds, target))
        return torch.where(close, near, p.log1p() - t.log1p()).square()

    of_term: dict[int, Callable[[], Tensor]] = {
        SQUARED: error.square,
        ABSOLUTE: error.abs,
        SQUARED_LOG: squared_log,
        PERCENTAGE: lambda: halved(0.5 * target.abs()),
        SYMMETRIC: lambda: halved(0.5 * target.abs() + 0.5 * preds.abs()),
        MAGNITUDE: target.abs,
        LOG_COSH: lambda: _log_cosh(error),
        POWER: lambda: error.abs().pow(p),
        DEVIANCE: lambda: _deviance(preds, target, error, power),
    }
    found = [term() for bit, term in of_term.items() if terms & bit]
    if terms & DEVIANCE:
        found.append(outside_domain(preds, target, power).double())
    return found


def sum_errors(
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    outputs: int,
    terms: int,
    p: float = 1.0,
    power: float = 0.0,
) -> Tensor:
    """Return the sums of one batch, float64 ``[D, K]``, by torch operations with gradients."""
    found = error_terms(preds, target, terms, p, power)
    outside = [found.pop()] if terms & DEVIANCE else []
    weights = torch.ones((), dtype=torch.float64, device=preds.device)
    if weight is not None:
        weights = weight_or_nan(weight).reshape(preds.shape[:1] + (1,) * (preds.ndim - 1))
    columns = [term * weights for term in found] + outside + [weights.expand(preds.shape)]
    if outputs == 1:
        return torch.stack([column.sum() for column in columns]).unsqueeze(0)
    rows = [column.unsqueeze(1) if preds.ndim == 1 else column for column in columns]
    return torch.stack([row.sum(0).expand(outputs) for row in rows], -1)


def error_sums_reference(
    state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, terms: int, p: float,
    power: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    explain_error_sums(state, preds, target, weight, terms, p, power)
    state += sum_errors(preds, target, weight, state.shape[0], terms, p, power)


def check_columns(owner: str, preds: Tensor, num_outputs: int) -> None:
    """Raise ``ValueError`` unless ``preds`` is ``[N]`` or ``[N, num_outputs]``."""
    if preds.ndim != 1 and (preds.ndim != 2 or preds.shape[1] != num_outputs):
        raise ValueError(
            f"{owner}: `preds` and `target` must have shape (N,) or (N, {num_outputs}), got"
            f" {tuple(preds.shape)}."
        )


def domain_text(power: float) -> str:
    """Say what a deviance of this power takes."""
    if power >= 2:
        return "`preds` and `target` must be positive"
    if power >= 1:
        return "`preds` must be positive and `target` must not be negative"
    return "`preds` must be positive"


def raise_outside_domain(op: str, preds: Tensor, target: Tensor, power: float) -> None:
    """Raise for the first position that has no deviance; the error type is torchmetrics'."""
    outside = outside_domain(preds, target, power).flatten()
    if outside.any():
        position = int(outside.to(torch.uint8).argmax())
        raise ValueError(
            f"{op}: {domain_text(power)} for power={power}, got {preds.flatten()[position].item()}"
            f" and {target.flatten()[position].item()} at flat index {position}."
        )


def explain_error_sums(
    state: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    terms: int,
    p: float,
    power: float,
) -> None:
    """Word what a kernel refused, if it was a position outside the domain of the deviance."""
    if terms & DEVIANCE and preds.device.type == "cpu":
        raise_outside_domain(_NAME, preds, target, power)


_error_sums = define(
    _NAME,
    "(Tensor(a!) state, Tensor preds, Tensor target, Tensor? weight, int terms, float p,"
    " float power)",
    error_sums_reference,
    check_error_sums,
    explain_error_sums,
    fusible_axes=2,
)


def error_sums_(
    state: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    terms: int,
    p: float = 1.0,
    power: float = 0.0,
) -> None:
    """Add the error terms of one batch to their sums, for each of D outputs.

    Everything is worked out and summed in float64, also for integers and small floats; whole
    numbers are subtracted before. NaN and infinities go where the formulas lead them.

    Args:
        state: float64 ``[D, K]``. The columns are the chosen terms in the order of their bits,
            after a deviance the number of positions outside its domain, and last the sum of the
            weights. Changed in place.
        preds: any real type: any shape for D = 1, where all positions are one output; else
            ``[N, D]``, or ``[N]`` or ``[N, 1]`` for D equal outputs.
        target: any real type, in the shape of ``preds``.
        weight: optional ``[N]``, of the first axis.
        terms: sum of the constants of this module, which name the terms.
        p: the exponent of ``POWER``.
        power: the power of ``DEVIANCE``, not between 0 and 1.

    Raises:
        ValueError: shapes, dtypes or devices do not fit; a position lies outside the domain of the
            deviance (CPU; elsewhere the sum leaves it out and the state counts it). The state is
            unchanged.
        RuntimeError: the shapes of ``preds`` and ``target`` differ.

    Cost: reads each input once; temporaries are bounded by the state's size.

    >>> import torch
    >>> from fastmetrics.ops import error_sums_
    >>> state = torch.zeros(1, 2, dtype=torch.float64)
    >>> error_sums_(state, torch.tensor([1.0, 3.0]), torch.tensor([2.0, 5.0]), None, terms=1)
    >>> state
    tensor([[5., 2.]], dtype=torch.float64)
    """
    _error_sums(state, preds, target, weight, terms, p, power)


@frozen()
class ErrorSums(Statistic):
    """The sums of some error terms for each output, ``sums`` ``[D, K]``.

    Attributes:
        terms: sum of the constants of this module, which name the terms.
        num_outputs: D; 1 takes all positions of any shape as one output.
        p: the exponent of ``POWER``.
        power: that of ``DEVIANCE``.
        columns_only: whether batches of other axes than ``[N]`` and ``[N, D]`` are refused.
    """

    terms: int
    num_outputs: int = 1
    p: float = 1.0
    power: float = 0.0
    columns_only: bool = field(default=False, compare=False, repr=False)

    op = staticmethod(error_sums_)
    reports_weights_alone = True
    exact = ("sums",)

    def __post_init__(self) -> None:
        """Make equal exponents look the same, too."""
        if isinstance(self.p, int):
            object.__setattr__(self, "p", float(self.p))
        if isinstance(self.power, int):
            object.__setattr__(self, "power", float(self.power))

    def check(self) -> None:
        """Raise for arguments without a sum.

        Raises:
            ValueError: ``num_outputs`` is no positive integer, or ``power`` lies between 0 and 1.
            TorchMetricsUserError: ``p`` is no number of at least 1.
        """
        check_int("num_outputs", self.num_outputs, 1)
        if self.terms & POWER and not (isinstance(self.p, float) and self.p >= 1):
            raise TorchMetricsUserError(
                f"`p` must be a float or int of at least 1, got {self.p!r}."
            )
        if self.terms & DEVIANCE and 0 < self.power < 1:
            raise ValueError(f"`power` must not lie between 0 and 1, got {self.power}.")

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"sums": "sum"}

    @property
    @override
    def rows(self) -> str:
        return "numbers"

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        columns = num_columns(self.terms)
        return {"sums": torch.zeros(self.num_outputs, columns, dtype=torch.float64, device=device)}

    @override
    def arguments(self) -> tuple[int, float, float]:
        return self.terms, self.p, self.power

    @override
    def open(self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        if self.columns_only and preds.ndim != 1:
            check_columns(_NAME, preds, self.num_outputs)
        sums: Tensor = states.values["sums"]
        return sums

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        if self.columns_only and preds.ndim != 1:
            check_columns(_NAME, preds, self.num_outputs)
        _error_sums(states.values["sums"], preds, target, weight, self.terms, self.p, self.power)

    def numbers(self, preds: Tensor, target: Tensor) -> Any:
        """Return the sums of a batch as numbers, in a tuple; false where tensors must do."""
        shape = (True, self.num_outputs, num_columns(self.terms))
        return DIRECT[_NAME](shape, preds, target, None, self.terms, self.p, self.power)

    @override
    def with_gradients(
        self, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> dict[str, Any]:
        state = self.empty(preds.device)["sums"]
        check_error_sums(state, preds, target, weight, *self.arguments())
        explain_error_sums(state, preds, target, weight, *self.arguments())
        return {"sums": sum_errors(preds, target, weight, self.num_outputs, *self.arguments())}

    @override
    def report(self, owner: str, states: States) -> None:
        """Raise ``ValueError`` for positions without a deviance that an update on a GPU left out.

        Waits for the device then. Warns of weights that are none.
        """
        sums = states.values["sums"]
        report_weight_sums(owner, sums, -1)
        if not self.terms & DEVIANCE:
            return
        if sums.is_cpu or is_recorded():  # on a CPU the op itself has raised
            return
        outside = int(sums[..., 1].sum().item())
        if outside:
            raise ValueError(
                f"{owner}: {domain_text(self.power)} for power={self.power}; {outside} positions"
                " were not."
            )

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Take the columns of another choice of terms that has all of these and more."""
        if not isinstance(other, ErrorSums) or other.num_outputs != self.num_outputs:
            return None
        own, others = self.terms, other.terms
        same = (self.p, self.power) == (other.p, other.power) or not others & (POWER | DEVIANCE)
        if own == others or own & ~others or not same:
            return None
        return {"sums": states.values["sums"][:, columns_of(own, others)]}

    @override
    def views(self) -> Mapping[str, View]:
        return _UPSTREAM.get(self.terms, {})


def _column(column: int, *, outputs: bool = False, factor: float = 1.0) -> View:
    """Return a view of ``factor`` times a column: of all outputs, or a number that they share."""

    def get(states: States) -> Tensor:
        sums: Tensor = states.values["sums"]
        found = sums[:, column] if outputs else sums[0, column]
        return found if factor == 1.0 else found * factor

    def write(states: States, value: Any) -> None:
        states.values["sums"][:, column].copy_(torch.as_tensor(value).detach() / factor)

    return View(get, write)


_TOTAL = _column(-1)
# By terms, the states that torchmetrics has for them.
_UPSTREAM: dict[int, dict[str, View]] = {
    SQUARED: {"sum_squared_error": _column(0, outputs=True), "total": _TOTAL},
    ABSOLUTE: {"sum_abs_error": _column(0, outputs=True), "total": _TOTAL},
    SQUARED_LOG: {"sum_squared_log_error": _column(0), "total": _TOTAL},
    PERCENTAGE: {"sum_abs_per_error": _column(0), "total": _TOTAL},
    SYMMETRIC: {"sum_abs_per_error": _column(0, factor=2.0), "total": _TOTAL},
    ABSOLUTE | MAGNITUDE: {"sum_abs_error": _column(0), "sum_scale": _column(1)},
    LOG_COSH: {"sum_log_cosh_error": _column(0, outputs=True), "total": _TOTAL},
    POWER: {"minkowski_dist_sum": _column(0)},
    DEVIANCE: {"sum_deviance_score": _column(0), "num_observations": _TOTAL},
}
