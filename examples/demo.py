"""Train small networks and check their metrics against other libraries.

Ten handwritten digits, two kinds of tumours and the progress of a disease, all from data that come
with scikit-learn, and the description of one of them, misread. Exits with 1 if a value differs from
that of torchmetrics, scikit-learn, scipy, jiwer or rapidfuzz by more than 1e-6, of the value if it
exceeds 1.
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import jiwer
import numpy as np
import scipy.stats
import sklearn.metrics as sk
import torch
import torchmetrics as upstream
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from tqdm import tqdm

import fastmetrics as torchmetrics

NUM_CLASSES = 10
EPOCHS = 30
BATCH = 64
TOLERANCE = 1e-6
REPEATS = 7
BINS = 200
# How far apart certified bounds may lie.
WIDEST = 0.01
LINES = 60
FOLDER = Path("out")

Batches = list[tuple[Tensor, Tensor]]


@dataclass
class Row:
    """One metric: how to build it from either library, and the call on arrays of a third."""

    name: str
    build: Callable[[ModuleType], Any]
    arrays: Callable[..., Any] | None


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


def binary(metric: str, **arguments: Any) -> Callable[[ModuleType], Any]:
    """Build a binary metric through its task wrapper."""
    return lambda library: getattr(library, metric)(task="binary", **arguments)


def ranked(score: Callable[..., Any]) -> Callable[..., Any]:
    """Call scikit-learn with targets and logits."""
    return lambda target, logits, probabilities: score(target, logits)


def binned(score: Callable[..., Any]) -> Callable[..., Any]:
    """Call scikit-learn with targets and the number of thresholds that each score reaches."""

    def call(target: np.ndarray, logits: np.ndarray, probabilities: np.ndarray) -> Any:
        thresholds = torch.linspace(0, 1, BINS).numpy()
        return score(target, thresholds.searchsorted(probabilities, side="right"))

    return call


def plain(metric: str) -> Callable[[ModuleType], Any]:
    """Build a metric without arguments."""
    return lambda library: getattr(library, metric)()


MACRO = {"average": "macro"}
DIGITS = [
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
AREAS = {"AUROC": sk.roc_auc_score, "AveragePrecision": sk.average_precision_score}
TUMOURS = [
    row
    for metric, score in AREAS.items()
    for row in (
        Row(f"{metric}, exact", binary(metric), ranked(score)),
        Row(f"{metric}, binned", binary(metric, thresholds=BINS), binned(score)),
    )
] + [Row("calibration error", binary("CalibrationError", n_bins=15), None)]
DISEASE = [
    Row("mean squared error", plain("MeanSquaredError"), sk.mean_squared_error),
    Row("mean absolute error", plain("MeanAbsoluteError"), sk.mean_absolute_error),
    Row("R2", plain("R2Score"), sk.r2_score),
    Row(
        "Pearson correlation",
        plain("PearsonCorrCoef"),
        lambda target, preds: scipy.stats.pearsonr(preds, target).statistic,
    ),
    Row("explained variance", plain("ExplainedVariance"), sk.explained_variance_score),
]


def of_text(metric: str) -> Callable[[ModuleType], Any]:
    """Build a metric of texts without arguments."""
    return lambda library: getattr(library.text, metric)()


def mean_distance(target: list[str], preds: list[str]) -> float:
    """Return the mean edit distance, by rapidfuzz."""
    return float(np.mean([*map(Levenshtein.distance, preds, target)]))


TEXTS = [
    Row("word error rate", of_text("WordErrorRate"), jiwer.wer),
    Row("character error rate", of_text("CharErrorRate"), jiwer.cer),
    Row("match error rate", of_text("MatchErrorRate"), None),
    Row("word information lost", of_text("WordInfoLost"), None),
    Row("word information preserved", of_text("WordInfoPreserved"), None),
    Row("edit distance", of_text("EditDistance"), mean_distance),
    Row("extended edit distance", of_text("ExtendedEditDistance"), None),
    Row("translation edit rate", of_text("TranslationEditRate"), None),
]


def load(
    data: Callable[..., Any], stratified: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ``x_train, x_test, y_train, y_test``, float32 unless the targets are labels."""
    x, y = data(return_X_y=True)
    stratify = y if stratified else None
    parts = train_test_split(x, y, test_size=0.4, random_state=0, stratify=stratify)
    x_train, x_test, y_train, y_test = (torch.from_numpy(part) for part in parts)
    if not stratified:
        y_train, y_test = y_train.float(), y_test.float()
    return x_train.float(), x_test.float(), y_train, y_test


def standardized(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale both by the mean and the standard deviation of the training data."""
    std, mean = torch.std_mean(x_train, dim=0)
    return (x_train - mean) / std, (x_test - mean) / std


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    metric: Any,
    name: str,
) -> None:
    """Fit the model; the progress bar shows the running metric of each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with tqdm(range(EPOCHS), desc=name, unit="epoch") as epochs:
        for _ in epochs:
            metric.reset()
            for rows in torch.randperm(len(x)).split(BATCH):
                output = model(x[rows])
                loss = loss_of(output, y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                metric.update(output, y[rows])
            value = {type(metric).__name__: f"{metric.compute():.4f}"}
            epochs.set_postfix(loss=f"{loss.item():.3f}", **value)
    model.eval()


def predict(model: nn.Module, x: Tensor, y: Tensor) -> Batches:
    """Return outputs and targets in batches."""
    with torch.no_grad():
        outputs = [model(part) for part in x.split(BATCH)]
    return list(zip(outputs, y.split(BATCH), strict=True))


def joined(batches: Batches) -> tuple[Tensor, Tensor]:
    """Return all outputs and all targets."""
    outputs, targets = zip(*batches, strict=True)
    return torch.cat(outputs), torch.cat(targets)


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
    """Return the largest difference, relative beyond 1; infinite where they cannot be compared."""
    ours, theirs = (np.asarray(each, dtype=np.float64) for each in (value, other))
    if ours.shape != theirs.shape or not np.isfinite([ours, theirs]).all():
        return float("inf")
    return float((np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1.0)).max())


def value_text(value: Any) -> str:
    """Print a number, or the shape of an array."""
    array = np.asarray(value)
    return f"{array:.6f}" if array.ndim == 0 else "x".join(map(str, array.shape))


def table_of(title: str, *headings: str) -> Table:
    """Return an empty table; all but the first column hold numbers."""
    table = Table(title=title)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left")
    return table


def compare(
    title: str, rows: list[Row], batches: list[Any], arrays: tuple[Any, ...], third: str
) -> tuple[Table, list[str]]:
    """Return the table, and the metrics that differ."""
    together = torchmetrics.MetricCollection({row.name: row.build(torchmetrics) for row in rows})
    values = evaluate(together, batches)

    libraries = ("fastmetrics", "torchmetrics", third)
    timings = (f"{library} µs" for library in libraries)
    table = table_of(title, "metric", *libraries, "largest difference", *timings)
    wrong = []
    for row in rows:
        ours, theirs = row.build(torchmetrics), row.build(upstream)
        others = [evaluate(theirs, batches)]
        calls = [
            lambda metric=ours: evaluate(metric, batches),
            lambda metric=theirs: evaluate(metric, batches),
        ]
        if row.arrays is not None:
            others.append(row.arrays(*arrays))
            calls.append(lambda call=row.arrays: call(*arrays))
        gap = max(
            difference(values[row.name], other) for other in (*others, evaluate(ours, batches))
        )
        if not gap <= TOLERANCE:
            wrong.append(row.name)
        missing = [""] * (row.arrays is None)
        table.add_row(
            row.name,
            *map(value_text, (values[row.name], *others)),
            *missing,
            f"{gap:.1e}",
            *(f"{1e6 * seconds(call):.0f}" for call in calls),
            *missing,
            style="red" if row.name in wrong else None,
        )
    upstream_together = upstream.MetricCollection({row.name: row.build(upstream) for row in rows})
    evaluate(upstream_together, batches)
    table.add_section()
    table.add_row(
        "all in one collection",
        *[""] * 4,
        f"{1e6 * seconds(lambda: evaluate(together, batches)):.0f}",
        f"{1e6 * seconds(lambda: evaluate(upstream_together, batches)):.0f}",
    )
    return table, wrong


def certify(batches: Batches, arrays: tuple[np.ndarray, ...]) -> tuple[Table, list[str]]:
    """Return a table of bounds, and the metrics whose exact value they miss or hardly tell."""
    title = "certified in constant memory: bounds on the exact value"
    table = table_of(title, "metric", "at least", "value", "at most", "exact, by scikit-learn")
    wrong = []
    for name, score in AREAS.items():
        metric = binary(name, thresholds="auto")(torchmetrics)
        value = float(evaluate(metric, batches))
        low, high = map(float, metric.bounds())
        exact = float(ranked(score)(*arrays))
        if not (low <= exact <= high and low <= value <= high and high - low <= WIDEST):
            wrong.append(f"{name}, certified")
        table.add_row(name, *map(value_text, (low, value, high, exact)))
    return table, wrong


def draw(metric: Any, batches: Batches, name: str, plot: str = "plot", **arguments: Any) -> None:
    """Write the plot of a metric as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    evaluate(metric, batches)
    figure, _ = getattr(metric, plot)(**arguments)
    figure.set_size_inches(7, 7)
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png", dpi=120)


def digits(console: Console) -> list[str]:
    """Classify images of 8x8 pixels; return the metrics that differ."""
    x_train, x_test, y_train, y_test = load(load_digits)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, NUM_CLASSES))
    accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=NUM_CLASSES, average="micro")
    train(model, x_train / 16, y_train, nn.functional.cross_entropy, accuracy, "digits")
    batches = predict(model, x_test / 16, y_test)
    logits, target = joined(batches)
    arrays = target.numpy(), logits.argmax(1).numpy(), logits.numpy()
    title = f"{len(target)} held-out digits in batches of {BATCH}"
    table, wrong = compare(title, DIGITS, batches, arrays, "scikit-learn")
    console.print(table)
    draw(task("ConfusionMatrix")(torchmetrics), batches, "confusion_matrix")
    return wrong


def tumours(console: Console) -> list[str]:
    """Tell benign from malignant tumours; return the metrics that differ."""
    x_train, x_test, y_train, y_test = load(load_breast_cancer)
    x_train, x_test = standardized(x_train, x_test)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    train(
        model,
        x_train,
        y_train,
        lambda logits, target: nn.functional.binary_cross_entropy_with_logits(
            logits, target.float()
        ),
        binary("AUROC")(torchmetrics),
        "tumours",
    )
    batches = predict(model, x_test, y_test)
    logits, target = joined(batches)
    arrays = target.numpy(), logits.numpy(), logits.sigmoid().numpy()
    title = f"{len(target)} held-out tumours in batches of {BATCH}; binned: {BINS} thresholds"
    table, wrong = compare(title, TUMOURS, batches, arrays, "scikit-learn")
    console.print(table)
    table, outside = certify(batches, arrays)
    console.print(table)
    draw(binary("ROC")(torchmetrics), batches, "roc", score=True)
    draw(binary("PrecisionRecallCurve")(torchmetrics), batches, "precision_recall", score=True)
    calibration = binary("CalibrationError", n_bins=10)(torchmetrics)
    draw(calibration, batches, "reliability", "plot_reliability")
    return wrong + outside


def disease(console: Console) -> list[str]:
    """Predict the progress of diabetes after a year; return the metrics that differ."""
    x_train, x_test, y_train, y_test = load(load_diabetes, stratified=False)
    x_train, x_test = standardized(x_train, x_test)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    std, mean = torch.std_mean(y_train)
    error = torchmetrics.MeanSquaredError()
    train(model, x_train, (y_train - mean) / std, nn.functional.mse_loss, error, "disease")
    batches = [(mean + std * preds, target) for preds, target in predict(model, x_test, y_test)]
    preds, target = joined(batches)
    arrays = target.double().numpy(), preds.double().numpy()
    title = f"{len(target)} held-out patients in batches of {BATCH}"
    table, wrong = compare(title, DISEASE, batches, arrays, "sklearn, scipy")
    console.print(table)
    return wrong


def misread(line: str, chosen: random.Random) -> str:
    """Return a line with letters that look alike exchanged, blanks lost, and a word left out."""
    alike = {"l": "1", "o": "0", "e": "c", "n": "u", "t": "f"}
    read = [alike.get(each, each) if chosen.random() < 0.1 else each for each in line]
    words = "".join("" if each == " " and chosen.random() < 0.05 else each for each in read).split()
    del words[chosen.randrange(len(words))]
    return " ".join(words)


def texts(console: Console) -> list[str]:
    """Compare a description with what was read of it; return the metrics that differ."""
    chosen = random.Random(0)
    lines = [" ".join(line.split()) for line in load_breast_cancer().DESCR.splitlines()]
    target = [line for line in lines if len(line.split()) > 3][:LINES]
    preds = [misread(line, chosen) for line in target]
    batches = [(preds[i : i + 20], target[i : i + 20]) for i in range(0, LINES, 20)]
    title = f"{len(target)} lines on tumours, misread, in batches of 20"
    table, wrong = compare(title, TEXTS, batches, (target, preds), "jiwer, rapidfuzz")
    console.print(table)
    confusions = torchmetrics.functional.text.edit_operations(preds, target).confusions
    often = [f"{t or '*'} -> {p or '*'} ({n})" for (t, p), n in confusions.most_common(6)]
    console.print(f"read most often: {', '.join(often)}")
    return wrong


def main() -> int:
    """Run the demo; 1 if a value differs."""
    torch.manual_seed(0)
    # A file has no width of its own; a terminal narrower than the table folds its cells.
    console = Console() if sys.stdout.isatty() else Console(width=150)
    wrong = [*digits(console), *tumours(console), *disease(console), *texts(console)]
    pictures = ", ".join(sorted(path.name for path in FOLDER.glob("*.png")))
    console.print(f"pictures written to {FOLDER}: {pictures}")
    if wrong:
        console.print(f"[red]values differ or lie outside their bounds: {', '.join(wrong)}[/red]")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
