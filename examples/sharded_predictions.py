"""Score one file of predictions in several processes, live or one after the other.

Processes that `torchrun` starts synchronise their metrics; independent jobs save their states,
which anybody merges afterwards. All three ways print the value that one process computes from the
whole file:

    python examples/sharded_predictions.py make out/predictions.pt
    torchrun --nproc-per-node 2 examples/sharded_predictions.py score out/predictions.pt

    python examples/sharded_predictions.py job out/predictions.pt --shard 0 --of 2 out/0.states
    python examples/sharded_predictions.py job out/predictions.pt --shard 1 --of 2 out/1.states
    python examples/sharded_predictions.py merge out/0.states out/1.states
"""

import argparse
import json
import os
from pathlib import Path

import torch
import torch.distributed as dist

import fastmetrics as torchmetrics
from fastmetrics.distributed import merge_states

NUM_CLASSES = 5
SAMPLES = 10_007
BATCH = 256


def make_metrics() -> torchmetrics.MetricCollection:
    """Return what every process and every job must build alike."""
    return torchmetrics.MetricCollection(
        {
            "accuracy": torchmetrics.Accuracy(task="multiclass", num_classes=NUM_CLASSES),
            "auroc": torchmetrics.AUROC(task="multiclass", num_classes=NUM_CLASSES),
            "calibration": torchmetrics.CalibrationError(
                task="multiclass", num_classes=NUM_CLASSES
            ),
        }
    )


def make_predictions(path: Path) -> None:
    """Write the file that stands for the output of a model."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(NUM_CLASSES, (SAMPLES,), generator=generator)
    logits = torch.randn(SAMPLES, NUM_CLASSES, generator=generator)
    logits[torch.arange(SAMPLES), target] += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"preds": logits.softmax(1), "target": target}, path)


def score_shard(path: Path, shard: int, shards: int) -> torchmetrics.MetricCollection:
    """Return the metrics of one contiguous part of the file; the parts differ in length."""
    # Mapped, not read: each process touches its own part.
    data = torch.load(path, mmap=True)
    start, end = (len(data["target"]) * i // shards for i in (shard, shard + 1))
    metrics = make_metrics()
    for first in range(start, end, BATCH):
        rows = slice(first, min(first + BATCH, end))
        metrics.update(data["preds"][rows], data["target"][rows])
    return metrics


def show(metrics: torchmetrics.MetricCollection) -> None:
    """Print the values, all digits."""
    print(json.dumps({name: value.item() for name, value in metrics.compute().items()}))


def score(path: Path) -> None:
    """Score the file together with the other processes of `torchrun`, or alone."""
    if "RANK" not in os.environ:
        show(score_shard(path, 0, 1))
        return
    dist.init_process_group("gloo")
    metrics = score_shard(path, dist.get_rank(), dist.get_world_size())
    values = metrics.compute()  # all processes must call this; each gets the same value
    if dist.get_rank() == 0:
        print(json.dumps({name: value.item() for name, value in values.items()}))
    dist.destroy_process_group()


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("make", "score", "job"):
        command = commands.add_parser(name)
        command.add_argument("predictions", type=Path)
        if name == "job":
            command.add_argument("--shard", type=int, required=True)
            command.add_argument("--of", type=int, required=True)
            command.add_argument("states", type=Path)
    commands.add_parser("merge").add_argument("states", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "make":
        make_predictions(options.predictions)
    elif options.command == "score":
        score(options.predictions)
    elif options.command == "job":
        metrics = score_shard(options.predictions, options.shard, options.of)
        options.states.write_bytes(metrics.state_bytes())
    else:
        saved = [path.read_bytes() for path in options.states]
        show(merge_states(saved, like=make_metrics()))


if __name__ == "__main__":
    main()
