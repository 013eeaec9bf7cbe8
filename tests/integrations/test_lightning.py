"""Lightning logs the same values with metrics of this package as with those of torchmetrics."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torchmetrics
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
from torch.utils.data import DataLoader

import fastmetrics
from fastmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCohenKappa,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from tests.integrations import digits

ROOT = Path(__file__).parents[2]
LIBRARIES = ("fastmetrics", "torchmetrics")


def run(*arguments: str | Path) -> str:
    """The output of a fresh interpreter in the folder of the project."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class AtEpochStart(Callback):
    """Notes which metrics hold data, and where they are, when an epoch begins."""

    def __init__(self) -> None:
        self.filled: list[set[str]] = []

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        metrics = [(n, m) for n, m in module.named_modules() if isinstance(m, torchmetrics.Metric)]
        assert len(metrics) > 15
        assert all(metric.device == module.device for _, metric in metrics)
        self.filled.append({name for name, metric in metrics if metric.update_called})


def test_logged_values() -> None:
    seen, starts = [], []
    for library in LIBRARIES:
        start = AtEpochStart()
        trainer, recorder = digits.fit(library, callbacks=[start])
        tested = trainer.test(trainer.lightning_module, verbose=False)
        seen.append((recorder, [*trainer.callback_metrics], tested))
        starts.append(start.filled)
    (ours, our_names, our_test), (theirs, their_names, their_test) = seen
    assert digits.row_differences(ours.rows, theirs.rows) == []
    names = {name for _, row in ours.rows for name in row}
    assert {"accuracy_step", "accuracy_epoch", "updated/MulticlassF1Score"} <= names
    assert {"called/MulticlassF1Score!_step", "f_score_epoch", "val/exact", "error"} <= names
    assert our_names == their_names
    assert our_test == [pytest.approx(row, rel=1e-5) for row in their_test]
    assert starts[0] == starts[1]
    # Only what was not logged itself is left for the module to reset.
    assert starts[0] == [set(), {"value_accuracy"}]


def test_mixed_precision() -> None:
    recorders = [digits.fit(library, epochs=1, precision="bf16-mixed")[1] for library in LIBRARIES]
    assert digits.row_differences(recorders[0].rows, recorders[1].rows) == []


IMPORTS = ("import fastmetrics; metric = fastmetrics.MeanSquaredError()", "import lightning")


@pytest.mark.parametrize(
    "imports",
    [IMPORTS, pytest.param(IMPORTS[::-1], marks=pytest.mark.exhaustive)],
    ids=["metric first", "Lightning first"],
)
def test_import_order(imports: tuple[str, str]) -> None:
    """A metric may be older than the import of Lightning, and with it of torchmetrics."""
    code = """
from tests.integrations import digits
class Older(digits.Digits):
    def __init__(self, library):
        super().__init__(library)
        self.error = metric
digits.Digits = Older
_, recorder = digits.fit("fastmetrics", epochs=1, limit_train_batches=2, limit_val_batches=1)
print([row["error"] for _, row in recorder.rows if "error" in row])
"""
    values = json.loads(run("-c", "\n".join([*imports, code])).splitlines()[-1])
    assert len(values) == 2
    assert all(0 < value < 1 for value in values)


def test_two_processes(tmp_path: Path) -> None:
    run(ROOT / "tests" / "integrations" / "run_ddp.py", tmp_path)
    results = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert sorted(results) == [f"{library}-{rank}" for library in LIBRARIES for rank in (0, 1)]
    for rank in (0, 1):
        ours, theirs = (results[f"{library}-{rank}"] for library in LIBRARIES)
        assert digits.row_differences(ours["rows"], theirs["rows"]) == []
        assert ours["callback"] == pytest.approx(theirs["callback"], rel=1e-5)
    # What belongs to an epoch belongs to all processes.
    first, second = (results[f"fastmetrics-{rank}"]["callback"] for rank in (0, 1))
    whole = [name for name in first if name.endswith("_epoch") or name.startswith("val/")]
    assert len(whole) > 10
    assert {name: first[name] for name in whole} == {name: second[name] for name in whole}
    assert first["accuracy_step"] != second["accuracy_step"]


def structure(value: Any, path: str = "") -> dict[str, type]:
    """The types of all that is in nested dicts and lists, by path."""
    if isinstance(value, dict):
        return {k: v for key in value for k, v in structure(value[key], f"{path}.{key}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for i, x in enumerate(value) for k, v in structure(x, f"{path}.{i}").items()}
    return {path: type(value)}


def test_checkpoints_hold_no_more(tmp_path: Path) -> None:
    structures, rows = [], {}
    for library in LIBRARIES:
        folder = tmp_path / library
        saver = ModelCheckpoint(folder, monitor="val/exact", save_last=True)
        fitted = {"enable_checkpointing": True, "callbacks": [saver]}
        digits.fit(library, epochs=1, **fitted)
        saved = torch.load(folder / "last.ckpt", weights_only=False)
        assert [*saved["state_dict"]] == ["model.weight", "model.bias"]
        structures.append(structure(saved))
        _, resumed = digits.fit(library, epochs=3, checkpoint=folder / "last.ckpt")
        _, whole = digits.fit(library, epochs=3)
        rows[library] = resumed.rows
        assert resumed.rows == whole.rows[-len(resumed.rows) :]
        assert {row["epoch"] for _, row in resumed.rows} == {1.0, 2.0}
    keys = [{key.replace("torchmetrics", "fastmetrics") for key in each} for each in structures]
    assert keys[0] == keys[1]
    assert not any("fastmetrics" in kind.__module__ for kind in structures[0].values())
    assert digits.row_differences(rows["fastmetrics"], rows["torchmetrics"]) == []


@pytest.mark.filterwarnings("ignore:.*before any update:UserWarning")
def test_states_that_are_saved_on_request(tmp_path: Path) -> None:
    class Saved(digits.Digits):
        def __init__(self, library: str = "fastmetrics") -> None:
            super().__init__(library)
            self.epoch_accuracy.persistent(True)
            self.updated.persistent(True)

        def values(self) -> tuple[Any, Any]:
            return self.epoch_accuracy.compute(), self.updated.compute()

    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, module: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                trainer.save_checkpoint(path)
                self.values = module.values()

    path, save = tmp_path / "middle.ckpt", Save()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "Digits", Saved)
        digits.fit("fastmetrics", epochs=1, callbacks=[save])
    loaded = Saved.load_from_checkpoint(path)
    assert 0 < loaded.epoch_accuracy.compute() < 1
    torch.testing.assert_close(loaded.values(), save.values, rtol=0, atol=0)


class TwoLoaders(digits.Digits):
    """Validates with a collection for each of two loaders."""

    def __init__(self, library: str) -> None:
        super().__init__(library)
        of_loader = [self.checks.clone(prefix=prefix) for prefix in ("first/", "second/")]
        self.of_loader = torch.nn.ModuleList(of_loader)

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        images, target = batch
        metrics = self.of_loader[dataloader_idx]
        metrics.update(self(images), target)
        self.log_dict(metrics, add_dataloader_idx=False)


def test_two_validation_loaders() -> None:
    """Each collection sees what its loader gives, whole and to the last batch."""
    found = []
    for library in LIBRARIES:
        torch.manual_seed(1)
        module = TwoLoaders(library)
        loaders = [module.train_dataloader(), module.val_dataloader()]
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*many workers")
            found.append(trainer.validate(module, loaders, verbose=False))
        assert not any(m.update_called for c in module.of_loader for m in c.values())
    ours, theirs = found
    assert len(ours) == 2
    assert ours == [pytest.approx(row, rel=1e-5) for row in theirs]
    for row, prefix, loader in zip(ours, ("first/", "second/"), loaders, strict=True):
        images, target = loader.dataset[:]
        metrics = fastmetrics.MetricCollection(
            {"accuracy": MulticlassAccuracy(10), "kappa": MulticlassCohenKappa(10)}, prefix=prefix
        )
        with torch.no_grad():
            metrics.update(module(images), target)
        whole = {name: value.item() for name, value in metrics.compute().items()}
        assert {name: row[name] for name in whole} == pytest.approx(whole)


class Resumable(DataLoader):
    """A loader that goes on behind the batch where it was saved."""

    done = 0

    def __iter__(self) -> Any:
        first, self.done = self.done, 0
        for place, batch in enumerate(super().__iter__()):
            if place >= first:
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"done": STOP}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.done = state["done"]


STOP = 3  # batches of the second epoch before it is interrupted


class Resumed(digits.Digits):
    """Keeps its metrics in checkpoints, and goes on with them."""

    def __init__(self, library: str) -> None:
        super().__init__(library)
        for metric in (self.epoch_accuracy, self.loss, self.updated, self.called):
            metric.persistent(True)

    def train_dataloader(self) -> Any:
        return Resumable(super().train_dataloader().dataset, batch_size=96)


class SaveInTheMiddle(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1 and trainer.fit_loop.epoch_loop.batch_idx == STOP - 1:
            trainer.save_checkpoint(self.path)


def test_checkpoints_go_on_in_the_middle_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the whole epoch logs is the same, whether it was interrupted or not."""
    monkeypatch.setattr(digits, "Digits", Resumed)
    rows = {}
    for library in LIBRARIES:
        path = tmp_path / f"{library}.ckpt"
        _, whole = digits.fit(library, callbacks=[SaveInTheMiddle(path)])
        _, resumed = digits.fit(library, checkpoint=path)
        rows[library] = resumed.rows
        names = {"epoch_accuracy", "loss_epoch", "updated/MulticlassF1Score"}
        names.add("called/MulticlassPrecision!_epoch")
        last = [{k: v for k, v in row.items() if k in names} for _, row in whole.rows]
        last = [row for row in last if row]
        assert {*last[-1]} == names
        found = {k: v for _, row in resumed.rows for k, v in row.items() if k in names}
        assert found == pytest.approx(last[-1], rel=1e-6)
        assert last[0] != last[-1]
    assert digits.row_differences(rows["fastmetrics"], rows["torchmetrics"]) == []


def test_logging_a_collection_keeps_states_shared() -> None:
    """Lightning moves each metric to its device at every step."""
    collection = fastmetrics.MetricCollection(
        [MulticlassPrecision(3), MulticlassRecall(3), MulticlassF1Score(3)]
    )
    results = _ResultCollection(training=True)
    for _ in range(3):
        collection.update(torch.rand(8, 3), torch.randint(3, (8,)))
        for name, metric in collection.items(copy_state=False):
            results.log("training_step", name, metric, on_epoch=True)
        states = {id(metric.counts) for metric in collection.values(copy_state=False)}
        assert len(states) == 1
    results.cpu()
    assert {id(metric.counts) for metric in collection.values(copy_state=False)} == states
    values = results.metrics(on_step=False)["log"]
    torch.testing.assert_close(values, collection.compute())
    results.reset(metrics=True)
    assert not any(metric.update_called for metric in collection.values())
    assert results.metrics(on_step=False)["log"] == {}


def test_values_that_are_no_tensor_are_refused_as_theirs() -> None:
    for library in (fastmetrics, torchmetrics):
        metric = library.MetricCollection([library.MeanMetric()])
        curve = library.classification.BinaryROC(thresholds=4)
        curve(torch.rand(5), torch.randint(2, (5,)))
        results = _ResultCollection(training=True)
        results.log("training_step", "curve", curve, on_step=True)
        with pytest.raises(ValueError, match="must be a tensor"):
            results.metrics(on_step=True)
        assert isinstance(metric, torchmetrics.MetricCollection)


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(
        "lightning_digits", ROOT / "examples" / "lightning_digits.py"
    )
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    trainer = example.main()
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == example.EPOCHS
    for line in epochs:
        numbers = dict(re.findall(r"(\S+/\S+) (\d\.\d+)", line))
        assert [*numbers] == ["train/accuracy", "val/auroc", "val/f1", "val/recall"]
        assert all(0.3 < float(number) <= 1 for number in numbers.values())
    last = trainer.callback_metrics["val/auroc"].item()
    assert last > 0.95
    assert math.isclose(last, float(re.findall(r"val/auroc (\S+)", epochs[-1])[0]), abs_tol=1e-4)


class Wrapped(digits.Digits):
    """Logs a collection with wrappers: as a collection where values are numbers, by value else."""

    def __init__(self, library: str) -> None:
        super().__init__(library)
        metrics, wrappers = (
            importlib.import_module(library),
            importlib.import_module(f"{library}.wrappers"),
        )
        accuracy = metrics.classification.MulticlassAccuracy(10, average=None)
        self.numbers = metrics.MetricCollection(
            {
                "kappa": metrics.classification.MulticlassCohenKappa(10),
                "late": wrappers.Running(metrics.classification.MulticlassAccuracy(10), window=2),
            },
            prefix="numbers/",
        )
        self.dicts = metrics.MetricCollection(
            {
                "of_classes": wrappers.ClasswiseWrapper(accuracy),
                "extremes": wrappers.MinMaxMetric(metrics.classification.MulticlassCohenKappa(10)),
            },
            prefix="dicts/",
        )

    def validation_step(self, batch: Any, index: int) -> None:
        images, target = batch
        preds = self(images)
        self.numbers.update(preds, target)
        self.log_dict(self.numbers)
        self.dicts.update(preds, target)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.dicts.compute())
        self.dicts.reset()


def test_collections_with_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "Digits", Wrapped)
    rows = {library: digits.fit(library)[1].rows for library in LIBRARIES}
    names = {name for _, row in rows["fastmetrics"] for name in row}
    assert {"numbers/late", "dicts/multiclassaccuracy_3", "dicts/min"} <= names
    assert digits.row_differences(rows["fastmetrics"], rows["torchmetrics"]) == []


def test_a_module_with_metrics_becomes_torchscript() -> None:
    """What is scripted is the model; the metrics inside are left as they are."""
    images = digits.load_digits(return_X_y=True)[0][:4]
    images = torch.tensor(images).float()
    for library in LIBRARIES:
        module = digits.Digits(library)
        scripted = module.to_torchscript()
        torch.testing.assert_close(scripted(images), module(images))
