"""Holds every op to its oracle once and prints the instruction set that served it."""

from __future__ import annotations

import torch

from fastmetrics.ops import backend
from tests.ops import laws


def main() -> None:
    torch.set_num_threads(1)
    for tested in laws.every_op().values():
        for law in (laws.samples, laws.sizes, laws.some_calls):
            for call in law(tested):
                laws.check(call)
    print(backend.native.simd_level())


if __name__ == "__main__":
    main()
