"""`overlap_sums_`: calls, and an oracle in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import torch

from fastmetrics.ops.overlap import Sums
from tests.ops.inputs import LAYOUTS, Draw
from tests.ops.laws import Answer, Call, tested_whole
from tests.ops.refusals import META, ints, plain, zeros


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    images, classes = draw("images", 0, 1, 5, 40), draw("classes", 1, 2, 3, 21)
    start, layout = draw("start", 0.0, 2.5), draw("layout", *LAYOUTS)
    draw.done()
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 2 + 10 ** rng.integers(0, 5), (images, classes, 4))
    counts *= rng.random((images, classes, 1)) < 0.8  # classes that an image does not have
    return Call(
        "overlap_sums_",
        {
            "states": [
                torch.full((classes,), start, dtype=torch.float64),
                torch.full((classes,), 3),
                torch.full((classes,), start, dtype=torch.float64),
                torch.full((2, 3), start, dtype=torch.float64),
                torch.tensor(7),
            ],
            # Without images opcheck cannot copy strides of its own.
            "counts": LAYOUTS[layout if images else "contiguous"](torch.from_numpy(counts)),
        },
    )


def generalized(rows: list[tuple[int, int, int]], kind: int) -> Fraction:
    """The score of an image, with weights of 1 / target**kind."""
    common, both = Fraction(0), Fraction(0)
    for shared, preds, target in rows:
        weight = Fraction(1, target**kind) if target or not kind else Fraction(0)
        common, both = common + weight * shared, both + weight * (preds + target)
    return 2 * common / both if both else Fraction(0)


def oracle(call: Call) -> Answer:
    after = [state.clone() for state in call["states"]]
    sums: Any = Sums(*(np.zeros(state.shape, dtype=object) for state in after))._asdict()
    for image in call["counts"].tolist():
        rows = [(tp, tp + fp, tp + fn) for tp, fp, _, fn in image]
        for c, (common, preds, target) in enumerate(rows):
            if preds + target:
                sums["iou"][c] += Fraction(common, preds + target - common)
                sums["dice"][c] += Fraction(2 * common, preds + target)
                sums["present"][c] += 1
        for k, kind in enumerate((2, 1, 0)):
            sums["generalized"][0, k] += generalized(rows, kind)
            sums["generalized"][1, k] += generalized(rows[1:] or rows, kind)
        sums["images"] = sums["images"] + 1
    for state, found in zip(after, sums.values(), strict=True):
        state += torch.from_numpy(np.vectorize(float, otypes=[float])(found)).to(state.dtype)
    return Answer({"states": after})


def good() -> Call:
    return make(0, images=5, classes=3, start=0.0, layout="contiguous")


def states_but(place: int, other: torch.Tensor) -> dict[str, Any]:
    states = good()["states"]
    return {"states": [*states[:place], other, *states[place + 1 :]]}


def refusals() -> Any:
    counts = good()["counts"]
    return plain(
        ({"counts": counts.double()}, "`counts` must be int64 (N, C, 4), got torch.float64"),
        (
            {"counts": counts[..., :3]},
            "`counts` must be int64 (N, C, 4), got torch.int64 (5, 3, 3)",
        ),
        (
            states_but(0, zeros(2)),
            "`iou` must be contiguous torch.float64 (3,), got torch.float64 (2,)",
        ),
        (
            states_but(1, zeros(3)),
            "`present` must be contiguous torch.int64 (3,), got torch.float64",
        ),
        (states_but(2, zeros(6)[::2]), "`dice` must be contiguous torch.float64 (3,)"),
        (states_but(3, zeros(3, 2)), "`generalized` must be contiguous torch.float64 (2, 3)"),
        (
            states_but(4, ints(1)),
            "`images` must be contiguous torch.int64 (), got torch.int64 (1,)",
        ),
        (
            {"states": good()["states"][:4]},
            "`states` must be ('iou', 'present', 'dice', 'generalized'",
        ),
        ({"counts": counts.to(META)}, "all tensors must be on one device"),
    )


OVERLAP = tested_whole(
    "overlap_sums_",
    make,
    oracle,
    odd=lambda: (make(seed) for seed in range(24)),
    good=good,
    refusals=refusals,
    guards=(states_but(0, zeros(2)), states_but(1, zeros(3)), {"counts": ints(5, 3, 3)}),
    rtol=1e-12,
    atol=1e-12,
)
