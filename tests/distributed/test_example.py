"""The example of a sharded file: processes of `torchrun`, and jobs that are merged afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "sharded_predictions.py"
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")


def start(*arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launcher, str(EXAMPLE), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def output(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=250)
    assert process.returncode == 0
    return text


@pytest.mark.exhaustive
def test_all_ways_give_the_same_value(tmp_path: Path) -> None:
    """To the bit, counts and sums alike."""
    predictions = tmp_path / "predictions.pt"
    output(start("make", predictions))
    single = start("score", predictions)
    states = [tmp_path / f"{i}.states" for i in range(3)]
    jobs = [
        start("job", predictions, "--shard", i, "--of", 3, path) for i, path in enumerate(states)
    ]
    expected = json.loads(output(single))
    assert set(expected) == {"accuracy", "auroc", "calibration"}
    for job in jobs:
        output(job)
    live = start("score", predictions, launcher=TORCHRUN)
    merged = start("merge", *states)
    assert json.loads(output(merged)) == expected
    assert json.loads(output(live)) == expected
