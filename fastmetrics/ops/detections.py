"""Batches of images with boxes or masks, as lists of dictionaries, made columns for the ops.

A column holds one value of all images, such as their boxes. Kernels look at what they read; only
where one refuses, or on another device, :func:`check_columns` goes through the images for the one
to name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.checks import LABEL_DTYPES, SCORE_DTYPES, WEIGHT_DTYPES
from fastmetrics.ops.run_lengths import decoded

BOX_FORMATS = ("xyxy", "xywh", "cxcywh")
KEYS = {"bbox": "boxes", "segm": "masks"}

Images = Sequence[Mapping[str, Any]]
Columns = Mapping[str, Sequence[Any]]

# By key what the tensor of an image holds, its dtypes, and its shape behind the axis of objects.
_FORMS: dict[str, tuple[str, frozenset[torch.dtype], tuple[int, ...]]] = {
    "boxes": ("real numbers (N, 4)", WEIGHT_DTYPES - {torch.bool}, (4,)),
    "labels": ("integers (N,)", LABEL_DTYPES, ()),
    "scores": ("floats (N,)", SCORE_DTYPES, ()),
    "iscrowd": ("real numbers (N,)", WEIGHT_DTYPES, ()),
    "area": ("real numbers (N,)", WEIGHT_DTYPES, ()),
}


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


def columns(name: str, images: Images, keys: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of ``preds`` or ``target`` by key, as they are.

    Raises:
        ValueError: an image is no dictionary, or lacks a key; the first such image is named.
    """
    try:
        return {key: [image[key] for image in images] for key in keys}
    except (KeyError, TypeError, IndexError):
        for i, image in enumerate(images):
            if not isinstance(image, Mapping):
                raise ValueError(
                    f"`{name}`: image {i}: must be a dictionary, got {type(image).__name__}."
                ) from None
            for key in keys:
                if key not in image:
                    raise ValueError(
                        f"`{name}`: image {i}: needs `{key}`, got {sorted(image)}."
                    ) from None
        raise


def optional(images: Images, key: str, labels: Sequence[Tensor]) -> list[Any]:
    """Return a column that images may lack, with 0 where they do; an empty one if all lack it."""
    column = [image.get(key) for image in images]
    given = next((value for value in column if value is not None), None)
    if given is None:
        return []
    dtype = getattr(given, "dtype", None)
    column = [
        torch.zeros(own.numel(), dtype=dtype, device=own.device) if value is None else value
        for value, own in zip(column, labels, strict=True)
    ]
    return [x.flatten() if isinstance(x, Tensor) and x.ndim != 1 else x for x in column]


def _fault(key: str, value: Any, size: int | None) -> str | None:
    """Say what is wrong with the value of an image with so many objects."""
    words, dtypes, shape = _FORMS[key]
    if not isinstance(value, Tensor):
        return f"`{key}` must be a tensor, got {type(value).__name__}."
    if not value.ndim:
        return f"`{key}` must have an axis of objects, got a scalar."
    count = value.shape[0]
    if count and (value.dtype not in dtypes or value.shape[1:] != shape):
        return f"`{key}` must hold {words}, got {value.dtype} {tuple(value.shape)}."
    if size is not None and count != size:
        return f"`{key}` and `labels` must be of one length, got {count} and {size}."
    return None  # one without objects may have any dtype


def check_columns(name: str, given: Columns) -> None:
    """Raise ``ValueError`` for the first image whose columns do not hold what they must.

    Args:
        name: ``preds`` or ``target``.
        given: columns of boxes and of numbers, with those of ``labels``.
    """
    sizes = [x.shape[0] if isinstance(x, Tensor) and x.ndim else None for x in given["labels"]]
    for key, column in given.items():
        _, dtypes, shape = _FORMS[key]
        for i, (value, size) in enumerate(zip(column, sizes, strict=True)):
            if getattr(value, "dtype", None) in dtypes and value.shape == (size, *shape):
                continue  # as nearly all are
            text = _fault(key, value, size)
            if text is not None:
                raise ValueError(f"`{name}`: image {i}: {text}")


def joined(column: Sequence[Tensor]) -> Tensor:
    """Return the values of all images one after another."""
    if len({value.dtype for value in column}) > 1:
        # An empty list is float32 unless somebody says otherwise.
        column = [value for value in column if value.numel()] or column[:1]
    return torch.cat([*column])


def to_xyxy(boxes: Tensor, box_format: str) -> Tensor:
    """Return boxes ``[N, 4]`` as two corners, worked out in their own dtype; halves in float32."""
    if box_format == "xyxy":
        return boxes
    if box_format == "cxcywh" and not boxes.is_floating_point():
        boxes = boxes.float()
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


def checked_masks(name: str, column: Sequence[Any], labels: Sequence[Tensor]) -> list[Tensor]:
    """Return contiguous masks ``[N, H, W]`` of each image, also of run lengths.

    Raises:
        ValueError: one has another dtype, shape or length than it must have; its image is named.
    """
    masks = []
    for i, (value, own) in enumerate(zip(column, labels, strict=True)):
        where = f"`{name}`: image {i}: `masks`"
        if not isinstance(value, (Tensor, list, tuple)):
            raise ValueError(f"{where} must be a tensor, got {type(value).__name__}.")
        mask = value if isinstance(value, Tensor) else decoded(where, value).to(own.device)
        if mask.numel() and (mask.dtype not in (torch.bool, torch.uint8) or mask.ndim != 3):
            raise ValueError(
                f"{where} must be bool or uint8 (N, H, W), got {mask.dtype} {tuple(mask.shape)}."
            )
        if mask.shape[:1] != own.shape[:1]:
            raise ValueError(
                f"{where} and `labels` must be of one length, got {len(value)} and {len(own)}."
            )
        if mask.ndim != 3:
            mask = mask.new_zeros(0, 0, 0, dtype=torch.bool)
        masks.append(mask.contiguous())
    return masks


def on_cpu(column: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of a column on the CPU, by one copy if they have one dtype."""
    if len({value.dtype for value in column}) > 1:
        return [value.cpu() for value in column]
    return [*torch.cat([*column]).cpu().split([value.shape[0] for value in column])]


def numbers_of(images: Images) -> list[int]:
    """Return the ``image_id`` of each image, 0 where it has none."""
    return [int(image.get("image_id", 0)) for image in images]
