"""Compiled steps on a GPU, and CUDA graphs that stay valid while metrics are updated and reset."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor

from fastmetrics import MetricCollection
from fastmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
)

REQUIRED = os.environ.get("FASTMETRICS_REQUIRE_CUDA") == "1"

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() and not REQUIRED, reason="needs a CUDA or ROCm GPU"
)

C, N = 10, 64


def collection(device: str) -> MetricCollection:
    return MetricCollection(
        MulticlassAccuracy(C), MulticlassConfusionMatrix(C), MulticlassAUROC(C, thresholds=20)
    ).to(device)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    return [(torch.rand(N, C).softmax(1), torch.randint(C, (N,))) for _ in range(count)]


def same(actual: Any, expected: Any) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(actual[name].cpu(), value, rtol=1e-5, atol=1e-6)


def test_a_captured_update_counts_at_every_replay_and_after_a_reset():
    metrics, expected = collection("cuda"), collection("cpu")
    data = batches(4)
    scores, target = (x.cuda() for x in data[0])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # kernels compile and load outside of the capture
        metrics.update(scores, target)
    torch.cuda.current_stream().wait_stream(stream)
    metrics.reset()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        metrics.update(scores, target)
    for _ in range(2):
        metrics.reset()
        expected.reset()
        for batch in data:
            scores.copy_(batch[0])
            target.copy_(batch[1])
            graph.replay()
            expected.update(*batch)
        # A replay runs no Python, so nothing has told the metrics that they were updated.
        metrics.update(scores[:0], target[:0])
        same(metrics.compute(), expected.compute())


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_steps_have_the_values_of_the_cpu(mode):
    torch._dynamo.reset()
    metrics, expected = collection("cuda"), collection("cpu")
    step = torch.compile(metrics, fullgraph=True, mode=mode)
    for scores, target in batches(5):
        torch.compiler.cudagraph_mark_step_begin()
        same(step(scores.cuda(), target.cuda()), expected(scores, target))
    same(metrics.compute(), expected.compute())
