"""`box_matches_`, `mask_matches_` and `pack_masks_`: calls, and the COCO tools as an oracle."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from fastmetrics.ops.box_matches import row_width
from fastmetrics.ops.detections import BOX_FORMATS
from tests.detection.coco import made_up
from tests.ops.inputs import INF, NAN, Draw
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import META, ints, plain, zeros

PLAIN = {"dtype": torch.float32, "box_format": 0}
AREAS = [0.0, 1e10, 0.0, 1024.0, 1024.0, 9216.0, 9216.0, 1e10]
SIDE = 12  # of masks
WORDS = -(-(SIDE * SIDE) // 64)
BOX_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64)


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    masks = draw("masks", 0, SIDE)
    thresholds = draw("thresholds", [0.5], [0.5, 0.75], [0.1 * i for i in range(17)], [0.9, 0.3])
    images, tied = draw("images", 1, 4), draw("tied", False, True)
    dtype = draw("dtype", *BOX_DTYPES)
    box_format = draw("box_format", *range(len(BOX_FORMATS)))
    max_dets, by_class = draw("max_dets", 100, 2), draw("by_class", True, False)
    keeps, numbered = draw("keeps", True, False), draw("numbered", True, False)
    optional = draw("optional", True, False)
    preds, target = made_up(seed, images, masks=masks, tied=tied, extras=optional)
    draw.done()
    sizes = [(len(p["labels"]), len(t["labels"])) for p, t in zip(preds, target, strict=True)]
    width = row_width(len(thresholds), len(AREAS) // 2)
    shapes = [_shapes(side, masks, dtype, box_format) for side in (preds, target)]
    kind = "masks" if masks else "boxes"
    arguments = {
        "state": torch.full((sum(map(sum, sizes)), width), -1, dtype=torch.int64),
        "ious": zeros(sum(d * g for d, g in sizes)) if keeps else None,
        kind: shapes[0],
        "labels": [image["labels"] for image in preds],
        "scores": [image["scores"] for image in preds],
        f"truth_{kind}": shapes[1],
        "truth_labels": [image["labels"] for image in target],
        "crowds": _filled(target, "iscrowd") if optional else [],
        "areas": _filled(target, "area") if optional else [],
        "numbers": [7 - i if numbered else 0 for i in range(images)],
        "thresholds": thresholds,
        "ranges": AREAS,
        "max_dets": max_dets,
        "by_class": by_class,
        **({"words": [WORDS] * images} if masks else {"box_format": box_format}),
    }
    return Call(f"{kind[:-1] if masks else 'box'}_matches_", arguments)


def _filled(images: list[dict[str, Any]], key: str) -> list[Tensor]:
    return [image.get(key, torch.zeros(len(image["labels"]))) for image in images]


def _shapes(
    images: list[dict[str, Any]], masks: int, dtype: torch.dtype, box_format: int
) -> list[Tensor] | Tensor:
    if masks:
        return packed([_square(image["masks"]) for image in images])
    found = []
    for corners in (image["boxes"] for image in images):
        place, size = corners[:, :2], corners[:, 2:] - corners[:, :2]
        parts = ((place, corners[:, 2:]), (place, size), (place + size / 2, size))[box_format]
        found.append(torch.cat(parts, 1).to(dtype))
    return found


def _square(masks: Tensor) -> Tensor:
    square = torch.zeros(len(masks), SIDE, SIDE, dtype=torch.bool)
    square[:, : masks.shape[1], : masks.shape[2]] = masks
    return square


def packed(masks: list[Tensor]) -> Tensor:
    words = [np.zeros(0, dtype=np.int64)]
    for mask in (mask for some in masks for mask in some):
        bits = np.packbits(mask.numpy().flatten() != 0, bitorder="little")
        words.append(np.pad(bits, (0, -len(bits) % 8)).view(np.int64))
    return torch.from_numpy(np.concatenate(words))


def corner_and_size(boxes: Tensor, box_format: int) -> Tensor:
    """Boxes as the tools take them, worked out by torch in the dtype of the boxes."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if box_format == 2:
        half = second * 0.5
        first, second = first - half, first + half
    return torch.cat((first, second if box_format == 1 else second - first), 1).double()


def _columns(call: Call, side: str, i: int) -> dict[str, Any]:
    """What one side of image i has, as lists."""
    prefix = "" if side == "found" else "truth_"
    labels = call[f"{prefix}labels"][i].tolist()
    nothing = [0] * len(labels)
    found: dict[str, Any] = {"labels": labels, "crowds": nothing, "areas": nothing}
    if side == "found":
        found["scores"] = call["scores"][i].double().tolist()
    else:
        found |= {key: call[key][i].tolist() for key in ("crowds", "areas") if call[key]}
    if call.op == "box_matches_":
        boxes = corner_and_size(call[f"{prefix}boxes"][i], call["box_format"])
        found["shapes"] = boxes.tolist()
    else:
        start = sum(map(len, call[f"{prefix}labels"][:i])) * WORDS
        words = call[f"{prefix}masks"][start : start + len(labels) * WORDS].view(-1, WORDS)
        bits = np.unpackbits(words.numpy().view(np.uint8), 1, bitorder="little")
        found["shapes"] = [*bits[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)]
    return found


def _annotations(call: Call, side: str) -> list[dict[str, Any]]:
    """What the tools read; ids say where a detection or ground truth lies."""
    found: list[dict[str, Any]] = []
    for image in range(len(call["numbers"])):
        columns = _columns(call, side, image)
        for i, (label, shape) in enumerate(zip(columns["labels"], columns["shapes"], strict=True)):
            each = {"id": len(found) + 1, "image_id": image, "iscrowd": int(columns["crowds"][i])}
            each["category_id"] = label if call["by_class"] else 0
            if call.op == "box_matches_":
                each |= {"bbox": shape, "area": shape[2] * shape[3]}
            else:
                code = mask_tools.encode(np.asfortranarray(shape))
                each |= {"segmentation": code, "area": int(shape.sum())}
            if columns["areas"][i] > 0:
                each["area"] = columns["areas"][i]
            if side == "found":
                each["score"] = columns["scores"][i]
            found.append(each)
    return found


def _tool(call: Call) -> COCOeval:
    """The tools after their evaluation."""
    sides = []
    labels = {
        int(x) for column in ("labels", "truth_labels") for each in call[column] for x in each
    }
    for side in ("truth", "found"):
        tool = COCO()
        tool.dataset = {
            "images": [{"id": i, "height": 1, "width": 1} for i in range(len(call["numbers"]))],
            "annotations": _annotations(call, side),
            "categories": [{"id": k} for k in (labels if call["by_class"] else {0})],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            tool.createIndex()
        sides.append(tool)
    evaluation = COCOeval(*sides, iouType="bbox" if call.op == "box_matches_" else "segm")
    params = evaluation.params
    params.iouThrs, params.maxDets = np.array(call["thresholds"]), [call["max_dets"]]
    params.areaRng = [[*pair] for pair in zip(AREAS[::2], AREAS[1::2], strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    return evaluation


def oracle(call: Call) -> Answer:
    for i in range(len(call["numbers"])):
        text = _wrong(call, i)
        if text:
            return Answer({"state": call["state"], "ious": call["ious"]}, f"image {i}: {text}")
    tool, found = _tool(call), sum(map(len, call["labels"]))
    width = call["state"].shape[1]
    words = (width - 4) // 2
    bits = np.zeros((len(call["state"]), 2, words * 64), dtype=bool)
    thresholds = len(call["thresholds"])
    for each in filter(None, tool.evalImgs):
        a = tool.params.areaRng.index(each["aRng"])
        own = slice(a * thresholds, (a + 1) * thresholds)
        for i, d in enumerate(each["dtIds"]):
            bits[d - 1, 0, own] = each["dtMatches"][:, i] > 0
            bits[d - 1, 1, own] = each["dtIgnore"][:, i]
        for i, g in enumerate(each["gtIds"]):
            bits[found + g - 1, 0, a] = not each["gtIgnore"][i]
    whole = np.packbits(bits.reshape(-1), bitorder="little").view(np.int64)
    state = torch.cat((_heads(call), torch.from_numpy(whole.reshape(len(bits), 2 * words))), 1)
    return Answer({"state": state, "ious": _matrices(call, tool)})


def _wrong(call: Call, i: int) -> str | None:
    if bool(call["scores"][i].isnan().any()):
        return "`scores` must not be NaN."
    for name in ("boxes", "truth_boxes") if call.op == "box_matches_" else ():
        boxes = corner_and_size(call[name][i].reshape(-1, 4), call["box_format"])
        if not bool(boxes.isfinite().all()) or bool((boxes[:, 2:] < 0).any()):
            return "`boxes` must be finite, with no negative side."
    return None


def _heads(call: Call) -> Tensor:
    """Score, class, number of the image, and place."""
    rows: list[list[int]] = []
    for i, number in enumerate(call["numbers"]):
        columns = _columns(call, "found", i)
        pairs = [*zip(columns["labels"], columns["scores"], strict=True)]
        for j, (label, score) in enumerate(pairs):
            before = [
                k
                for k, (other, value) in enumerate(pairs)
                if (other == label or not call["by_class"]) and (-value, k) < (-score, j)
            ]
            (code,) = struct.unpack("<q", struct.pack("<d", score))
            rows.append([code, label, number, len(before)])
    for labels, number in zip(call["truth_labels"], call["numbers"], strict=True):
        rows += [[0, int(label), number, -1] for label in labels]
    return torch.tensor(rows, dtype=torch.int64).view(-1, 4)


def _matrices(call: Call, tool: COCOeval) -> Tensor | None:
    if call["ious"] is None:
        return None
    values, start = call["ious"].clone(), 0
    for image, (ours, theirs) in enumerate(zip(call["labels"], call["truth_labels"], strict=True)):
        place = start
        for label in sorted({k for i, k in tool.ious if i == image}):
            own = np.asarray(tool.ious[image, label], dtype=np.float64).flatten()
            values[place : place + len(own)] = torch.from_numpy(own)
            place += len(own)
        start += len(ours) * len(theirs)
    return values


def changed(call: Call, name: str, image: int, value: Any) -> list[Any]:
    """A column with another value of one image."""
    return [value if i == image else each for i, each in enumerate(call[name])]


COLUMNS = ("boxes", "labels", "scores", "truth_boxes", "truth_labels", "crowds", "areas")


def odd_boxes() -> Iterator[Call]:
    for seed in range(16):
        yield make(seed, masks=0)
    for dtype in BOX_DTYPES:  # what is worked out in one dtype, and the sizes that wrap in int8
        for box_format in range(len(BOX_FORMATS)):
            yield make(5, masks=0, images=4, dtype=dtype, box_format=box_format)
    call = good()
    for value in (NAN, INF, -INF, -1e9):  # of a side
        for name, image in (("boxes", 3), ("truth_boxes", 0)):
            boxes = call[name][image].clone()
            boxes[-1, 2] = value
            yield call.but(**{name: changed(call, name, image, boxes)})
    scores = call["scores"][1].clone()
    scores[0] = NAN
    yield call.but(scores=changed(call, "scores", 1, scores))
    yield call.changed(COLUMNS, lambda tensor: torch.stack((tensor, tensor), -1)[..., 0])
    yield call.but(labels=[each.int() for each in call["labels"]])


def odd_masks() -> Iterator[Call]:
    for seed in range(16):
        yield make(seed, masks=SIDE)


def good() -> Call:
    return make(3, masks=0, images=4, keeps=True, max_dets=100, optional=True, **PLAIN)


def good_masks() -> Call:
    return make(3, masks=SIDE, images=4, keeps=True, max_dets=100, optional=True)


def refusals(call: Call) -> Any:
    """Of all that the two ops have in common; the image is named."""

    def other(name: str, change: Any) -> dict[str, Any]:
        return {name: changed(call, name, 1, change(call[name][1]))}

    return (
        ({"state": call["state"][1:]}, "`state` must be contiguous int64"),
        ({"state": call["state"].int()}, "`state` must be contiguous int64"),
        ({"ious": call["ious"].float()}, "`ious` must be contiguous float64"),
        (other("labels", Tensor.float), "`preds`: image 1: `labels` must hold integers (N,)"),
        (other("labels", lambda x: x[0]), "`preds`: image 1: `labels` must have an axis"),
        (other("scores", Tensor.long), "`preds`: image 1: `scores` must hold floats (N,)"),
        (other("scores", lambda x: x[1:]), "image 1: `scores` and `labels` must be of one length"),
        (other("truth_labels", Tensor.float), "`target`: image 1: `labels` must hold integers"),
        (other("crowds", lambda x: x[None]), "`target`: image 1: `iscrowd` must hold real"),
        (other("areas", lambda x: x * 1j), "`target`: image 1: `area` must hold real numbers"),
        (other("areas", lambda x: x.to(META)), "must be on the device of the state"),
        ({"areas": call["areas"][1:]}, "`target`: `area` must be of 4 images, got 3"),
        ({"thresholds": []}, "`thresholds` must hold at least one"),
        ({"ranges": [0.0]}, "`ranges` must hold 1 to 64 pairs, got 1 numbers"),
        ({"max_dets": -1}, "`max_dets` must be at least 0, got -1"),
    )


def guards(call: Call) -> tuple[dict[str, Any], ...]:
    numbers = call["numbers"]
    return {"numbers": numbers[1:]}, {"ious": zeros(1)}, {"scores": call["scores"][1:]}


COMMON: dict[str, Any] = {
    "shapes": (),
    "empty": (),
    "batch": (),
    "layouts": (),
    "many": 0,
    "adds_up": False,
}

BOX_MATCHES = Tested(
    "box_matches_",
    make,
    oracle,
    odd=odd_boxes,
    good=good,
    refusals=lambda: plain(
        *refusals(good()),
        (
            {"boxes": changed(good(), "boxes", 3, good()["boxes"][3][:, :3])},
            "`preds`: image 3: `boxes` must hold real numbers (N, 4), got torch.float32",
        ),
        (
            {"truth_boxes": changed(good(), "truth_boxes", 0, good()["truth_boxes"][0] > 0)},
            "`target`: image 0: `boxes` must hold real numbers (N, 4), got torch.bool",
        ),
        ({"box_format": 3}, "`box_format` must be the place of a format, got 3"),
    ),
    guards=guards(good()),
    **COMMON,
)


MASK_MATCHES = Tested(
    "mask_matches_",
    make,
    oracle,
    odd=odd_masks,
    good=good_masks,
    refusals=lambda: plain(
        *refusals(good_masks()),
        ({"masks": good_masks()["masks"].int()}, "`masks` must be contiguous int64"),
        ({"truth_masks": good_masks()["truth_masks"][None]}, "`truth_masks` must be contiguous"),
        ({"words": [-1] * 4}, "`words` must be those of a mask of each image"),
    ),
    guards=(*guards(good_masks()), {"masks": ints(1)}),
    **COMMON,
)


def make_pack(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    images = draw("images", 1, 3)
    dtype = draw("dtype", torch.bool, torch.uint8)
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(images):
        shape = [int(rng.integers(0, top)) for top in (4, 20, 20)]
        masks.append(torch.from_numpy(rng.choice([0, 0, 1, 2, 128, 255], shape)).to(dtype))
    draw.done()
    state = torch.full((len(packed(masks)),), -1, dtype=torch.int64)
    return Call("pack_masks_", {"state": state, "masks": masks})


def good_pack() -> Call:
    masks = [torch.ones(2, 3, 5, dtype=torch.bool)]
    return Call("pack_masks_", {"state": ints(2), "masks": masks})


PACK_MASKS = Tested(
    "pack_masks_",
    make_pack,
    lambda call: Answer({"state": packed(call["masks"])}),
    odd=lambda: (make_pack(seed) for seed in range(12)),
    good=good_pack,
    refusals=lambda: plain(
        ({"masks": [torch.ones(3, 5, dtype=torch.bool)]}, "must be bool or uint8 [N, H, W]"),
        ({"masks": [torch.ones(2, 3, 5)]}, "must be bool or uint8 [N, H, W]"),
        ({"masks": [torch.ones(2, 3, 5, dtype=torch.bool).mT]}, "masks must be contiguous"),
        ({"state": ints(3)}, "`state` must be contiguous int64 (2,)"),
    ),
    guards=({"masks": [torch.ones(2, 3, 5)]}, {"state": ints(1)}),
    **COMMON,
)
