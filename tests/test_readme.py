"""The README says what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fastmetrics.ops.define import REFERENCES
from fastmetrics.ops.strings import every_kernel

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_prints_what_it_says():
    (example,), (output,) = blocks("python"), blocks("text")
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=True
    )
    assert done.stdout == output
    assert not done.stderr
    assert len(example.strip().splitlines()) <= 12


def test_the_table_names_every_op():
    assert sorted(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)) == sorted(
        [*REFERENCES, *every_kernel()]
    )


def test_commands_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", README, flags=re.MULTILINE))
    commands = {first or second for first, second in commands}
    assert {"demo", "test", "bench"} <= commands
    for command in commands:
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE), command


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
