"""Curves of precision over recall from the rows of matched detections."""

from __future__ import annotations

import itertools
import struct

import torch
from torch import Tensor

from fastmetrics.ops.box_matches import BITS, CLASS, IMAGE, RANK, SCORE, row_width, words_for
from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define

__all__ = ["match_curves_"]

_NAME = "match_curves_"
_SPACING = 2.0**-52


def check_match_curves(
    precision: Tensor, recall: Tensor, confidences: Tensor | None, rows: Tensor, classes: Tensor,
    recalls: list[float], max_dets: list[int], by_class: bool,
) -> None:  # fmt: skip
    """Metadata check of `match_curves_`, and its fake."""
    if recall.ndim != 4 or recall.dtype != torch.float64 or not recall.is_contiguous():
        raise ValueError(
            f"{_NAME}: `recall` must be contiguous float64 [K, A, M, T], got {recall.dtype}"
            f" {shape_text(recall)}."
        )
    k, a, m, t = recall.shape
    if k != (len(classes) if by_class else 1) or m != len(max_dets):
        raise ValueError(
            f"{_NAME}: `recall` must have {len(classes) if by_class else 1} classes and"
            f" {len(max_dets)} limits, got {shape_text(recall)}."
        )
    for name, curve in (("precision", precision), ("confidences", confidences)):
        shape = (k, a, m, t, len(recalls))
        if curve is not None and (
            curve.shape != shape or curve.dtype != torch.float64 or not curve.is_contiguous()
        ):
            raise ValueError(
                f"{_NAME}: `{name}` must be contiguous float64 {shape}, got {curve.dtype}"
                f" {shape_text(curve)}."
            )
    if rows.ndim != 2 or rows.shape[1] != row_width(t, a) or rows.dtype != torch.int64:
        raise ValueError(
            f"{_NAME}: `rows` must be int64 (N, {row_width(t, a)}), got {rows.dtype}"
            f" {shape_text(rows)}."
        )
    if classes.ndim != 1 or classes.dtype != torch.int64:
        raise ValueError(
            f"{_NAME}: `classes` must be int64 (K,), got {classes.dtype} {shape_text(classes)}."
        )
    if not rows.is_contiguous() or not classes.is_contiguous():
        raise ValueError(f"{_NAME}: `rows` and `classes` must be contiguous.")
    for tensor in (precision, confidences, rows, classes):
        if tensor is not None and tensor.device != recall.device:
            raise ValueError(f"{_NAME}: all tensors must be on one device.")


def _score(row: list[int]) -> float:
    return float(struct.unpack("<d", struct.pack("<q", row[SCORE]))[0])


def _bits(row: list[int], first: int, words: int) -> int:
    data = struct.pack(f"<{words}q", *row[first : first + words])
    return int.from_bytes(data, "little")


def curve_of(
    rows: list[tuple[float, bool, bool]], truths: int, recalls: list[float]
) -> tuple[float, list[float], list[float]]:
    """Return recall, and precision and score at each of some recalls, at one threshold.

    Args:
        rows: score, whether it is matched and whether it is ignored, by falling score.
        truths: how many ground truths count.
        recalls: where precision is asked for.
    """
    if not truths:
        return -1.0, [-1.0] * len(recalls), [-1.0] * len(recalls)
    precision, reached, found, missed = [], [], 0, 0
    for _, matched, ignored in rows:
        found += matched and not ignored
        missed += not matched and not ignored
        precision.append(found / (missed + found + _SPACING))
        reached.append(found / truths)
    for i in range(len(rows) - 1, 0, -1):
        precision[i - 1] = max(precision[i - 1], precision[i])
    at, scores = [0.0] * len(recalls), [0.0] * len(recalls)
    for r, least in enumerate(recalls):
        place = next((i for i, value in enumerate(reached) if value >= least), None)
        if place is None:
            break
        at[r], scores[r] = precision[place], rows[place][0]
    return (reached[-1] if reached else 0.0), at, scores


def match_curves_reference(
    precision: Tensor, recall: Tensor, confidences: Tensor | None, rows: Tensor, classes: Tensor,
    recalls: list[float], max_dets: list[int], by_class: bool,
) -> None:  # fmt: skip
    """Plain Python twin of the compiled kernel."""
    _, ranges, _, thresholds = recall.shape
    words = words_for(thresholds * ranges)
    labels = classes.tolist() if by_class else [None]
    table = sorted(rows.tolist(), key=lambda row: (-_score(row), row[IMAGE]))
    if by_class and not {row[CLASS] for row in table} <= {*labels}:
        raise ValueError("`classes` must hold all classes, in order.")
    for k, label in enumerate(labels):
        own = [row for row in table if label is None or row[CLASS] == label]
        found = [
            (_score(row), _bits(row, BITS, words), _bits(row, BITS + words, words), row[RANK])
            for row in own
            if row[RANK] >= 0
        ]
        for a, t, m in itertools.product(range(ranges), range(thresholds), range(len(max_dets))):
            bit = a * thresholds + t
            truths = sum(row[BITS] >> a & 1 for row in own if row[RANK] < 0)
            seen = [
                (score, bool(matched >> bit & 1), bool(ignored >> bit & 1))
                for score, matched, ignored, rank in found
                if rank < max_dets[m]
            ]
            last, at, scores = curve_of(seen, truths, recalls)
            recall[k, a, m, t] = last
            precision[k, a, m, t] = torch.tensor(at, dtype=torch.float64)
            if confidences is not None:
                confidences[k, a, m, t] = torch.tensor(scores, dtype=torch.float64)


_match_curves = define(
    _NAME,
    "(Tensor(a!) precision, Tensor(b!) recall, Tensor(c!)? confidences, Tensor rows,"
    " Tensor classes, float[] recalls, int[] max_dets, bool by_class)",
    match_curves_reference,
    check_match_curves,
    in_compute=True,
    triton=False,
)


def match_curves_(
    precision: Tensor,
    recall: Tensor,
    confidences: Tensor | None,
    rows: Tensor,
    classes: Tensor,
    recalls: list[float],
    max_dets: list[int],
    by_class: bool = True,
) -> None:
    """Work out precision at given recalls, for each threshold, class, range of areas and limit.

    Detections are taken by falling score; equal ones by the number of their image, and then in
    order. Those that are ignored do not count. Precision is made to fall with recall, from the
    right, and read where the recall first reaches the one that is asked for; what lies behind one
    that is never reached is 0, and -1 stands where there is no ground truth that counts.

    Args:
        precision: float64 ``[K, A, M, T, R]``, written.
        recall: float64 ``[K, A, M, T]``, the highest, written.
        confidences: optional float64 ``[K, A, M, T, R]``, the scores at these recalls, written.
        rows: int64 ``[N, W]``, as :func:`~fastmetrics.ops.box_matches.box_matches_` writes them.
        classes: int64 ``[K]``, rising: all classes of the rows.
        recalls: R recalls, in ``[0, 1]``.
        max_dets: M limits: how many detections of a class and image count.
        by_class: whether classes are apart; K is 1 where they are not.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or the rows hold another class.

    Cost: sorts the rows of each class once, then reads them ``A * M`` times.

    >>> import torch
    >>> from fastmetrics.ops import match_curves_
    >>> rows = torch.tensor([[0, 7, 0, 0, 1, 0], [0, 7, 0, -1, 1, 0]])
    >>> precision = torch.zeros(1, 1, 1, 1, 2).double()
    >>> recall = torch.zeros(1, 1, 1, 1).double()
    >>> match_curves_(precision, recall, None, rows, torch.tensor([7]), [0.5, 1.0], [100])
    >>> recall.item(), precision.flatten().tolist()
    (1.0, [0.9999999999999998, 0.9999999999999998])
    """
    _match_curves(precision, recall, confidences, rows, classes, recalls, max_dets, by_class)
