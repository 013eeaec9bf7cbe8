"""What only `rank_moments_` and `rank_orders_` must keep."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tests.ops.curve import cut
from tests.ops.inputs import adversaries
from tests.ops.laws import implementations, native_op

MOMENTS, ORDERS = "rank_moments_", "rank_orders_"


def run_moments(implementation, outputs: int, preds: list[Tensor], target: list[Tensor]) -> Tensor:
    moments = torch.full((outputs, 4), -7.0, dtype=torch.float64)
    implementation(moments, preds, target)
    return moments


def run_orders(implementation, outputs: int, preds: list[Tensor], target: list[Tensor]):
    orders = torch.full((outputs, 8), -7)
    triples = torch.full((outputs, 2), -7.0, dtype=torch.float64)
    implementation(orders, triples, preds, target)
    return orders, triples


@pytest.mark.parametrize(("size", "step"), [(17_000, 1), (66_000, 5)])
def test_large_sizes_agree_with_the_reference(size, step, native):
    """Beyond what pairs can be compared for: the buckets, with one thread and with two."""
    bits = torch.randint(-(2**31), 2**31, (size,))
    cases = adversaries(size) | {"int32": bits.int(), "int64": bits * 2**31, "small": bits % 1000}
    del cases["all bits"]  # NaN among them
    partners = [*cases.values()][4:] + [*cases.values()][:4]
    for (name, x), y in [*zip(cases.items(), partners, strict=True)][::step]:
        y = y.flip(0)
        torch.set_num_threads(1)
        wanted = run_moments(implementations(MOMENTS)["reference"], 1, [x], [y])
        orders, triples = run_orders(implementations(ORDERS)["reference"], 1, [x], [y])
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found = run_moments(native_op(MOMENTS), 1, cut(x, (size // 3,)), cut(y, (7, size // 2)))
            # The reference rounds in every addition.
            torch.testing.assert_close(found, wanted, rtol=1e-13, atol=size**2.5 * 1e-13, msg=name)
            counts = run_orders(native_op(ORDERS), 1, cut(x, (size // 3,)), cut(y, (7, size // 2)))
            assert torch.equal(counts[0], orders), name
            torch.testing.assert_close(counts[1], triples, rtol=1e-13, atol=0, msg=name)


def test_sums_beyond_64_bits(native):
    """All of a large sample tied or in one order has sums that follow from its size."""
    size = 3_000_000
    ramp = torch.arange(size, dtype=torch.float32)  # exact up to 2^24
    cube = float(Fraction(size**3 - size, 3))
    found = run_moments(native_op(MOMENTS), 1, [ramp], [ramp.flip(0)])
    assert found.tolist() == [[size, cube, cube, -cube]]
    orders, triples = run_orders(native_op(ORDERS), 1, [ramp], [torch.zeros(size)])
    pairs = size * (size - 1) // 2
    assert orders.tolist() == [[size, 0, 0, pairs, 0, size, 1, 0]]
    assert triples.tolist() == [[0.0, float(size * (size - 1) * (size - 2))]]


@pytest.mark.parametrize("outputs", [2, 3, 7])
def test_outputs_and_threads(outputs, native):
    size = 40_000
    generator = torch.Generator().manual_seed(outputs)
    x = torch.randn(size, outputs, generator=generator)
    y = (x + torch.randn(size, outputs, generator=generator)).double()
    alone = [run_moments(native_op(MOMENTS), 1, [x[:, c]], [y[:, c]]) for c in range(outputs)]
    alone_orders = [run_orders(native_op(ORDERS), 1, [x[:, c]], [y[:, c]]) for c in range(outputs)]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = run_moments(native_op(MOMENTS), outputs, [x], [y.t().contiguous().t()])
        assert torch.equal(found, torch.cat(alone))
        orders, triples = run_orders(native_op(ORDERS), outputs, [x], [y])
        assert torch.equal(orders, torch.cat([o for o, _ in alone_orders]))
        assert torch.equal(triples, torch.cat([t for _, t in alone_orders]))
