"""Runs the parity checks once and prints the instruction set that served them."""

from __future__ import annotations

import itertools

import torch

from fastmetrics.ops import backend
from tests.ops import cases_calibration
from tests.ops.cases import (
    CLASS_COUNTS,
    CLASS_OPS,
    SCORE_DTYPES,
    check,
    class_call,
    class_inputs,
    rows,
)
from tests.ops.test_calibration import random_call as random_calibration_call
from tests.ops.test_class_ops import random_class_call
from tests.ops.test_label_ops import random_label_call


def main() -> None:
    torch.set_num_threads(1)
    for op in CLASS_OPS:
        for call in rows(op):
            check(call)
    for num_classes, dtype in itertools.product(CLASS_COUNTS[:-1], SCORE_DTYPES):
        for shape in ((67,), (2, 70)):
            preds, target = class_inputs(shape, num_classes, dtype, 1, special=0.02)
            check(class_call("confusion_", preds, target, num_classes))
    for seed in range(150):
        check(random_class_call(seed))
        check(random_label_call(seed))
        cases_calibration.check(random_calibration_call(seed))
    print(backend.native.simd_level())


if __name__ == "__main__":
    main()
