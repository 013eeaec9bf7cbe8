"""Integrations in several processes: what one of them says is of all data, for one exchange."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from fastmetrics import MetricCollection
from fastmetrics.classification import BinaryAUROC, BinaryF1Score
from tests.distributed.processes import run_checks


def batch(rank: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    scores = torch.rand(40 + rank, generator=generator)
    return {"scores": scores, "labels": (scores > torch.rand((), generator=generator)).long()}


def collection(**options: bool) -> MetricCollection:
    metrics = {"auroc": BinaryAUROC(**options), "f1": BinaryF1Score(**options)}
    return MetricCollection(metrics).from_outputs(preds="scores", target="labels")


def of_all(world: int) -> MetricCollection:
    metrics = collection(sync_on_compute=False)
    for rank in range(world):
        metrics.update(batch(rank))
    return metrics


def keys_of_outputs(rank: int, world: int) -> None:
    metrics = collection()
    metrics.update(batch(rank))
    torch.testing.assert_close(metrics.compute(), of_all(world).compute())


def engine(rank: int, world: int) -> None:
    from ignite.engine import Engine

    from fastmetrics.integrations.ignite import attach

    evaluator = Engine(lambda engine, batch: batch)
    attach(evaluator, collection())
    found = evaluator.run([batch(rank)]).metrics
    wanted = {name: value.item() for name, value in of_all(world).compute().items()}
    torch.testing.assert_close(found, wanted)


def tensorboard(rank: int, world: int) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from fastmetrics.integrations.tensorboard import log

    metrics = collection()
    metrics.update(batch(rank))
    if rank > 0:
        log(None, metrics)
    else:
        with tempfile.TemporaryDirectory() as folder:
            with SummaryWriter(folder) as writer:
                log(writer, metrics)
            events = EventAccumulator(folder).Reload()
            for name, value in of_all(world).compute().items():
                torch.testing.assert_close(events.Scalars(name)[0].value, value.item())
            (event,) = events.Histograms("auroc/scores")
            assert event.histogram_value.num == sum(len(batch(r)["scores"]) for r in range(world))
    assert not any(metric._is_synced for metric in metrics.values())
    assert len(metrics["auroc"].preds[0]) == len(batch(rank)["scores"])
    dist.barrier()


def test_two_processes(tmp_path: Path) -> None:
    run_checks(2, tmp_path, keys_of_outputs, engine, tensorboard)
