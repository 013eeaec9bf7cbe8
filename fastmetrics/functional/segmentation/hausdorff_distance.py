"""Distances between the surfaces of segments: Hausdorff's, the average, and what is within reach.

Source: Huttenlocher et al., Comparing images using the Hausdorff distance, IEEE TPAMI 15 (1993);
surface Dice: Nikolov et al., Clinically applicable segmentation of head and neck anatomy for
radiotherapy, JMIR 23 (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.ops.faults import new_events, raise_events
from fastmetrics.ops.overlap import FORMATS
from fastmetrics.ops.surface import Surfaces, average_distance_of, hausdorff_of, surface_dice_of
from fastmetrics.utilities.checks import as_floats, check_bool, check_choice, check_int

__all__ = ["average_surface_distance", "hausdorff_distance", "normalized_surface_dice"]

Spacing = Tensor | Sequence[float] | None


def surfaces(
    num_classes: Any,
    include_background: Any,
    distance_metric: Any,
    spacing: Any,
    directed: Any,
    input_format: Any,
    **options: Any,
) -> Surfaces:
    """Return what is measured for these arguments; raise ``ValueError`` if one is none."""
    check_int("num_classes", num_classes, 1)
    check_bool("include_background", include_background)
    check_bool("directed", directed)
    check_choice("input_format", input_format, FORMATS)
    if spacing is not None:
        if not isinstance(spacing, (list, tuple, Tensor)):
            raise ValueError(f"`spacing` must be a list or tensor, got {type(spacing).__name__}.")
        spacing = tuple(as_floats("spacing", spacing))
    statistic = Surfaces(
        num_classes,
        include_background,
        input_format,
        distance_metric,
        spacing,
        directed,
        **options,
    )
    statistic.check()
    return statistic


def _of_classes(
    statistic: Surfaces, owner: str, batch: tuple[Tensor, Tensor], read: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the value of each image and class ``[N, C]``, float32."""
    events = new_events(batch[0].device)
    found = statistic.found(*batch, events)
    raise_events(owner, events)
    return read(found).view(len(batch[0]), -1).float()


@public
def hausdorff_distance(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    include_background: bool = False,
    distance_metric: str = "euclidean",
    spacing: Tensor | list[float] | None = None,
    directed: bool = False,
    input_format: str = "one-hot",
    *,
    percentile: float | None = None,
) -> Tensor:
    r"""Hausdorff distance of each class of each image, in the units of ``spacing``.

    With :math:`P` and :math:`T` the surfaces of a class, pixels of it with a neighbour along an
    axis that is not:

    .. math::
        \max\left(\max_{p \in P} d(p, T), \max_{t \in T} d(t, P)\right)

    Args:
        preds: as for :func:`~fastmetrics.functional.segmentation.dice_score`.
        target: the same.
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart, for each axis; None for 1.
        directed: whether only distances from ``preds`` to ``target`` count.
        input_format: as for :func:`~fastmetrics.functional.segmentation.dice_score`.
        percentile: of the distances, in place of the largest: 95 for a robust value.

    Returns:
        ``[N, C]``, float32; infinite where one surface is empty, NaN where both are.

    Raises:
        ValueError: an argument other than these, or the number of classes is another.
        RuntimeError: the shapes do not fit, or a label is out of range.

    >>> import torch
    >>> from fastmetrics.functional.segmentation import hausdorff_distance
    >>> preds = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 0]]])
    >>> target = torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]]])
    >>> hausdorff_distance(preds, target, num_classes=2, input_format="index")
    tensor([[2.]])
    """
    statistic = surfaces(
        num_classes,
        include_background,
        distance_metric,
        spacing,
        directed,
        input_format,
        percentile=percentile,
    )
    return _of_classes(
        statistic, "hausdorff_distance", (preds, target), lambda x: hausdorff_of(x, directed)
    )


@public
def average_surface_distance(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    include_background: bool = False,
    distance_metric: str = "euclidean",
    spacing: Tensor | list[float] | None = None,
    directed: bool = False,
    input_format: str = "one-hot",
) -> Tensor:
    """Mean distance between the surfaces of each class of each image, in the units of ``spacing``.

    The mean of the distances of the pixels of both surfaces to the nearest one of the other.

    Args:
        preds: as for :func:`hausdorff_distance`, and so are the other arguments.
        target: the same.
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart, for each axis; None for 1.
        directed: whether only distances from ``preds`` to ``target`` count.
        input_format: as for :func:`~fastmetrics.functional.segmentation.dice_score`.

    Returns:
        ``[N, C]``, float32; infinite where one surface is empty, NaN where both are.

    >>> import torch
    >>> from fastmetrics.functional.segmentation import average_surface_distance
    >>> preds = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 0]]])
    >>> target = torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]]])
    >>> average_surface_distance(preds, target, num_classes=2, input_format="index")
    tensor([[0.7500]])
    """
    statistic = surfaces(
        num_classes, include_background, distance_metric, spacing, directed, input_format
    )
    return _of_classes(
        statistic,
        "average_surface_distance",
        (preds, target),
        lambda x: average_distance_of(x, directed),
    )


@public
def normalized_surface_dice(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    tolerance: float,
    include_background: bool = False,
    distance_metric: str = "euclidean",
    spacing: Tensor | list[float] | None = None,
    input_format: str = "one-hot",
) -> Tensor:
    """Share of the surfaces of each class of each image that lies near the other, in [0, 1].

    Args:
        preds: as for :func:`hausdorff_distance`, and so are the other arguments.
        target: the same.
        num_classes: C.
        tolerance: the largest distance that is near, in the units of ``spacing``.
        include_background: whether class 0 counts; alone it always does.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart, for each axis; None for 1.
        input_format: as for :func:`~fastmetrics.functional.segmentation.dice_score`.

    Returns:
        ``[N, C]``, float32; NaN where both surfaces are empty.

    >>> import torch
    >>> from fastmetrics.functional.segmentation import normalized_surface_dice
    >>> preds = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 0]]])
    >>> target = torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]]])
    >>> normalized_surface_dice(preds, target, num_classes=2, tolerance=1, input_format="index")
    tensor([[0.7500]])
    """
    statistic = surfaces(
        num_classes,
        include_background,
        distance_metric,
        spacing,
        False,
        input_format,
        tolerance=tolerance,
    )
    return _of_classes(statistic, "normalized_surface_dice", (preds, target), surface_dice_of)
