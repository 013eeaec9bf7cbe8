"""Evaluates in two processes, which torchrun starts, and writes what each has.

Called with a folder, where each process leaves ``<rank>.json``, and what evaluates: "loop" or
"trainer".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from fastmetrics import MetricCollection
from fastmetrics.classification import MulticlassAUROC, MulticlassF1Score

ROOT = Path(__file__).parents[2]
ALONE = {"sync_on_compute": False}


def launch(folder: Path, what: str) -> list[dict[str, Any]]:
    """Run this script, and return what each process has left."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *torchrun, __file__, str(folder), what],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def loop(folder: Path) -> dict[str, Any]:
    """Evaluate in a plain loop."""
    from accelerate import Accelerator, DataLoaderConfiguration

    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(
        torch.randn(73, 4, generator=generator), torch.randint(4, (73,), generator=generator)
    )
    # Without this the last batches are filled up with samples from the start.
    config = DataLoaderConfiguration(even_batches=False)
    accelerator = Accelerator(cpu=True, dataloader_config=config)
    loader = accelerator.prepare(DataLoader(data, batch_size=8))
    metrics = MetricCollection([MulticlassF1Score(4), MulticlassAUROC(4)]).to(accelerator.device)
    samples = 0
    for logits, target in loader:
        metrics.update(logits, target)
        samples += len(target)
    alone = MetricCollection([MulticlassF1Score(4, **ALONE), MulticlassAUROC(4, **ALONE)])
    alone.update(*data.tensors)
    return {"found": numbers(metrics), "wanted": numbers(alone), "samples": samples}


def trainer(folder: Path) -> dict[str, Any]:
    """Evaluate in a trainer."""
    from tests.integrations import test_transformers

    run = test_transformers.trainer(folder, MulticlassF1Score(3), batch_eval_metrics=True)
    found = run.evaluate()["eval_MulticlassF1Score"]
    samples = test_transformers.data()
    x, labels = (torch.stack([sample[key] for sample in samples]) for key in ("x", "labels"))
    with torch.no_grad():
        logits = run.accelerator.unwrap_model(run.model)(x, labels).logits
    metric = MulticlassF1Score(3, **ALONE)
    metric.update(logits, labels)
    return {"found": found, "wanted": metric.compute().item()}


def numbers(metrics: MetricCollection) -> dict[str, float]:
    return {name: value.item() for name, value in metrics.compute().items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    row = {"loop": loop, "trainer": trainer}[sys.argv[2]](folder)
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(row))
    torch.distributed.destroy_process_group()
