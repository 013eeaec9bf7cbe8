"""Holds every op to its oracle once and prints the instruction set that served it."""

from __future__ import annotations

import itertools

import torch

from fastmetrics.ops import backend
from tests.ops import laws


def main() -> None:
    torch.set_num_threads(1)
    for tested in laws.every_op().values():
        sizes, samples = ([*law(tested)] for law in (laws.sizes, laws.samples))
        calls = sizes[::5], samples[::9], laws.any_call(tested, range(20))
        for call in itertools.chain(*calls):
            laws.check(call)
    print(backend.native.simd_level())


if __name__ == "__main__":
    main()
