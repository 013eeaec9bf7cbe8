"""The page about adding a metric is followed to the letter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

from fastmetrics.classification import BinaryPrecision

PAGE = (Path(__file__).parents[1] / "docs" / "adding-a-metric.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_example_prints_what_the_page_says():
    (expected,) = blocks("text")
    code = "from __future__ import annotations\n" + "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected
    assert not done.stderr


def test_the_metric_of_the_example_is_right():
    """One minus precision, however the data is split, in forward, and in a copy."""
    names: dict = {"__name__": "docs.example"}
    for block in blocks("python"):
        exec(block, names)
    preds, target = torch.rand(1000), torch.randint(2, (1000,))
    metric, other = names["BinaryFalseDiscoveryRate"](), names["BinaryFalseDiscoveryRate"]()
    for part in range(0, 1000, 300):
        batch = preds[part : part + 300], target[part : part + 300]
        expected = names["binary_false_discovery_rate"](*batch)
        assert torch.equal(metric(*batch), expected)
    other.load_state_dict(metric.state_dict(), strict=False)
    other.merge_state(metric)
    precision = BinaryPrecision()
    precision.update(preds, target)
    for each in (metric, other.clone()):
        torch.testing.assert_close(each.compute(), 1 - precision.compute())


def test_the_files_it_names_are_there():
    root = Path(__file__).parents[1]
    named = re.findall(r"`((?:tests|docs|fastmetrics|csrc)/[\w./]+?)/?`", PAGE)
    assert len(named) > 5
    assert not [name for name in named if not (root / name).exists()]
