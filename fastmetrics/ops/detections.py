"""Batches of images with boxes or masks, as lists of dictionaries, made flat for the ops.

The checks look at whole columns, which is fast; only when one fails does :func:`_blame` go through
the images for the one to name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.box_matches import pack_masks_, words_for
from fastmetrics.ops.checks import LABEL_DTYPES, SCORE_DTYPES
from fastmetrics.ops.run_lengths import decoded

BOX_FORMATS = ("xyxy", "xywh", "cxcywh")
KEYS = {"bbox": "boxes", "segm": "masks"}

Images = Sequence[Mapping[str, Any]]
# Says what is wrong with one value, or returns None.
Fault = Callable[[Any], str | None]
Convert = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Detections:
    """The flat form of one side of a batch.

    Attributes:
        sizes: how many each image has.
        labels: int64 ``[D]``.
        boxes: ``[D, 4]``, or None.
        masks: contiguous masks ``[N, H, W]`` of each image, or None.
        scores: float64 ``[D]``, or None.
    """

    sizes: list[int]
    labels: Tensor
    boxes: Tensor | None = None
    masks: list[Tensor] | None = None
    scores: Tensor | None = None


def check_images(preds: Any, target: Any) -> None:
    """Raise ``ValueError`` unless both are sequences of as many images."""
    for name, images in (("preds", preds), ("target", target)):
        if not isinstance(images, Sequence) or isinstance(images, str):
            raise ValueError(
                f"`{name}` must be a sequence of one dictionary for each image, got"
                f" {type(images).__name__}."
            )
    if len(preds) != len(target):
        raise ValueError(
            f"`preds` and `target` must have as many images, got {len(preds)} and {len(target)}."
        )


def flatten(
    name: str, images: Images, iou_types: Sequence[str], convert: Convert, *, scores: bool = False
) -> Detections:
    """Return the flat form of ``preds`` or ``target``.

    Args:
        name: which of the two, for errors.
        images: one dictionary for each image.
        iou_types: "bbox", "segm" or both: what must be there.
        convert: brings boxes ``[N, 4]`` into another form.
        scores: whether scores must be there.

    Raises:
        ValueError: a key is missing, a value is no tensor, or has another shape, dtype or length
            than it must have; the first such image is named.
    """
    keys = [*(KEYS[each] for each in iou_types), "labels", *(["scores"] if scores else [])]
    columns = {key: _column(name, images, key) for key in keys}
    sizes = {key: _sizes(name, key, column) for key, column in columns.items()}
    first = sizes["labels"]
    for key in keys:
        if sizes[key] != first:
            i = next(i for i, size in enumerate(sizes[key]) if size != first[i])
            raise ValueError(
                f"`{name}`: image {i}: `{key}` and `labels` must be of one length, got"
                f" {sizes[key][i]} and {first[i]}."
            )
    return Detections(
        first,
        _labels(name, "labels", columns["labels"]),
        _boxes(name, columns["boxes"], convert) if "boxes" in columns else None,
        _masks(name, columns["masks"]) if "masks" in columns else None,
        _scores(name, columns["scores"]) if scores else None,
    )


def _column(name: str, images: Images, key: str) -> list[Any]:
    try:
        return [image[key] for image in images]
    except (KeyError, TypeError, IndexError):
        for i, image in enumerate(images):
            if not isinstance(image, Mapping):
                raise ValueError(
                    f"`{name}`: image {i}: must be a dictionary, got {type(image).__name__}."
                ) from None
            if key not in image:
                raise ValueError(
                    f"`{name}`: image {i}: needs `{key}`, got {sorted(image)}."
                ) from None
        raise


def _blame(name: str, key: str, column: Sequence[Any], fault: Fault) -> None:
    """Raise ``ValueError`` for the first value that something is wrong with."""
    for i, value in enumerate(column):
        text = fault(value)
        if text is not None:
            raise ValueError(f"`{name}`: image {i}: `{key}` must {text}.")


def _form(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}"


def _sizes(name: str, key: str, column: list[Any]) -> list[int]:
    def fault(value: Any) -> str | None:
        if key == "masks" and isinstance(value, (list, tuple)):
            return None
        if not isinstance(value, Tensor):
            return f"be a tensor, got {type(value).__name__}"
        return None if value.ndim else "have an axis of objects, got a scalar"

    try:
        return [value.size(0) for value in column]
    except (AttributeError, IndexError, TypeError):
        _blame(name, key, column, fault)
        return [len(value) for value in column]


def _one_tensor(name: str, key: str, column: list[Tensor], fault: Fault) -> Tensor:
    """Return the values of all images, which have one dtype and go together."""
    if len({value.dtype for value in column}) > 1:
        _blame(name, key, column, fault)
        # An empty list is float32 unless somebody says otherwise.
        column = [value for value in column if value.numel()] or column[:1]
    try:
        flat = torch.cat(column) if column else torch.empty(0)
    except (RuntimeError, TypeError):
        _blame(name, key, column, fault)
        raise
    if flat.numel() and fault(flat):
        _blame(name, key, column, fault)
    return flat


def _labels(name: str, key: str, column: list[Tensor]) -> Tensor:
    def fault(value: Tensor) -> str | None:
        if value.numel() and (value.dtype not in LABEL_DTYPES or value.ndim != 1):
            return f"hold integers (N,), got {_form(value)}"
        return None

    flat = _one_tensor(name, key, column, fault)
    return flat if flat.dtype is torch.int64 and flat.ndim == 1 else flat.long().flatten()


def _scores(name: str, column: list[Tensor]) -> Tensor:
    def fault(value: Tensor) -> str | None:
        if value.numel() and (value.dtype not in SCORE_DTYPES or value.ndim != 1):
            return f"hold floats (N,), got {_form(value)}"
        return None

    flat = _one_tensor(name, "scores", column, fault).double()
    return flat if flat.ndim == 1 else flat.flatten()


def _boxes(name: str, column: list[Tensor], convert: Convert) -> Tensor:
    def fault(value: Tensor) -> str | None:
        real = value.dtype in SCORE_DTYPES or value.dtype in LABEL_DTYPES - {torch.bool}
        if value.numel() and (not real or value.ndim != 2 or value.shape[1] != 4):
            return f"hold real numbers (N, 4), got {_form(value)}"
        return None

    if len({value.dtype for value in column}) > 1:
        _blame(name, "boxes", column, fault)
        column = [convert(value) for value in column if value.numel()]
        return torch.cat(column)
    return convert(_one_tensor(name, "boxes", column, fault).reshape(-1, 4))


def to_xyxy(boxes: Tensor, box_format: str) -> Tensor:
    """Return boxes ``[N, 4]`` as two corners, worked out in their own dtype."""
    if box_format == "xyxy":
        return boxes
    place, size = boxes[:, :2], boxes[:, 2:]
    if box_format == "xywh":
        return torch.cat((place, place + size), 1)
    half = 0.5 * size
    return torch.cat((place - half, place + half), 1)


def to_xywh(boxes: Tensor, box_format: str) -> Tensor:
    """Return boxes ``[N, 4]`` as corner, width and height, worked out in their own dtype."""
    if box_format == "xywh":
        return boxes
    corners = to_xyxy(boxes, box_format)
    converted = corners.clone()
    converted[:, 2:] -= corners[:, :2]
    return converted


def _masks(name: str, column: list[Any]) -> list[Tensor]:
    def fault(value: Any) -> str | None:
        if not isinstance(value, Tensor):  # run lengths
            return None
        good = value.dtype in (torch.bool, torch.uint8) and value.ndim == 3
        if value.numel() and not good:
            return f"be bool or uint8 (N, H, W), got {_form(value)}"
        return None

    _blame(name, "masks", column, fault)
    return [
        (value if value.ndim == 3 else value.new_zeros(0, 0, 0, dtype=torch.bool)).contiguous()
        if isinstance(value, Tensor)
        else decoded(f"`{name}`: image {i}: `masks`", value)
        for i, value in enumerate(column)
    ]


def mask_words(found: list[Tensor], truth: list[Tensor]) -> list[int]:
    """Return how many words a mask of each image takes.

    Raises:
        ValueError: detections and ground truths of an image have masks of different shapes.
    """
    words = []
    for i, (ours, theirs) in enumerate(zip(found, truth, strict=True)):
        if len(ours) and len(theirs) and ours.shape[1:] != theirs.shape[1:]:
            raise ValueError(
                f"image {i}: `masks` of `preds` and `target` must have one shape (H, W), got"
                f" {tuple(ours.shape[1:])} and {tuple(theirs.shape[1:])}."
            )
        height, width = (ours if len(ours) else theirs).shape[1:]
        words.append(words_for(height * width))
    return words


def packed_masks(masks: list[Tensor], device: torch.device) -> Tensor:
    """Return masks as words."""
    total = sum(len(each) * words_for(each.shape[1] * each.shape[2]) for each in masks)
    state = torch.zeros(total, dtype=torch.int64, device=device)
    pack_masks_(state, masks)
    return state


def optional(name: str, images: Images, key: str, sizes: list[int]) -> Tensor | None:
    """Return a column ``[G]`` that images may lack, 0 where they do; None if all lack it.

    Raises:
        ValueError: one has another length than the image has ground truths.
    """
    column = [image.get(key) for image in images]
    if all(value is None for value in column):
        return None

    def fault(value: Any) -> str | None:
        return None if isinstance(value, Tensor) else f"be a tensor, got {type(value).__name__}"

    _blame(name, key, [torch.zeros(0) if value is None else value for value in column], fault)
    filled = [
        torch.zeros(size, dtype=torch.float64) if value is None else value.double().flatten()
        for value, size in zip(column, sizes, strict=True)
    ]
    for i, (value, size) in enumerate(zip(filled, sizes, strict=True)):
        if len(value) != size:
            raise ValueError(
                f"`{name}`: image {i}: `{key}` and `labels` must be of one length, got"
                f" {len(value)} and {size}."
            )
    device = next(value.device for value in column if value is not None)
    return torch.cat([value.to(device) for value in filled])


def numbers_of(images: Images) -> list[int]:
    """Return the ``image_id`` of each image, 0 where it has none."""
    return [int(image.get("image_id", 0)) for image in images]
