"""Metrics of texts of several processes: sums and rows travel, and no string does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils._pytree import tree_leaves

from fastmetrics import text
from tests.distributed.processes import run_checks
from tests.every import MAKERS, Case, metrics

EACH = (
    *((name, "sentences") for name in ("WordErrorRate", "CharErrorRate", "WordInfoLost")),
    *((name, "references") for name in ("TranslationEditRate", "ExtendedEditDistance")),
    ("CHRFScore", "references"),
)


def cases() -> list[Case]:
    every = [case for case in metrics() if case.of_text]
    found = [Case(case.name, getattr(text, case.name), case.inputs) for case in every]
    for name, kind in EACH:
        make = partial(getattr(text, name), return_sentence_level_score=True)
        found.append(Case(name, make, MAKERS[kind]))
    for reduction in ("sum", "none"):
        make = partial(text.EditDistance, reduction=reduction)
        found.append(Case("EditDistance", make, MAKERS["sentences"]))
    return found


def values(rank: int, world: int) -> None:
    """Of all processes as of one that sees everything; some may see nothing."""
    for case in cases():
        for silent in (None, 0, world - 1):
            metric, single = case.make(), case.make(sync_on_compute=False)
            for r in range(world):
                torch.manual_seed(r)
                batch = case.inputs(2 + r)
                if r != silent:
                    single.update(*batch)
                    if r == rank:
                        metric.update(*batch)
            for found, expected in zip(
                tree_leaves(metric.compute()), tree_leaves(single.compute()), strict=True
            ):
                torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def no_objects(rank: int, world: int) -> None:
    """Nothing is pickled on its way."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("an object was sent")

    for name in ("all_gather_object", "broadcast_object_list", "gather_object"):
        setattr(dist, name, refuse)
        setattr(dist.distributed_c10d, name, refuse)
    values(rank, world)


def test_texts_of_several_processes(tmp_path: Path) -> None:
    run_checks(3, tmp_path, no_objects)
