"""Mean average precision of several processes: each matches its own images, in any order."""

from __future__ import annotations

from pathlib import Path

import torch

from fastmetrics.detection import MeanAveragePrecision
from tests.detection.coco import made_up
from tests.distributed.processes import run_checks
from tests.distributed.test_packed import counted


def rows_alone_travel(rank: int, world: int) -> None:
    """Neither who has which images nor their order shows, though many scores are equal."""
    preds, target = made_up(5, images=9, classes=2, masks=16, tied=True)
    for number, image in enumerate(target):
        image["image_id"] = number
    options = {"iou_type": ("bbox", "segm"), "class_metrics": True}
    whole = MeanAveragePrecision(**options, sync_on_compute=False)
    whole.update(preds, target)
    wanted = whole.compute()
    kept = sum(len(image["labels"]) for image in (*preds, *target))
    for silent in (None, 0):  # a process without images
        working = [r for r in range(world) if r != silent]
        metric = MeanAveragePrecision(**options)
        if rank in working:
            own = range(8 - working.index(rank), -1, -len(working))
            for i in own:
                metric.update([preds[i]], [target[i]])
        with counted() as calls:
            found = metric.compute()
        # What each process has, in two, then all rows of both types in one.
        assert calls == ["all_gather"] * 3, calls
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert torch.equal(found[key], value), key
        with metric.sync_context():
            rows = metric._states.values
            assert {name: len(torch.as_tensor(x)) for name, x in rows.items()} == {
                "bbox": kept,
                "segm": kept,
            }


def test_two_processes(tmp_path: Path) -> None:
    run_checks(2, tmp_path, rows_alone_travel)


def test_three_processes(tmp_path: Path) -> None:
    run_checks(3, tmp_path, rows_alone_travel)
