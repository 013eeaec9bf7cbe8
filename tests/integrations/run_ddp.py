"""Trains in two processes, which Lightning starts from this script, and writes what each saw.

Called with a folder; each process leaves ``<library>-<rank>.json`` there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integrations import digits


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for library in ("fastmetrics", "torchmetrics"):
        trainer, recorder = digits.fit(library, devices=2, strategy="ddp")
        assert trainer.world_size == 2
        result = {
            "rows": recorder.rows,
            "callback": {k: v.item() for k, v in trainer.callback_metrics.items()},
        }
        (folder / f"{library}-{trainer.global_rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    main(Path(sys.argv[1]))
