"""Saved states that somebody has changed, with a checksum that is right again."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fastmetrics import GradientStats, MetricCollection, TopSamples
from fastmetrics.aggregation import CatMetric, RunningMean, SumMetric
from fastmetrics.classification import BinaryAUROC, MulticlassAccuracy, MulticlassConfusionMatrix
from fastmetrics.regression import PearsonCorrCoef, R2Score

START = struct.Struct("<8sIQ")
VALUES = [
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63 - 1, 2**63, 2**200, 0.5, 1e400),
    *("", "x", "int64", "float64", "bool", [], {}, [[]], [1], [2**62, 2**62], [-1], [0, 2**62]),
    *([["float64", [1]]], ["float64", [2**60]], [False], [True], [1] * 100, {"a": 1}),
]


def filled() -> dict[str, Any]:
    """Metrics of several kinds, with data."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(6, generator=generator)
    classes = torch.randint(3, (2, 6), generator=generator)
    metrics: dict[str, Any] = {
        "sum": SumMetric(),
        "list": CatMetric(),
        "window": RunningMean(window=2),
        "scores": BinaryAUROC(),
        "moments": R2Score(),
        "shared": MetricCollection([MulticlassAccuracy(3), MulticlassConfusionMatrix(3)]),
        "layers": GradientStats(),
        "top": TopSamples(2),
        "correlation": PearsonCorrCoef(),
    }
    for name in ("sum", "list", "window"):
        metrics[name].update(scores)
    metrics["scores"].update(scores, classes[0] > 0)
    metrics["top"].update(scores)
    metrics["moments"].update(scores, scores * 2)
    metrics["correlation"].update(scores, scores * 2)
    metrics["shared"].update(*classes)
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    metrics["layers"].update(layer)
    return metrics


def parts(data: bytes) -> tuple[Any, bytes]:
    """The description and the elements."""
    _, _, length = START.unpack_from(data)
    return json.loads(data[START.size : START.size + length]), data[START.size + length : -4]


def signed(text: bytes, elements: bytes, length: int | None = None) -> bytes:
    head = START.pack(b"\x89fmstate", 2, len(text) if length is None else length)
    return head + text + elements + struct.pack("<I", zlib.crc32(head + text + elements))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a description."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    return [path, *(found for key in keys for found in places(value[key], (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    value = json.loads(json.dumps(value))
    held = value
    for key in path[:-1]:
        held = held[key]
    change(held, path[-1])
    return value


def delete(held: Any, key: Any) -> None:
    del held[key]


def repeat(held: Any, key: Any) -> None:
    if isinstance(held, list):
        held.insert(key, held[key])
    else:
        held[f"{key}2"] = held[key]


def is_refused(metric: Any, data: Any) -> None:
    """Either these are states that such a metric can have, or ValueError says that they are not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = metric.from_state_bytes(data)
        except ValueError:
            return
        read.compute()
        assert len(read.state_bytes()) <= len(data) + 200


def forge(count: int, seed: int) -> None:
    rng = random.Random(seed)
    metrics = [*filled().values()]
    written = [parts(metric.state_bytes()) for metric in metrics]
    for _ in range(count):
        which = rng.randrange(len(metrics))
        (description, elements), metric = written[which], metrics[which]
        ways = [path for path in places(description) if path]
        for _ in range(rng.choice((1, 1, 1, 2))):
            value = rng.choice(VALUES)

            def put(held: Any, key: Any, value: Any = value) -> None:
                held[key] = value

            change = rng.choice((put, put, put, delete, repeat))
            try:
                description = changed(description, rng.choice(ways), change)
            except (KeyError, IndexError, TypeError):
                continue  # the first change has taken this part away
        if rng.random() < 0.2:
            elements = elements[: rng.randrange(len(elements) + 1)] + b"\1" * rng.randrange(20)
        is_refused(metric, signed(json.dumps(description).encode(), elements))


def test_forged_descriptions_are_refused() -> None:
    forge(3000, seed=0)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_forged_descriptions_are_refused(seed: int) -> None:
    forge(20_000, seed)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 200_000,
        b'{"byteorder": ' * 100_000,
        b"\xff\xfe",
        b"9" * 10_000,
        b'{"byteorder": "little", "metrics": {}}',
        b'{"byteorder": "little", "metrics": [null]}',
        b'{"byteorder": "little", "metrics": [{}]}',
        b'{"byteorder": [], "metrics": []}',
    ],
    ids=lambda text: f"{text[:20]!r}",
)
def test_descriptions_that_are_none_are_refused(text: bytes) -> None:
    for metric in (SumMetric(), MetricCollection([SumMetric()])):
        with pytest.raises(ValueError, match=r"malformed|saved on a|states are those of"):
            metric.from_state_bytes(signed(text, b""))
        with pytest.raises(ValueError, match="malformed"):
            metric.from_state_bytes(signed(text, b"", length=2**63))


@pytest.mark.parametrize("data", [None, 7, "text", [1], memoryview(b"x"), bytearray(b"x")])
def test_what_is_no_bytes_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="`data` must be bytes, got"):
        SumMetric().from_state_bytes(data)


@pytest.mark.parametrize("shape", [[2**40], [2**20, 2**20], [0, 2**62, 2**62], [1] * 65, [-1]])
def test_nothing_is_allocated_for_a_shape_that_does_not_follow(shape: list[int]) -> None:
    description, elements = parts(filled()["list"].state_bytes())
    description["metrics"][0]["states"]["value"] = [True, ["float32", shape]]
    data = signed(json.dumps(description).encode(), elements)
    tracemalloc.start()
    with pytest.raises(ValueError, match="malformed"):
        CatMetric().from_state_bytes(data)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def bytes_of(said: Any) -> torch.Tensor:
    return torch.tensor([*json.dumps(said).encode()], dtype=torch.uint8)


@pytest.mark.parametrize("name", ["window", "layers", "top", "sum"])
def test_forged_extras_of_checkpoints_are_refused(name: str) -> None:
    """Or they are some that such a metric can have; else it stays as it was."""
    metric = filled()[name]
    metric.persistent(True)
    saved = metric.state_dict()
    said = json.loads(bytes(saved["_extras"].tolist())) if "_extras" in saved else {"extras": None}
    said.setdefault("count", None)
    ways = [path for path in places(said) if path]

    def put(value: Any) -> Callable[[Any, Any], None]:
        return lambda held, key: held.__setitem__(key, value)

    forged = [
        changed(said, path, change)
        for path in ways
        for change in (*map(put, VALUES), delete, repeat)
    ]
    text = json.dumps(said).encode()
    data = [None, 7, [], saved, text, torch.zeros(2), torch.zeros(2, 2, dtype=torch.uint8)]
    data += [
        torch.tensor([*cut], dtype=torch.uint8) for cut in (b"", text[:-3], b"\xff", b"[" * 9999)
    ]
    for extras in [*data, *map(bytes_of, [*VALUES, *forged])]:
        before = metric.state_bytes()
        try:
            metric.load_state_dict({**saved, "_extras": extras})
        except RuntimeError as error:
            assert "Error(s) in loading state_dict" in str(error)
            assert metric.state_bytes() == before
        else:
            metric.compute()
            metric.load_state_dict(saved)
            metric.from_state_bytes(metric.state_bytes())
