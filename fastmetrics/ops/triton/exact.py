"""float32 arithmetic that loses nothing: a number is the sum of two, ``high + low``.

Devices for graphics work in float64 at a sixty-fourth of the speed of float32. Differences of
float32 numbers and their squares fit two float32 numbers, and so does a sum of a few dozen of them
to 48 bits. Products are split by their bits, so it does not matter if a compiler contracts them.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl

# Additions to one pair after which it must be added up in float64: each may cost 3 * 2**-48 of
# the sum, so all of them less than 1e-12.
MOST_ADDITIONS = 64

# Squares are those of errors times SCALE. Inside these bounds none of their parts vanishes, and
# MOST_ADDITIONS of them are finite.
SCALE = tl.constexpr(2.0**20)
LEAST, MOST = tl.constexpr(2.0**-73), tl.constexpr(2.0**40)


@triton.jit
def split_difference(a, b):
    """``a - b`` of float32 numbers, and what that lacks."""
    high = a - b
    of_b = high - a
    return high, (a - (high - of_b)) - (b + of_b)


@triton.jit
def is_ordinary(high):
    """Which errors can be squared here: not those that are tiny, huge or no numbers."""
    size = tl.abs(high)
    return ((size >= LEAST) & (size <= MOST)) | (size == 0.0)


@triton.jit
def split_square(high, low):
    """The square of a scaled error."""
    high, low = high * SCALE, low * SCALE
    square = high * high
    # Twelve leading bits, and twelve: their products are exact.
    head = (high.to(tl.int32, bitcast=True) & -4096).to(tl.float32, bitcast=True)
    tail = high - head
    rest = ((head * head - square) + (2.0 * head) * tail) + tail * tail
    return square, rest + (2.0 * high) * low


@triton.jit
def add_split(total_high, total_low, high, low):
    """Add one pair to another; both are at least zero."""
    total = total_high + high
    of_high = total - total_high
    lost = (total_high - (total - of_high)) + (high - of_high)
    rest = total_low + (lost + low)
    both = total + rest
    return both, rest - (both - total)


@triton.jit
def joined(high, low):
    """A pair as float64."""
    return high.to(tl.float64) + low.to(tl.float64)
