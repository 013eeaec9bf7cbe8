"""Train a small network on handwritten digits and check its metrics against two other libraries.

Exits with 1 if a value differs from torchmetrics or scikit-learn by more than 1e-6.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import sklearn.metrics as sk
import torch
import torchmetrics as upstream
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from tqdm import tqdm

import fastmetrics as torchmetrics

NUM_CLASSES = 10
EPOCHS = 30
BATCH = 64
TOLERANCE = 1e-6
REPEATS = 7
PICTURE = Path("out/confusion_matrix.png")

Batches = list[tuple[Tensor, Tensor]]


@dataclass
class Row:
    """One metric: how to build it from either library, and the call of scikit-learn."""

    name: str
    build: Callable[[ModuleType], Any]
    sklearn: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]


def task(metric: str, **arguments: Any) -> Callable[[ModuleType], Any]:
    """Build a multiclass metric through its task wrapper."""
    return lambda library: getattr(library, metric)(
        task="multiclass", num_classes=NUM_CLASSES, **arguments
    )


def labelled(score: Callable[..., Any], **arguments: Any) -> Callable[..., Any]:
    """Call scikit-learn with targets and predicted labels."""
    return lambda target, labels, scores: score(target, labels, **arguments)


def counts(target: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return ``tp, fp, tn, fn, support`` per class."""
    tables = sk.multilabel_confusion_matrix(target, labels)
    tn, fp, fn, tp = tables.reshape(-1, 4).T
    return np.stack([tp, fp, tn, fn, tp + fn], axis=1)


MACRO = {"average": "macro"}
ROWS = [
    Row("accuracy", task("Accuracy", average="micro"), labelled(sk.accuracy_score)),
    Row("balanced accuracy", task("Accuracy", **MACRO), labelled(sk.balanced_accuracy_score)),
    Row(
        "top-3 accuracy",
        task("Accuracy", average="micro", top_k=3),
        lambda target, labels, scores: sk.top_k_accuracy_score(target, scores, k=3),
    ),
    Row("precision", task("Precision", **MACRO), labelled(sk.precision_score, **MACRO)),
    Row("recall", task("Recall", **MACRO), labelled(sk.recall_score, **MACRO)),
    Row("F1", task("F1Score", **MACRO), labelled(sk.f1_score, **MACRO)),
    Row("F2", task("FBetaScore", beta=2.0, **MACRO), labelled(sk.fbeta_score, beta=2.0, **MACRO)),
    Row("Jaccard index", task("JaccardIndex", **MACRO), labelled(sk.jaccard_score, **MACRO)),
    Row("Hamming distance", task("HammingDistance", average="micro"), labelled(sk.hamming_loss)),
    Row("Cohen kappa", task("CohenKappa"), labelled(sk.cohen_kappa_score)),
    Row("Matthews correlation", task("MatthewsCorrCoef"), labelled(sk.matthews_corrcoef)),
    Row("counts per class", task("StatScores", average=None), counts),
    Row("confusion matrix", task("ConfusionMatrix"), labelled(sk.confusion_matrix)),
]


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ``x_train, x_test, y_train, y_test``: 1797 images of 8x8 pixels."""
    images, digits = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, digits, test_size=0.4, random_state=0, stratify=digits)
    x_train, x_test, y_train, y_test = (torch.from_numpy(part) for part in parts)
    return x_train.float(), x_test.float(), y_train, y_test


def train(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Fit the model; the progress bar shows the running accuracy of each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=NUM_CLASSES, average="micro")
    with tqdm(range(EPOCHS), desc="training", unit="epoch") as epochs:
        for _ in epochs:
            accuracy.reset()
            for rows in torch.randperm(len(x)).split(BATCH):
                logits = model(x[rows])
                loss = nn.functional.cross_entropy(logits, y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                accuracy.update(logits, y[rows])
            epochs.set_postfix(loss=f"{loss.item():.3f}", accuracy=f"{accuracy.compute():.4f}")


def evaluate(metric: Any, batches: Batches) -> Any:
    """Return the value over all batches."""
    metric.reset()
    for logits, target in batches:
        metric.update(logits, target)
    return metric.compute()


def seconds(call: Callable[[], Any]) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


def difference(value: Any, other: Any) -> float:
    """Return the largest absolute difference; infinite where the shapes differ."""
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (value, other))
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return float("inf")
    return float(np.abs(ours - theirs).max())


def value_text(value: Any) -> str:
    """Print a number, or the shape of an array."""
    array = np.asarray(value)
    return f"{array:.6f}" if array.ndim == 0 else "x".join(map(str, array.shape))


def compare(batches: Batches) -> tuple[Table, list[str]]:
    """Return the table, and the metrics that differ."""
    target = torch.cat([target for _, target in batches]).numpy()
    logits = torch.cat([logits for logits, _ in batches])
    arrays = target, logits.argmax(1).numpy(), logits.numpy()

    together = torchmetrics.MetricCollection({row.name: row.build(torchmetrics) for row in ROWS})
    values = evaluate(together, batches)

    table = Table(title=f"{len(target)} held-out digits in batches of {BATCH}")
    for heading in ("metric", "fastmetrics", "torchmetrics", "scikit-learn", "largest difference"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for library in ("fastmetrics", "torchmetrics", "scikit-learn"):
        table.add_column(f"{library} µs", justify="right")
    wrong = []
    for row in ROWS:
        ours, theirs = row.build(torchmetrics), row.build(upstream)
        their_value, sk_value = evaluate(theirs, batches), row.sklearn(*arrays)
        gap = max(
            difference(values[row.name], other)
            for other in (their_value, sk_value, evaluate(ours, batches))
        )
        if not gap <= TOLERANCE:
            wrong.append(row.name)
        times = (
            seconds(lambda metric=ours: evaluate(metric, batches)),
            seconds(lambda metric=theirs: evaluate(metric, batches)),
            seconds(lambda call=row.sklearn: call(*arrays)),
        )
        table.add_row(
            row.name,
            *map(value_text, (values[row.name], their_value, sk_value)),
            f"{gap:.1e}",
            *(f"{1e6 * each:.0f}" for each in times),
            style="red" if row.name in wrong else None,
        )
    upstream_together = upstream.MetricCollection({row.name: row.build(upstream) for row in ROWS})
    evaluate(upstream_together, batches)
    table.add_section()
    table.add_row(
        "all in one collection",
        *[""] * 4,
        f"{1e6 * seconds(lambda: evaluate(together, batches)):.0f}",
        f"{1e6 * seconds(lambda: evaluate(upstream_together, batches)):.0f}",
    )
    return table, wrong


def draw(batches: Batches) -> None:
    """Write the confusion matrix as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    matrix = torchmetrics.ConfusionMatrix(task="multiclass", num_classes=NUM_CLASSES)
    evaluate(matrix, batches)
    figure, _ = matrix.plot()
    figure.set_size_inches(7, 7)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=120)


def main() -> int:
    """Run the demo; 1 if a value differs."""
    torch.manual_seed(0)
    x_train, x_test, y_train, y_test = load()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, NUM_CLASSES))
    train(model, x_train, y_train)
    model.eval()
    with torch.no_grad():
        logits = [model(part) for part in x_test.split(BATCH)]
    batches = list(zip(logits, y_test.split(BATCH), strict=True))

    table, wrong = compare(batches)
    # A file has no width of its own; a terminal narrower than the table folds its cells.
    console = Console() if sys.stdout.isatty() else Console(width=150)
    console.print(table)
    draw(batches)
    console.print(f"confusion matrix written to {PICTURE}")
    if wrong:
        console.print(f"[red]values differ by more than {TOLERANCE}: {', '.join(wrong)}[/red]")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
