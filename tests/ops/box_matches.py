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
from tests.detection.coco import made_up
from tests.ops.inputs import INF, NAN, Draw
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import META, ints, plain, zeros

AREAS = [0.0, 1e10, 0.0, 1024.0, 1024.0, 9216.0, 9216.0, 1e10]
SIDE = 12  # of masks


def _flat(images: list[dict[str, Any]], key: str, default: Tensor) -> Tensor:
    return torch.cat([image.get(key, default[: len(image["labels"])]) for image in images])


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    masks = draw("masks", 0, SIDE)
    thresholds = draw("thresholds", [0.5], [0.5, 0.75], [0.1 * i for i in range(17)], [0.9, 0.3])
    images, tied = draw("images", 1, 4), draw("tied", False, True)
    dtype = draw("dtype", torch.float32, torch.float64, torch.int32)
    max_dets, by_class = draw("max_dets", 100, 2), draw("by_class", True, False)
    keeps, numbered = draw("keeps", True, False), draw("numbered", True, False)
    preds, target = made_up(seed, images, masks=masks, tied=tied)
    draw.done()
    nothing = torch.zeros(1000, dtype=torch.float64)
    sizes = [(len(p["labels"]), len(t["labels"])) for p, t in zip(preds, target, strict=True)]
    words = -(-(SIDE * SIDE) // 64) if masks else 0
    layout = [(*size, 7 - i if numbered else 0, words) for i, size in enumerate(sizes)]
    found, truth = sum(d for d, _ in sizes), sum(g for _, g in sizes)
    width = row_width(len(thresholds), len(AREAS) // 2)
    pairs = zeros(sum(d * g for d, g in sizes)) if keeps else None
    kind = "masks" if masks else "boxes"
    arguments = {
        "state": torch.full((found + truth, width), -1, dtype=torch.int64),
        "ious": pairs,
        kind: _shapes(preds, kind, dtype),
        "labels": torch.cat([image["labels"] for image in preds]),
        "confidences": torch.cat([image["scores"].double() for image in preds]),
        f"truth_{kind}": _shapes(target, kind, dtype),
        "truth_labels": torch.cat([image["labels"] for image in target]),
        "crowds": _flat(target, "iscrowd", nothing) != 0,
        "areas": _flat(target, "area", nothing).double(),
        "layout": torch.tensor(layout),
        "thresholds": thresholds,
        "ranges": AREAS,
        "max_dets": max_dets,
        "by_class": by_class,
    }
    return Call(f"{kind[:-1] if masks else 'box'}_matches_", arguments)


def _shapes(images: list[dict[str, Any]], kind: str, dtype: torch.dtype) -> Tensor:
    if kind == "boxes":
        boxes = torch.cat([image["boxes"] for image in images])
        return torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).to(dtype)
    return packed([_square(image["masks"]) for image in images])


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


def _annotation(call: Call, side: str, i: int, words: int, start: int) -> dict[str, Any]:
    prefix = "" if side == "found" else "truth_"
    each: dict[str, Any] = {"iscrowd": 0}
    each["category_id"] = int(call[f"{prefix}labels"][i]) if call["by_class"] else 0
    if call.op == "box_matches_":
        each["bbox"] = call[f"{prefix}boxes"][i].double().tolist()
        each["area"] = each["bbox"][2] * each["bbox"][3]
    else:
        bits = call[f"{prefix}masks"][start : start + words].numpy().view(np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: SIDE * SIDE].reshape(SIDE, SIDE)
        each["segmentation"] = mask_tools.encode(np.asfortranarray(mask))
        each["area"] = int(mask.sum())
    if side == "found":
        return each | {"score": float(call["confidences"][i])}
    area = float(call["areas"][i])
    return each | {"iscrowd": int(call["crowds"][i]), "area": area if area > 0 else each["area"]}


def _tool(call: Call) -> COCOeval:
    """The tools after their evaluation; ids say where a detection or ground truth lies."""
    sides = []
    for side, column in (("truth", 1), ("found", 0)):
        annotations, place, start = [], 0, 0
        for number, sizes in enumerate(call["layout"].tolist()):
            for _ in range(sizes[column]):
                each = _annotation(call, side, place, sizes[3], start)
                annotations.append({**each, "id": place + 1, "image_id": number})
                place, start = place + 1, start + sizes[3]
        tool = COCO()
        labels = [*call["labels"].tolist(), *call["truth_labels"].tolist()]
        tool.dataset = {
            "images": [{"id": i, "height": 1, "width": 1} for i in range(len(call["layout"]))],
            "annotations": annotations,
            "categories": [{"id": k} for k in ({*labels} if call["by_class"] else {0})],
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
    for name in ("boxes", "truth_boxes"):
        if name in call.arguments and bool(_wrong(call[name].double()).any()):
            column = 0 if name == "boxes" else 1
            place = int(_wrong(call[name].double()).int().argmax())
            image = int((call["layout"][:, column].cumsum(0) <= place).sum())
            text = f"image {image}: `boxes` must be finite, with no negative side."
            return Answer({"state": call["state"], "ious": call["ious"]}, text)
    tool, found = _tool(call), len(call["labels"])
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


def _wrong(boxes: Tensor) -> Tensor:
    return ~boxes.isfinite().all(1) | (boxes[:, 2:] < 0).any(1)


def _heads(call: Call) -> Tensor:
    """Score, class, number of the image, and place."""
    rows: list[list[int]] = []
    d = 0
    for num_found, _, number, _ in call["layout"].tolist():
        labels = call["labels"][d : d + num_found].tolist()
        scores = call["confidences"][d : d + num_found].tolist()
        for i, (label, score) in enumerate(zip(labels, scores, strict=True)):
            before = [
                j
                for j, (other, value) in enumerate(zip(labels, scores, strict=True))
                if (other == label or not call["by_class"]) and (-value, j) < (-score, i)
            ]
            (code,) = struct.unpack("<q", struct.pack("<d", score))
            rows.append([code, label, number, len(before)])
        d += num_found
    numbers = [n for _, g, n, _ in call["layout"].tolist() for _ in range(g)]
    for label, number in zip(call["truth_labels"].tolist(), numbers, strict=True):
        rows.append([0, label, number, -1])
    return torch.tensor(rows, dtype=torch.int64).view(-1, 4)


def _matrices(call: Call, tool: COCOeval) -> Tensor | None:
    if call["ious"] is None:
        return None
    values, start = call["ious"].clone(), 0
    for image, (d, g, _, _) in enumerate(call["layout"].tolist()):
        place = start
        for label in sorted({k for i, k in tool.ious if i == image}):
            own = np.asarray(tool.ious[image, label], dtype=np.float64).flatten()
            values[place : place + len(own)] = torch.from_numpy(own)
            place += len(own)
        start += d * g
    return values


def odd_boxes() -> Iterator[Call]:
    for seed in range(16):
        yield make(seed, masks=0)
    call = good()
    for value in (NAN, INF, -INF, -1.0):  # of a width
        for name, place in (("boxes", -1), ("truth_boxes", 0)):
            boxes = call[name].clone()
            boxes[place, 2] = value
            yield call.but(**{name: boxes})


def odd_masks() -> Iterator[Call]:
    for seed in range(16):
        yield make(seed, masks=SIDE)


def good() -> Call:
    return make(3, masks=0, images=4, dtype=torch.float32, keeps=True, max_dets=100)


def refusals(call: Call) -> Any:
    """Of all that the two ops have in common."""
    rows, truths = len(call["labels"]), len(call["truth_labels"])
    return (
        ({"state": call["state"][1:]}, "`state` must be contiguous int64"),
        ({"state": call["state"].int()}, "`state` must be contiguous int64"),
        ({"ious": call["ious"].float()}, "`ious` must be contiguous float64"),
        ({"labels": call["labels"].int()}, f"`labels` must be contiguous int64 ({rows},)"),
        ({"confidences": zeros(rows + 1)}, f"`confidences` must be contiguous float64 ({rows},)"),
        ({"truth_labels": call["truth_labels"].float()}, "`truth_labels` must be contiguous int64"),
        ({"crowds": call["crowds"].long()}, f"`crowds` must be contiguous bool ({truths},)"),
        ({"areas": call["areas"].float()}, f"`areas` must be contiguous float64 ({truths},)"),
        ({"layout": call["layout"][:, :3]}, "`layout` must be contiguous int64"),
        ({"thresholds": []}, "`thresholds` must hold at least one"),
        ({"ranges": [0.0]}, "`ranges` must hold 1 to 64 pairs, got 1 numbers"),
        ({"max_dets": -1}, "`max_dets` must be at least 0, got -1"),
        ({"areas": call["areas"].to(META)}, "must be on the device of the state"),
    )


def guards(call: Call) -> tuple[dict[str, Any], ...]:
    more = call["layout"].clone()
    more[0, 0] += 1
    less = call["layout"].clone()
    less[0, 1] = -1
    return {"layout": more}, {"layout": less}, {"ious": zeros(1)}


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
        ({"boxes": good()["boxes"][:, :3]}, "`boxes` must be contiguous real"),
        ({"truth_boxes": good()["truth_boxes"] * 1j}, "`truth_boxes` must be contiguous real"),
    ),
    guards=guards(good()),
    **COMMON,
)


def good_masks() -> Call:
    return make(3, masks=SIDE, images=4, keeps=True, max_dets=100)


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
