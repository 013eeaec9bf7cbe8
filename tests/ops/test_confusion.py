"""What only `confusion_` must keep."""

from __future__ import annotations

import pytest

from tests.ops.confusion import make
from tests.ops.inputs import LAYOUTS, SCORE_DTYPES
from tests.ops.laws import check, states
from tests.ops.stat_scores import telling_scores


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_the_winner_is_that_of_torch(dtype):
    for width in (3, 8, 16, 19, 65):
        preds = telling_scores(width, dtype)
        target = preds.argmax(1)
        options = {"classes": width, "shape": (len(preds),), "dtype": dtype, "weight": None}
        call = make(0, start=0, ignore_index=None, float_state=False, **options)
        for state in states(call.but(preds=preds, target=target)).values():
            assert state.trace() == len(target)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("num_classes", [*range(1, 41), 63, 64, 65, 127, 128, 129])
def test_all_rows(num_classes, dtype):
    """Rows shorter than a vector are decided many at a time; every width has its own loop."""
    for size in (*range(1, 20), 31, 32, 33, 63, 64, 65, 130):
        for name, layout in LAYOUTS.items():
            for shape in ((size,), (2, size)) if "repeated" not in name else ():
                options = {"classes": num_classes, "shape": shape, "dtype": dtype}
                special = 0.05 * ((size + len(shape)) % 2)
                call = make(size, special=special, bad=0.0, weight=None, **options)
                check(call.changed(["preds"], layout))
