"""`rank_moments_` and `rank_orders_`: calls, and oracles that compare all pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.ops.curve import cut
from tests.ops.inputs import ALL_DTYPES, INF, NAN, SCORE_DTYPES, SIZES, Draw, random_scores
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import META, table, zeros


def numbers(dtype: torch.dtype, rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    if dtype.is_floating_point:
        return random_scores(shape, dtype, rng)
    low = 0 if dtype in (torch.uint8, torch.bool) else -3
    return torch.from_numpy(rng.integers(low, 2 if dtype == torch.bool else 6, shape)).to(dtype)


def sides(draw: Draw) -> tuple[int, list[Tensor], list[Tensor]]:
    """The number of outputs, and two sides that are cut in different places."""
    (size, *_), outputs = draw("shape", (1,), (2,), (3,), (24,), (60,)), draw("outputs", 0, 1, 3)
    shape = (size, outputs) if outputs else (size,)
    preds = numbers(draw("dtype", *ALL_DTYPES), draw.rng, shape)
    target = numbers(draw("target_dtype", *ALL_DTYPES), draw.rng, shape)
    special = draw("special", 0.0, 0.0, 0.02)
    for side in (preds, target):
        if side.is_floating_point() and special:
            side[torch.from_numpy(np.asarray(draw.rng.random(shape) < special / 4))] = NAN
    border = draw("border", 0, size // 2, size)
    draw.done()
    return max(1, outputs), cut(preds, (border,)), [target]


def make(seed: int, **options: Any) -> Call:
    outputs, preds, target = sides(Draw(seed, options))
    moments = torch.full((outputs, 4), -7.0, dtype=torch.float64)
    return Call("rank_moments_", {"moments": moments, "preds": preds, "target": target})


def make_orders(seed: int, **options: Any) -> Call:
    outputs, preds, target = sides(Draw(seed, options))
    orders = torch.full((outputs, 8), -7)
    triples = torch.full((outputs, 2), -7.0, dtype=torch.float64)
    return Call(
        "rank_orders_", {"orders": orders, "triples": triples, "preds": preds, "target": target}
    )


def columns_of(call: Call, outputs: int) -> list[tuple[list, list]]:
    """Python numbers per output, which compare without rounding."""

    def exact(chunks: list[Tensor], column: int) -> list:
        if not chunks:
            return []
        side = torch.cat(chunks).reshape(sum(map(len, chunks)), outputs)[:, column]
        return side.double().tolist() if side.is_floating_point() else side.long().tolist()

    return [(exact(call["preds"], c), exact(call["target"], c)) for c in range(outputs)]


def brute_moments(x: list, y: list) -> list[float]:
    """Ranks by counting what is smaller and what is equal; exact."""

    def centred(numbers: list) -> list[int]:
        twice = [2 * sum(b < a for b in numbers) + sum(b == a for b in numbers) for a in numbers]
        return [rank - len(numbers) for rank in twice]

    if any(math.isnan(v) for v in (*x, *y)):
        return [len(x), math.nan, math.nan, math.nan]
    a, b = centred(x), centred(y)
    sums = [sum(p * q for p, q in zip(*pair, strict=True)) for pair in ((a, a), (b, b), (a, b))]
    return [len(x), *sums]


def brute_orders(x: list, y: list) -> tuple[list[int], list[int]]:
    """The counts, by comparing every pair."""
    if any(math.isnan(v) for v in (*x, *y)):
        return [len(x), 0, 0, 0, 0, 0, 0, 1], [0, 0]
    pairs = list(itertools.combinations(zip(x, y, strict=True), 2))
    opposite = sum((a < c and b > d) or (a > c and b < d) for (a, b), (c, d) in pairs)
    tied_x = sum(a == c for (a, _), (c, _) in pairs)
    tied_y = sum(b == d for (_, b), (_, d) in pairs)
    both = sum(a == c and b == d for (a, b), (c, d) in pairs)
    triples = [
        sum(t * (t - 1) * (t - 2) for t in (numbers.count(v) for v in set(numbers)))
        for numbers in (x, y)
    ]
    return [len(x), opposite, tied_x, tied_y, both, len(set(x)), len(set(y)), 0], triples


def oracle(call: Call) -> Answer:
    found = [brute_moments(*column) for column in columns_of(call, len(call["moments"]))]
    return Answer({"moments": torch.tensor(found, dtype=torch.float64)})


def orders_oracle(call: Call) -> Answer:
    found = [brute_orders(*column) for column in columns_of(call, len(call["orders"]))]
    return Answer({
        "orders": torch.tensor([row for row, _ in found]),
        "triples": torch.tensor([row for _, row in found], dtype=torch.float64),
    })  # fmt: skip


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, wanted in expected.items():
        assert torch.equal(found[name].double().nan_to_num(-1.5), wanted.double().nan_to_num(-1.5))


def grids() -> Iterator[Tensor]:
    """Numbers of every magnitude, each several times."""
    for dtype in SCORE_DTYPES:
        info = torch.finfo(dtype)
        tiny = info.smallest_normal * info.eps
        values = [-INF, info.min, -1.0, -info.smallest_normal, -tiny, -0.0, 0.0, tiny]
        values += [2 * tiny, info.smallest_normal, 1 - info.eps / 2, 1.0, info.max, INF]
        yield torch.tensor(values * 2, dtype=dtype)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        info = torch.iinfo(dtype)
        values = [info.min, info.min + 1, -1, 0, 1, info.max - 1, info.max]
        yield torch.tensor(values * 5, dtype=dtype)
    yield 2**53 + torch.arange(40)  # no float tells these apart


def odd_of(make: Any) -> Iterator[Call]:
    for seed, grid in enumerate(grids()):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(grid)))
        call = make(seed, outputs=0, shape=(len(grid),), border=0)
        yield call.but(preds=[grid[order]], target=[grid])
        yield call.but(preds=[grid], target=[grid[order]])
    for dtype in SCORE_DTYPES:  # NaN spoils its output only
        call = make(1, outputs=3, shape=(30,), dtype=dtype, target_dtype=dtype, border=0)
        call["preds"][1][4, 0], call["target"][0][7, 2] = NAN, -NAN
        yield call
    call = make(2, outputs=0, shape=(40,), border=0)
    for preds, target in itertools.product((torch.ones(40), torch.arange(40) % 7), repeat=2):
        yield call.but(preds=cut(preds, (40,)), target=[target])
    nothing = torch.zeros(0, 2)
    call = make(2, outputs=2, shape=(5,))
    for chunks in ([], [nothing], [nothing, nothing]):
        yield call.but(preds=chunks, target=chunks)


def refused() -> dict[str, Any]:
    x = torch.arange(5.0)
    shape = r"`preds` must have shape \(M,\) or \(M, 1\), got \(5, 2\)"
    return table(
        ({"target": [x[:4]]}, "as many samples, got 5 and 4"),
        ({"target": []}, "as many samples, got 5 and 0"),
        ({"preds": [torch.zeros(5, 2)]}, shape),
        ({"target": [torch.zeros(())]}, r"`target` must have shape"),
        ({"preds": [x, x.double()], "target": [x, x]}, "one real dtype, got torch.float64"),
        ({"preds": [x.cfloat()]}, "one real dtype, got torch.complex64"),
        ({"preds": [x.to(META)]}, "on one device, got meta and cpu"),
    )


def good_of(make: Any) -> Call:
    x = torch.arange(5.0)
    return make(0, outputs=1, shape=(5,), border=0).but(preds=[x], target=[x.flip(0)])


def described(op: str, make: Any, oracle: Any, refusals: Any) -> Tested:
    return Tested(
        op,
        make,
        oracle,
        variants=({"outputs": 0, "border": 0}, {"outputs": 1}, {"outputs": 3}),
        shapes=((24,), (40,), (9,)),
        sizes=SIZES[:10],  # all pairs are compared
        empty=(),
        dtypes={"dtype": ALL_DTYPES, "target_dtype": ALL_DTYPES},
        batch=("preds", "target"),
        many=40_000,
        adds_up=False,
        ordered=True,  # the chunks are
        compare=compare,
        odd=lambda: odd_of(make),
        good=lambda: good_of(make),
        refusals=refusals,
    )


MOMENTS = described(
    "rank_moments_",
    make,
    oracle,
    lambda: refused() | table(({"moments": zeros(1, 3)}, r"`moments` must be .* shape \(D, 4\)")),
)
ORDERS = described(
    "rank_orders_",
    make_orders,
    orders_oracle,
    lambda: (
        refused()
        | table(
            ({"orders": zeros(1, 8)}, r"`orders` must be contiguous torch.int64"),
            ({"orders": zeros(1, 8).long()[:, :7]}, r"with shape \(D, 8\)"),
            ({"triples": zeros(1, 2)[:, :1]}, r"`triples` must be contiguous torch.float64"),
            ({"triples": zeros(2, 2)}, r"`triples` must go with `orders`"),
        )
    ),
)
