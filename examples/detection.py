"""Detections in photographs: mean average precision, precision-recall curves, best and worst image.

No detector is at hand offline, so both sides are made from the photographs that scikit-learn brings
along: what is brighter than its surroundings is an object, and the "detector" looks for the same in
a blurred and noisy copy. Needs scikit-learn, scipy, pillow and matplotlib.
"""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import ndimage
from sklearn.datasets import load_sample_images

from fastmetrics.detection import MeanAveragePrecision
from fastmetrics.functional.detection import mean_average_precision

TILE = 160
LEAST_AREA = 40
CLASSES = {0: "warm", 1: "cold"}


def tiles() -> list[np.ndarray]:
    """Cut the photographs into squares."""
    found = []
    for photo in load_sample_images().images:
        for top in range(0, photo.shape[0] - TILE, TILE):
            for left in range(0, photo.shape[1] - TILE, TILE):
                found.append(photo[top : top + TILE, left : left + TILE].astype(np.float32))
    return found


def objects(tile: np.ndarray) -> dict[str, torch.Tensor]:
    """Return boxes, classes and scores of what is brighter than its surroundings."""
    light = ndimage.gaussian_filter(tile.mean(-1), 2)
    contrast = light - ndimage.gaussian_filter(light, 16)
    regions, _ = ndimage.label(contrast > 12)
    boxes, labels, scores = [], [], []
    for number, place in enumerate(ndimage.find_objects(regions), 1):
        inside = regions[place] == number
        if inside.sum() < LEAST_AREA:
            continue
        rows, columns = place
        boxes.append([columns.start, rows.start, columns.stop, rows.stop])
        red, _, blue = tile[place][inside].mean(0)
        labels.append(0 if red > blue else 1)
        scores.append(1 - np.exp(-contrast[place][inside].mean() / 20))
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores, dtype=torch.float32),
    }


def degraded(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a blurred and noisy copy."""
    return ndimage.gaussian_filter(tile, (2, 2, 0)) + rng.normal(0, 12, tile.shape)


def draw(ax: plt.Axes, tile: np.ndarray, found: dict, truth: dict, title: str) -> None:
    """Draw what is there in green, and what was found in red."""
    ax.imshow(tile / 255)
    for image, color in ((truth, "lime"), (found, "red")):
        for x1, y1, x2, y2 in image["boxes"].tolist():
            ax.add_patch(plt.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color))
    ax.set(title=title, xticks=[], yticks=[])


def main() -> None:
    """Print the table, and draw curves and two images."""
    rng = np.random.default_rng(0)
    photos = tiles()
    target = [objects(tile) for tile in photos]
    preds = [objects(degraded(tile, rng)) for tile in photos]
    metric = MeanAveragePrecision(class_metrics=True, keep_inputs=True)
    for i in range(0, len(photos), 4):
        metric.update(preds[i : i + 4], target[i : i + 4])
    for name, value in metric.compute().items():
        print(f"{name:20} {value.tolist()}")
    print("detected by true class, the last is none:\n", metric.confusion_matrix().numpy())
    alone = [
        mean_average_precision([found], [truth])["map"].item()
        for found, truth in zip(preds, target, strict=True)
    ]
    known = [i for i, value in enumerate(alone) if value >= 0]
    best, worst = (choose(known, key=lambda i: alone[i]) for choose in (max, min))
    figure, axes = plt.subplots(1, 3, figsize=(15, 5))
    for label in CLASSES:
        metric.plot_precision_recall(label, iou=0.5, ax=axes[0])
    for ax, i, title in ((axes[1], best, "best"), (axes[2], worst, "worst")):
        draw(ax, photos[i], preds[i], target[i], f"{title}: map {alone[i]:.2f}")
    figure.savefig("detection.png")
    print("written: detection.png")


if __name__ == "__main__":
    main()
