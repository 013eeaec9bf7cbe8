"""Distances between surfaces, and the helpers: torchmetrics' and scipy's values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torchmetrics.functional.segmentation as their_functions
import torchmetrics.functional.segmentation.utils as their_utils
import torchmetrics.segmentation as theirs
from scipy import ndimage

import fastmetrics.functional.segmentation as functions
import fastmetrics.functional.segmentation.utils as utils
import fastmetrics.segmentation as ours
from fastmetrics import MetricCollection
from fastmetrics.ops.surface import METRICS

SPACINGS = (None, [1.5, 0.7], [2, 3])
close = torch.testing.assert_close


def masks(*shape: int, seed: int = 0, share: float = 0.5) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share).long()


def scipy_distances(one: np.ndarray, other: np.ndarray, spacing: list[float]) -> np.ndarray:
    """The distances of both surfaces to each other."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (one, other)]
    far = [ndimage.distance_transform_edt(~edge, spacing) for edge in edges]
    return far[1][edges[0]], far[0][edges[1]]


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_hausdorff_distances_are_those_of_torchmetrics(metric, directed):
    for seed, spacing in enumerate(SPACINGS):
        preds, target = masks(2, 3, 9, 9, seed=seed), masks(2, 3, 9, 9, seed=seed + 9)
        options = {"distance_metric": metric, "spacing": spacing, "directed": directed}
        found = functions.hausdorff_distance(preds, target, 3, **options)
        close(found, their_functions.hausdorff_distance(preds, target, 3, **options))
        own, other = (x.HausdorffDistance(3, **options) for x in (ours, theirs))
        for i in range(2):
            batch = preds[i : i + 1], target[i : i + 1]
            close(own(*batch), other(*batch))
        close(own.compute(), other.compute())
        close(own.score, other.score)
        assert own.total == other.total
        own.persistent("torchmetrics")
        other.persistent(True)
        one, another = (x.HausdorffDistance(3, **options) for x in (theirs, ours))
        one.persistent(True)
        one.load_state_dict(own.state_dict())
        another.load_state_dict(other.state_dict())
        close(one.compute(), another.compute())


@pytest.mark.parametrize("shape", [(7, 12), (5, 6, 7)])
def test_distances_are_those_of_scipy(shape):
    spacing = [0.5, 2.0, 1.25][: len(shape)]
    preds, target = masks(3, 2, *shape, seed=1), masks(3, 2, *shape, seed=2)
    found = {
        "largest": functions.hausdorff_distance(preds, target, 2, True, spacing=spacing),
        "robust": functions.hausdorff_distance(
            preds, target, 2, True, spacing=spacing, percentile=95
        ),
        "average": functions.average_surface_distance(preds, target, 2, True, spacing=spacing),
        "near": functions.normalized_surface_dice(preds, target, 2, 1.0, True, spacing=spacing),
    }
    for i, c in itertools.product(range(3), range(2)):
        both = scipy_distances(preds[i, c].numpy() > 0, target[i, c].numpy() > 0, spacing)
        every = np.concatenate(both)
        wanted = {
            "largest": max(x.max() for x in both),
            "robust": max(np.percentile(x, 95) for x in both),
            "average": every.mean(),
            "near": (every <= 1.0).mean(),
        }
        for name, value in wanted.items():
            assert found[name][i, c].item() == pytest.approx(value, rel=1e-6), name


def test_empty_surfaces_are_far_from_others_and_nowhere_from_each_other():
    preds, target = torch.zeros(1, 3, 4, 4, dtype=torch.long), torch.zeros(1, 3, 4, 4).long()
    preds[0, 0, 1, 1] = target[0, 0, 1, 2] = preds[0, 1, 2, 2] = 1
    for directed in (False, True):
        options = {"include_background": True, "directed": directed}
        found = functions.hausdorff_distance(preds, target, 3, **options)
        assert found[0, :2].tolist() == [1.0, torch.inf] and found[0, 2].isnan()
        back = functions.hausdorff_distance(target, preds, 3, **options)
        assert back[0, :2].tolist() == [1.0, torch.inf] and back[0, 2].isnan()
    metric = ours.HausdorffDistance(3, include_background=True)
    metric.update(preds[:, [0, 2, 2]], target[:, [0, 2, 2]])
    assert metric.compute() == 1.0 and metric.total == 1
    near = functions.normalized_surface_dice(preds, target, 3, 1, True)
    assert near[0, :2].tolist() == [1.0, 0.0] and near[0, 2].isnan()


def test_one_pass_measures_all_that_a_collection_asks():
    arguments = {"num_classes": 3, "spacing": [1.0, 2.0]}
    members = [
        ours.HausdorffDistance(percentile=95, **arguments),
        ours.AverageSurfaceDistance(**arguments),
    ]
    together = MetricCollection([metric.clone() for metric in members])
    batch = masks(2, 3, 8, 9, seed=1), masks(2, 3, 8, 9, seed=2)
    together.update(*batch)
    for metric in members:
        metric.update(*batch)
        assert together.compute()[type(metric).__name__] == metric.compute()
    kept = [type(m._states).__name__ for m in together.values(copy_state=False)]
    assert kept.count("Derived") == 1


def test_formats_measure_the_same():
    labels = torch.randint(3, (2, 2, 8, 9), generator=torch.Generator().manual_seed(0))
    hot = torch.nn.functional.one_hot(labels, 3).movedim(-1, 2)
    wanted = functions.hausdorff_distance(labels[0], labels[1], 3, input_format="index")
    for preds, target, kind in (
        (hot[0], hot[1], "one-hot"),
        (hot[0], labels[1], "mixed"),
        (hot[0] * 2.0, labels[1], "logits"),
        (hot[0] * 2.0, hot[1], "one-hot"),
    ):
        found = functions.hausdorff_distance(preds, target, 3, input_format=kind)
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_classes": 0}, "`num_classes` must be"),
        ({"distance_metric": "cosine"}, "`distance_metric` must be"),
        ({"spacing": 2.0}, "`spacing` must be a list"),
        ({"directed": 1}, "`directed` must be a bool"),
        ({"percentile": 101}, r"`percentile` must be in \[0, 100\]"),
        ({"input_format": "rgb"}, "`input_format` must be"),
    ],
)
def test_bad_arguments_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        ours.HausdorffDistance(**{"num_classes": 3} | options)


@pytest.mark.parametrize("shape", [(7, 7), (6, 9), (4, 5, 6)])
def test_edges_are_those_of_torchmetrics(shape):
    spacing = tuple([1.5, 2, 3][: len(shape)])
    for seed, dtype in enumerate((torch.bool, torch.int64, torch.uint8)):
        preds, target = masks(*shape, seed=seed).to(dtype), masks(*shape, seed=seed + 5).to(dtype)
        for crop, step in itertools.product((True, False), (None, spacing)):
            found = utils.mask_edges(preds, target, crop, step)
            for one, other in zip(
                found, their_utils.mask_edges(preds, target, crop, step), strict=True
            ):
                close(one, other)
        structure = masks(*[3] * len(shape), seed=seed)
        for value in (0, 1):
            image = preds[None, None]
            found = utils.binary_erosion(image, structure, border_value=value)
            close(found, their_utils.binary_erosion(image, structure, border_value=value))
    nothing = torch.zeros(shape, dtype=torch.bool)
    assert len(utils.mask_edges(nothing, nothing)) == 4


@pytest.mark.parametrize("metric", METRICS)
def test_distances_of_edges_are_those_of_torchmetrics(metric):
    for seed, spacing in enumerate(SPACINGS):
        one, other = masks(7, 7, seed=seed), masks(7, 7, seed=seed + 5)
        close(
            utils.distance_transform(one, spacing, metric),
            their_utils.distance_transform(one, spacing, metric),
        )
        for symmetric in (True, False):
            found = utils.edge_surface_distance(one, other, metric, spacing, symmetric)
            close(found, their_utils.edge_surface_distance(one, other, metric, spacing, symmetric))
    mask, nothing = masks(7, 7).bool(), torch.zeros(7, 7, dtype=torch.bool)
    for pair in ((mask, nothing), (nothing, mask)):
        close(utils.surface_distance(*pair), their_utils.surface_distance(*pair))


def test_a_transform_of_another_height_than_width_is_that_of_scipy():
    mask = masks(5, 9)
    found = utils.distance_transform(mask, [1.0, 2.0])
    wanted = ndimage.distance_transform_edt(mask.numpy(), [1.0, 2.0])
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 0.7])
def test_tables_are_those_of_torchmetrics(scale):
    for spacing in ((scale, 3), (scale, 1.5, 2)):
        found = utils.get_neighbour_tables(spacing)
        for one, other in zip(found, their_utils.get_neighbour_tables(spacing), strict=True):
            close(one, other)
    for rank, connectivity in itertools.product(range(4), range(5)):
        found = utils.generate_binary_structure(rank, connectivity)
        close(found, their_utils.generate_binary_structure(rank, connectivity))
