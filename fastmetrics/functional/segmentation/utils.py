"""Edges of masks, distances to and between them, and the lengths and areas of what they enclose."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv3d, pad

from fastmetrics.ops.surface import METRICS, distance_transform_
from fastmetrics.utilities.checks import _check_same_shape, check_choice
from fastmetrics.utilities.fallback import names_of_others

__all__ = [
    "binary_erosion",
    "check_if_binarized",
    "distance_transform",
    "edge_surface_distance",
    "generate_binary_structure",
    "get_neighbour_tables",
    "mask_edges",
    "surface_distance",
    "table_contour_length",
    "table_surface_area",
]


def check_if_binarized(x: Tensor) -> None:
    """Raise ``ValueError`` unless a tensor holds nothing but 0 and 1.

    >>> import torch
    >>> from fastmetrics.functional.segmentation.utils import check_if_binarized
    >>> check_if_binarized(torch.tensor([0, 1, 1]))
    """
    if not torch.all(x.bool() == x):
        raise ValueError("`x` must hold nothing but 0 and 1.")


def generate_binary_structure(rank: int, connectivity: int) -> Tensor:
    """Return the neighbours of the middle of a cube, bool ``[3, 3, ...]`` with ``rank`` axes.

    Those that differ from it in at most ``connectivity`` axes, at least one. Of no axes, uint8 1.

    >>> from fastmetrics.functional.segmentation.utils import generate_binary_structure
    >>> generate_binary_structure(2, 1).int()
    tensor([[0, 1, 0],
            [1, 1, 1],
            [0, 1, 0]], dtype=torch.int32)
    """
    if rank < 1:
        return torch.ones(1, dtype=torch.uint8)
    away = torch.tensor([1, 0, 1])
    total = sum(away.view(-1, *[1] * axis) for axis in range(rank))
    assert isinstance(total, Tensor)
    return total <= max(1, connectivity)


def binary_erosion(
    image: Tensor,
    structure: Tensor | None = None,
    origin: tuple[int, ...] | None = None,
    border_value: int = 0,
) -> Tensor:
    """Return which pixels have all of their neighbours in the image, uint8.

    Args:
        image: 0 and 1, ``[N, C, H, W]`` or ``[N, C, D, H, W]``.
        structure: which neighbours, 0 and 1; those that share a side unless given.
        origin: the place of the pixel itself in ``structure``; (1, 1, ...) unless given.
        border_value: what lies beyond the image.

    Raises:
        TypeError: the image is no tensor.
        ValueError: it has another number of axes, or holds others than 0 and 1.

    >>> import torch
    >>> from fastmetrics.functional.segmentation.utils import binary_erosion
    >>> binary_erosion(torch.tensor([[[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]]))[0, 0]
    tensor([[0, 0, 0],
            [0, 1, 0],
            [0, 0, 0]], dtype=torch.uint8)
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"`image` must be a tensor, got {type(image).__name__}.")
    if image.ndim not in (4, 5):
        raise ValueError(f"`image` must have 4 or 5 axes, got shape {tuple(image.shape)}.")
    check_if_binarized(image)
    if structure is None:
        structure = generate_binary_structure(image.ndim - 2, 1)
    check_if_binarized(structure)
    origin = origin or (1,) * structure.ndim
    sides = [(o, n - o - 1) for o, n in zip(origin, structure.shape, strict=True)]
    framed = pad(
        image.to(torch.uint8), [n for side in reversed(sides) for n in side], value=border_value
    )
    found = torch.ones_like(image, dtype=torch.uint8)
    for place in structure.nonzero().tolist():
        shifted = framed
        for axis, start in enumerate(place, start=2):
            shifted = shifted.narrow(axis, start, image.shape[axis])
        found &= shifted
    return found


def distance_transform(
    x: Tensor,
    sampling: Tensor | list[float] | None = None,
    metric: str = "euclidean",
    engine: str = "pytorch",
) -> Tensor:
    """Return the distance of each pixel that is 1 to the nearest one that is 0, float32.

    Exact, in time linear in the pixels; infinite where nothing is 0.

    Args:
        x: 0 and 1, ``[H, W]`` or ``[D, H, W]``.
        sampling: how far pixels lie apart along each axis; 1 unless given.
        metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        engine: ``"pytorch"`` or ``"scipy"``, which make no difference.

    Raises:
        ValueError: an argument other than these.

    >>> import torch
    >>> from fastmetrics.functional.segmentation.utils import distance_transform
    >>> distance_transform(torch.tensor([[0, 1, 1], [1, 1, 1]]))
    tensor([[0.0000, 1.0000, 2.0000],
            [1.0000, 1.4142, 2.2361]])
    """
    if not isinstance(x, Tensor):
        raise ValueError(f"`x` must be a tensor, got {type(x).__name__}.")
    if x.ndim not in (2, 3):
        raise ValueError(f"`x` must have shape (H, W) or (D, H, W), got {tuple(x.shape)}.")
    check_choice("metric", metric, METRICS)
    check_choice("engine", engine, ("pytorch", "scipy"))
    spacing = _spacing_of(sampling, x.ndim)
    found = torch.zeros(1, *x.shape, dtype=torch.float64, device=x.device)
    distance_transform_(found, (x != 0).unsqueeze(0), spacing, METRICS.index(metric))
    return found[0].float()


def _spacing_of(sampling: Any, axes: int) -> list[float]:
    """Return a spacing for each axis; raise ``ValueError`` for other numbers of them."""
    if sampling is None:
        return [1.0] * axes
    if not isinstance(sampling, (list, tuple, Tensor)):
        raise ValueError(f"`sampling` must be a list or tensor, got {type(sampling).__name__}.")
    if len(sampling) != axes:
        raise ValueError(f"`sampling` must have length {axes}, got {len(sampling)}.")
    return [float(each) for each in sampling]


def mask_edges(
    preds: Tensor,
    target: Tensor,
    crop: bool = True,
    spacing: tuple[int, int] | tuple[int, int, int] | None = None,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the edges of two masks, and with ``spacing`` their lengths or areas.

    Without ``spacing`` a pixel is an edge where a neighbour that shares a side is not in the mask;
    with it a corner between pixels is, where some but not all around it are.

    Args:
        preds: 0 and 1, ``[H, W]`` or ``[D, H, W]``; integers or bool.
        target: the same.
        crop: whether to frame the masks by one pixel, so that those at the border have edges; of
            two empty ones the masks themselves return, twice.
        spacing: how far pixels lie apart along each axis.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: they have another number of axes, or hold others than 0 and 1.

    >>> import torch
    >>> from fastmetrics.functional.segmentation.utils import mask_edges
    >>> mask = torch.ones(3, 3, dtype=torch.bool)
    >>> mask_edges(mask, mask, crop=False)[0].int()
    tensor([[1, 1, 1],
            [1, 0, 1],
            [1, 1, 1]], dtype=torch.int32)
    """
    _check_same_shape(preds, target)
    if preds.ndim not in (2, 3):
        raise ValueError(f"`preds` must have shape (H, W) or (D, H, W), got {tuple(preds.shape)}.")
    check_if_binarized(preds)
    check_if_binarized(target)
    if crop:
        if not (preds | target).any():
            nothing = torch.zeros_like(preds), torch.zeros_like(target)
            return *nothing, *nothing
        preds, target = (pad(mask, [1, 1] * mask.ndim) for mask in (preds, target))
    if spacing is None:
        edges = [binary_erosion(mask[None, None])[0, 0] ^ mask for mask in (preds, target)]
        return edges[0], edges[1]
    table, kernel = get_neighbour_tables(spacing, device=preds.device)
    convolve = conv2d if len(spacing) == 2 else conv3d
    codes = convolve(torch.stack([preds, target]).unsqueeze(1).float(), kernel.float())[:, 0].long()
    edges_of = (codes != 0) & (codes != len(table) - 1)
    sizes = table[codes]
    return edges_of[0], edges_of[1], sizes[0], sizes[1]


def surface_distance(
    preds: Tensor,
    target: Tensor,
    distance_metric: str = "euclidean",
    spacing: Tensor | list[float] | None = None,
) -> Tensor:
    """Return the distance of each edge of ``preds`` to the nearest of ``target``, float32.

    Infinite without an edge in one of them.

    Args:
        preds: bool ``[H, W]`` or ``[D, H, W]``.
        target: the same.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart along each axis; 1 unless given.

    Raises:
        ValueError: a mask is not bool, or another argument is none of these.

    >>> import torch
    >>> from fastmetrics.functional.segmentation.utils import surface_distance
    >>> preds, target = torch.tensor([[True, False, True]]), torch.tensor([[True, False, False]])
    >>> surface_distance(preds, target)
    tensor([0., 2.])
    """
    if not preds.dtype == target.dtype == torch.bool:
        raise ValueError(
            f"`preds` and `target` must be bool, got {preds.dtype} and {target.dtype}."
        )
    if target.any() and not preds.any():
        return torch.full((int(target.sum()),), torch.inf, device=preds.device)
    return distance_transform(~target, sampling=spacing, metric=distance_metric)[preds]


def edge_surface_distance(
    preds: Tensor,
    target: Tensor,
    distance_metric: str = "euclidean",
    spacing: Tensor | list[float] | None = None,
    symmetric: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the distances from the edges of one mask to those of another.

    Args:
        preds: 0 and 1, ``[H, W]`` or ``[D, H, W]``.
        target: the same.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart along each axis; 1 unless given.
        symmetric: whether to return the distances back, too.

    >>> import torch
    >>> from fastmetrics.functional.segmentation.utils import edge_surface_distance
    >>> edge_surface_distance(torch.tensor([[1, 1, 1]]), torch.tensor([[1, 0, 0]]), symmetric=True)
    (tensor([0., 1., 2.]), tensor([0.]))
    """
    one, other = (edges.bool() for edges in mask_edges(preds, target)[:2])
    there = surface_distance(one, other, distance_metric, spacing)
    return (there, surface_distance(other, one, distance_metric, spacing)) if symmetric else there


@functools.lru_cache
def get_neighbour_tables(
    spacing: tuple[int, int] | tuple[int, int, int], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return the table of lengths or areas for a spacing of two or three axes, and the kernel.

    >>> from fastmetrics.functional.segmentation.utils import get_neighbour_tables
    >>> [x.shape for x in get_neighbour_tables((1, 1, 1))]
    [torch.Size([256]), torch.Size([1, 1, 2, 2, 2])]
    """
    if isinstance(spacing, tuple) and len(spacing) == 2:
        return table_contour_length(spacing, device)
    if isinstance(spacing, tuple) and len(spacing) == 3:
        return table_surface_area(spacing, device)
    raise ValueError(f"`spacing` must be a tuple of 2 or 3 numbers, got {spacing!r}.")


def _kernel(axes: int, device: torch.device | None) -> Tensor:
    """Return the weight of each corner in the code of a cell: powers of two, the largest first."""
    weights = 2 ** torch.arange(2**axes - 1, -1, -1, device=device)
    return weights.view(1, 1, *[2] * axes)


def table_contour_length(
    spacing: tuple[int, int], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return the length of the contour in a cell of four pixels, by their code ``[16]``.

    Also the kernel ``[1, 1, 2, 2]`` that makes the codes of an image.

    >>> from fastmetrics.functional.segmentation.utils import table_contour_length
    >>> table_contour_length((1, 1))[0][:4]
    tensor([0.0000, 0.7071, 0.7071, 1.0000])
    """
    if len(spacing) != 2:
        raise ValueError(f"`spacing` must be a tuple of 2 numbers, got {spacing!r}.")
    first, second = spacing
    diagonal = math.hypot(first, second) / 2
    # By the number of pixels in the mask; of two, those in one row or column are neighbours.
    lengths = [0.0, diagonal, 2 * diagonal, diagonal, 0.0]
    straight = {0b0011: second, 0b1100: second, 0b0101: first, 0b1010: first}
    table = [straight.get(code, lengths[code.bit_count()]) for code in range(16)]
    return torch.tensor(table, dtype=torch.float32, device=device), _kernel(2, device)


# Cells of marching cubes that turns, reflections and complements do not make equal, by the code of
# one of them, and the normals of its facets in eighths, without signs.
_FACETS = {
    0: (),
    1: ((1, 1, 1),),
    3: ((2, 2, 0), (2, 2, 0)),
    6: ((1, 1, 1), (1, 1, 1)),
    7: ((1, 1, 1), (2, 2, 2), (4, 0, 0)),
    15: ((4, 0, 0), (4, 0, 0)),
    22: ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    23: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    24: ((1, 1, 1), (1, 1, 1)),
    25: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    27: ((0, 2, 2), (1, 1, 1), (2, 0, 2), (3, 3, 3)),
    30: ((1, 1, 1), (1, 1, 1), (2, 2, 2), (4, 0, 0)),
    60: ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    105: ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}


@functools.lru_cache
def _all_facets() -> list[list[tuple[int, ...]]]:
    """Return the normals of the facets of each of the 256 cells, from those of a few."""
    corners = [*itertools.product((0, 1), repeat=3)]  # from that of the highest bit on
    found: dict[int, list[tuple[int, ...]]] = {}
    for code, facets in _FACETS.items():
        inside = [corner for corner, bit in zip(corners, f"{code:08b}", strict=True) if bit == "1"]
        for axes in itertools.permutations(range(3)):
            normals = [tuple(facet[axis] for axis in axes) for facet in facets]
            for flips in corners:
                places = [
                    tuple(corner[axis] ^ flip for axis, flip in zip(axes, flips, strict=True))
                    for corner in inside
                ]
                turned = sum(1 << (7 - corners.index((x, y, z))) for x, y, z in places)
                found[turned] = found[255 - turned] = normals
    return [found[code] for code in range(256)]


def table_surface_area(
    spacing: tuple[int, int, int], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return the area of the surface in a cell of eight voxels, by their code ``[256]``.

    Also the kernel ``[1, 1, 2, 2, 2]`` that makes the codes of a volume. The surface is that of
    marching cubes (Lorensen and Cline, SIGGRAPH 1987) through the middles of edges.

    >>> from fastmetrics.functional.segmentation.utils import table_surface_area
    >>> table_surface_area((1, 1, 1))[0][:4]
    tensor([0.0000, 0.2165, 0.2165, 0.7071])
    """
    if len(spacing) != 3:
        raise ValueError(f"`spacing` must be a tuple of 3 numbers, got {spacing!r}.")
    first, second, third = spacing
    sides = second * third / 8, first * third / 8, first * second / 8
    table = [
        sum(
            math.hypot(*(n * side for n, side in zip(normal, sides, strict=True)))
            for normal in cell
        )
        for cell in _all_facets()
    ]
    return torch.tensor(table, dtype=torch.float32, device=device), _kernel(3, device)


__getattr__ = names_of_others(__name__)
