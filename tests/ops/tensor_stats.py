"""`tensor_stats_`: calls, and an oracle in Python numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.tensor_stats import NUM_COLUMNS
from tests.ops.inputs import INF, NAN, SCORE_DTYPES, SIZES, Draw, with_special_values
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import META, table


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 10).to(dtype)


def of(tensors: list[Tensor], state: Tensor | None = None) -> Call:
    if state is None:
        state = torch.zeros(len(tensors), NUM_COLUMNS, dtype=torch.float64)
    return Call("tensor_stats_", {"state": state, "tensors": tensors})


def make(seed: int, **options: Any) -> Call:
    """Several tensors, after an update of others."""
    draw = Draw(seed, options)
    shape, special = draw("shape", (1,), (7, 9), (4, 5, 6), (70,)), draw("special", 0, 0, 0.1)
    tensors = []
    for place in range(draw("tensors", 1, 2, 5)):
        tensor = normal(*shape, dtype=draw("dtype", *SCORE_DTYPES), seed=seed + place)
        tensors.append(with_special_values(tensor, draw.rng, special) if special else tensor)
    start = draw("start", 0)
    draw.done()
    state = torch.zeros(len(tensors), NUM_COLUMNS, dtype=torch.float64)
    if start:
        state.fill_(start)
    elif seed % 2:
        first = [normal(9, seed=seed + 100 + place) for place in range(len(tensors))]
        state = oracle(of(first)).after["state"]
    return of(tensors, state)


def oracle(call: Call) -> Answer:
    """Exactly rounded sums."""
    return Answer({"state": torch.tensor(
        [row_after(row, tensor) for row, tensor in zip(
            call["state"].tolist(), call["tensors"], strict=True
        )], dtype=torch.float64,
    ).view_as(call["state"])})  # fmt: skip


def row_after(row: list[float], tensor: Tensor) -> list[float]:
    values = [float(x) for x in tensor.flatten().tolist()]
    finite = [x for x in values if math.isfinite(x)]
    updates, count, total, squares, low, high, nan, infinite = row
    return [
        updates + bool(values),
        count + len(finite),
        math.fsum([total, *finite]),
        math.fsum([squares, *(x * x for x in finite)]),
        min([low, *finite]) if count else min(finite, default=0.0),
        max([high, *finite]) if count else max(finite, default=0.0),
        nan + sum(map(math.isnan, values)),
        infinite + sum(map(math.isinf, values)),
    ]


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    one, other = found["state"], expected["state"]
    exact = [0, 1, 4, 5, 6, 7]
    assert torch.equal(one[:, exact], other[:, exact])
    rows = zip(one.tolist(), other.tolist(), call["state"].tolist(), call["tensors"], strict=True)
    for a, b, start, tensor in rows:
        sizes = math.fsum(tensor[tensor.isfinite()].double().abs().tolist())
        sizes += start[1] * max(abs(start[4]), abs(start[5]))
        assert abs(a[2] - b[2]) <= 1e-14 * sizes
        assert a[3] == b[3] or abs(a[3] - b[3]) <= 1e-13 * abs(b[3])


def odd() -> Iterator[Call]:
    for dtype in SCORE_DTYPES:
        yield of([normal(n, dtype=dtype, seed=n) for n in (*SIZES, 4095, 4096, 4097, 8200)])
        tensors = [normal(size, dtype=dtype) for size in (3, 40, 5000)]
        for tensor in tensors:
            tensor[::3], tensor[1::7], tensor[2::5] = NAN, INF, -INF
        tensors += [torch.full((size,), NAN, dtype=dtype) for size in (1, 20, 4100)]
        tensors += [torch.tensor(x, dtype=dtype) for x in (INF, -INF, 2.5)]
        yield of(tensors)
        singles = []
        for place, value in itertools.product((0, 15, 16, 17, 4095, 4096, 4111), (NAN, INF)):
            singles.append(normal(4112, dtype=dtype))
            singles[-1][place] = value
        yield of(singles)
    double = torch.float64
    yield of([normal(9), torch.empty(0), normal(2, 3, dtype=double), torch.empty(3, 0)])
    yield of([])
    yield of([torch.tensor([3e38, -3e38, 1e-45]), torch.tensor([1e150, -1e150], dtype=double)])
    for sizes in ([4096] * 40, [0, 65_536, 0, 65_536, 0, 0]):  # parts end inside of tensors
        yield of([normal(size, seed=i) for i, size in enumerate(sizes)])


def good() -> Call:
    return of([torch.ones(2)] * 2, torch.ones(2, NUM_COLUMNS, dtype=torch.float64))


TWO = torch.ones(2)
PLACES = torch.ones(2, NUM_COLUMNS, dtype=torch.float64)

TENSOR_STATS = Tested(
    "tensor_stats_",
    make,
    oracle,
    variants=({"tensors": 1}, {"tensors": 4}),
    shapes=((7, 9), (4, 5, 6), (1, 3, 1, 2), (3, 70, 100), (37,)),
    empty=((0,), (0, 2), (3, 0)),
    dtypes={"dtype": SCORE_DTYPES},
    batch=("tensors",),
    layouts=("tensors",),
    many=300_001,
    adds_up=False,  # the number of updates shows
    compare=compare,
    odd=odd,
    small_floats=lambda values: [of([*values.split(1000)])],
    good=good,
    refusals=lambda: table(
        ({"tensors": [TWO]}, "one per row of the state, 2, got 1"),
        ({"state": PLACES.float()}, "must be float64 of shape"),
        ({"state": PLACES[:, 1:]}, "must be float64 of shape"),
        ({"tensors": [TWO, TWO.long()]}, "got dtype torch.int64 at place 1"),
        ({"tensors": [TWO.cfloat(), TWO]}, "got dtype torch.complex64 at place 0"),
        ({"tensors": [TWO, torch.eye(2).to_sparse()]}, "got layout torch.sparse_coo at place 1"),
        ({"tensors": [TWO, TWO.to(META)]}, "on the device of the metric state"),
    ),
)
