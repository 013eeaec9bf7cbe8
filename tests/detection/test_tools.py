"""Files of COCO's format, polygons, tables of confusions and figures."""

from __future__ import annotations

import json

import matplotlib as mpl
import numpy as np
import pytest
import torch
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO

from fastmetrics.detection import MeanAveragePrecision
from fastmetrics.functional.detection import mean_average_precision
from fastmetrics.ops.polygons import filled
from fastmetrics.ops.run_lengths import decoded, runs_of, text_of
from tests.detection.coco import made_up

mpl.use("Agg")


def test_polygons_are_filled_as_the_tools_do():
    rng = np.random.default_rng(0)
    for i in range(60):
        height, width = (int(x) for x in rng.integers(1, 40, 2))
        polygons = [
            [*rng.uniform(-5, 45, 2 * int(rng.integers(3, 9)))]
            for _ in range(int(rng.integers(1, 3)))
        ]
        if i % 3 == 0:
            polygons = [[float(round(x)) for x in polygon] for polygon in polygons]
        codes = mask_tools.merge(mask_tools.frPyObjects(polygons, height, width))
        wanted = torch.from_numpy(mask_tools.decode(codes)).bool()
        assert torch.equal(filled(polygons, height, width), wanted)
        assert text_of(runs_of(wanted)) == codes["counts"].decode()
        assert torch.equal(decoded("mask", [codes])[0], wanted)


def test_run_lengths_that_are_refused():
    for mask in (
        3,
        {"size": [2, 2]},
        {"size": [2, 2], "counts": [1, 2]},
        {"size": [1, 1], "counts": [2, -1]},
    ):
        with pytest.raises(ValueError, match="masks must"):
            decoded("masks", [mask])
    two = [{"size": [1, 2], "counts": [2]}, {"size": [2, 1], "counts": [2]}]
    with pytest.raises(ValueError, match="masks must have one size"):
        decoded("masks", two)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_files_there_and_back(iou_type, tmp_path):
    """The COCO tools read what is written, and what is read gives the same values."""
    preds, target = made_up(3, masks=12, extras=False)
    both = [(p, t) for p, t in zip(preds, target, strict=True) if len(t["labels"])]
    preds, target = ([pair[i] for pair in both] for i in range(2))
    metric = MeanAveragePrecision(iou_type=iou_type, keep_inputs=True)
    metric.update(preds, target)
    name = str(tmp_path / "map")
    metric.tm_to_coco(name)
    COCO(f"{name}_target.json").loadRes(f"{name}_preds.json")
    read = MeanAveragePrecision.coco_to_tm(f"{name}_preds.json", f"{name}_target.json", iou_type)
    values = mean_average_precision(*read, iou_type=iou_type, box_format="xywh")
    for key, value in metric.compute().items():
        assert torch.equal(values[key], value), key
    metric.reset()
    metric.tm_to_coco(name)
    assert json.loads((tmp_path / "map_preds.json").read_text()) == []


def test_images_are_kept_only_where_that_is_asked_for(tmp_path):
    metric = MeanAveragePrecision()
    for ask in (lambda: metric.tm_to_coco(str(tmp_path / "x")), metric.confusion_matrix):
        with pytest.raises(RuntimeError, match="keep_inputs=True"):
            ask()
    with pytest.raises(ValueError, match="compares boxes"):
        MeanAveragePrecision(iou_type="segm", keep_inputs=True).confusion_matrix()


def test_confusions_count_every_box_once():
    preds, target = made_up(4, classes=3)
    metric = MeanAveragePrecision(keep_inputs=True)
    metric.update(preds, target)
    table = metric.confusion_matrix(iou=0.5, score=0.3)
    classes = metric.compute()["classes"].tolist()
    truths = torch.cat([image["labels"] for image in target])
    kept = torch.cat([image["labels"][image["scores"] > 0.3] for image in preds])
    for i, label in enumerate(classes):
        assert table[:, i].sum() == (truths == label).sum()
        assert table[i].sum() == (kept == label).sum()
    assert table[-1, -1] == 0 and table[:-1, :-1].sum() > 0


def test_precision_recall_figure():
    preds, target = made_up(5, classes=2)
    metric = MeanAveragePrecision(extended_summary=True)
    metric.update(preds, target)
    values = metric.compute()
    figure, ax = metric.plot_precision_recall(int(values["classes"][0]), iou=0.75)
    metric.plot_precision_recall(ax=ax)
    first, mean = ax.get_lines()
    wanted = values["precision"][5, :, 0, 0, -1]
    assert torch.equal(torch.tensor(first.get_ydata(), dtype=torch.float64), wanted)
    assert len(mean.get_xdata()) == 101
    with pytest.raises(ValueError, match="`label` must be one of the classes that came"):
        metric.plot_precision_recall(99)
    mpl.pyplot.close(figure)


def test_plot():
    preds, target = made_up(6)
    metric = MeanAveragePrecision()
    metric.update(preds, target)
    figure, _ = metric.plot()
    mpl.pyplot.close(figure)
