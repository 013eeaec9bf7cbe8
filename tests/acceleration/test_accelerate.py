"""What `accelerate` replaces, and that `restore` leaves no trace of it."""

from __future__ import annotations

import contextlib
import copy
import copyreg
import importlib
import inspect
import multiprocessing
import os
import pickle
import sys
from abc import ABCMeta

import pytest
import torch
import torchmetrics
from torch.utils.data import DataLoader
from torchmetrics import Accuracy
from torchmetrics.functional import mean_squared_error

import fastmetrics
from fastmetrics.acceleration.watching import Watch

EARLY, EARLY_MSE = Accuracy, mean_squared_error
PREDS, TARGET = torch.tensor([0.2, 0.7, 0.6]), torch.tensor([0, 1, 0])


def filled(metric):
    metric.update(PREDS, TARGET)
    return metric


def snapshot():
    modules = {
        name: dict(vars(module))
        for name, module in sys.modules.items()
        if name.startswith("torchmetrics") or name == __name__
    }
    hooks = ([*sys.meta_path], dict(os.environ), copyreg.dispatch_table.get(ABCMeta))
    return modules, hooks


def same(before, after):
    assert before[1] == after[1]
    for name, names in before[0].items():
        changed = {key for key in names if after[0][name].get(key) is not names[key]}
        assert not changed - {"__builtins__"}, (name, changed)


@pytest.fixture
def accelerated():
    with fastmetrics.accelerate() as acceleration:
        yield acceleration


def test_names_are_ours_in_all_modules_and_theirs_again_afterwards():
    import torchmetrics.classification as domain

    before = snapshot()
    with fastmetrics.accelerate():
        assert Accuracy is fastmetrics.Accuracy
        assert torchmetrics.Accuracy is fastmetrics.Accuracy
        assert domain.BinaryAUROC is fastmetrics.classification.BinaryAUROC
        assert torchmetrics.MetricCollection is fastmetrics.MetricCollection
        assert mean_squared_error is fastmetrics.functional.mean_squared_error
        from torchmetrics.regression.mse import MeanSquaredError

        assert MeanSquaredError is fastmetrics.MeanSquaredError
    same(before, snapshot())
    assert Accuracy is EARLY
    assert not fastmetrics.is_accelerated(Accuracy)


def test_modules_loaded_meanwhile_get_theirs_back(tmp_path, monkeypatch):
    (tmp_path / "loaded_meanwhile.py").write_text(
        "from torchmetrics import MeanMetric as Mean\nfrom fastmetrics import SumMetric\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with fastmetrics.accelerate():
        module = importlib.import_module("loaded_meanwhile")
        assert module.Mean is fastmetrics.MeanMetric
    assert module.Mean is torchmetrics.MeanMetric
    assert module.SumMetric is fastmetrics.SumMetric
    del sys.modules["loaded_meanwhile"]


def test_every_public_class_that_both_have_is_replaced(accelerated):
    for name in torchmetrics.__all__:
        ours = getattr(fastmetrics, name, None)
        if isinstance(ours, type) and ours.__module__.startswith("fastmetrics"):
            assert getattr(torchmetrics, name) is ours
            assert fastmetrics.is_accelerated(ours)


def test_modules_of_torchmetrics_that_load_later_build_on_their_own(accelerated):
    for name in [name for name in sys.modules if name.startswith("torchmetrics.shape")]:
        del sys.modules[name]
    shape = importlib.import_module("torchmetrics.shape")
    assert not fastmetrics.is_accelerated(shape.ProcrustesDisparity())


@pytest.mark.parametrize("make", [torchmetrics.classification.BinaryAccuracy, None])
def test_pickles_of_either_load_under_both(make):
    theirs = filled(make() if make else torchmetrics.MetricCollection([EARLY("binary")]))
    wanted = theirs.compute()
    early = pickle.dumps(theirs)
    with fastmetrics.accelerate():
        ours = filled(torchmetrics.MetricCollection([torchmetrics.Accuracy("binary")]))
        for data in (early, pickle.dumps(theirs)):
            loaded = pickle.loads(data)
            assert type(loaded) is type(theirs)
            assert loaded.compute() == wanted
        late, meanwhile = pickle.dumps(theirs), pickle.dumps(ours)
        assert fastmetrics.is_accelerated(pickle.loads(meanwhile))
        assert copy.deepcopy(theirs).compute() == wanted
    assert pickle.loads(late).compute() == wanted
    assert pickle.loads(meanwhile).compute() == {"BinaryAccuracy": torch.tensor(2 / 3)}


def test_functions_that_are_watched_are_what_they_were():
    retrieval = torchmetrics.functional.retrieval
    ranks = retrieval.retrieval_hit_rate
    before = snapshot()
    with fastmetrics.accelerate() as acceleration:
        replacement = acceleration.replacement
        watch = Watch(replacement)
        watch.start_functions(replacement)
        assert mean_squared_error is torchmetrics.functional.mean_squared_error
        assert mean_squared_error is not fastmetrics.functional.mean_squared_error
        assert fastmetrics.is_accelerated(mean_squared_error)
        assert not fastmetrics.is_accelerated(retrieval.retrieval_hit_rate)
        assert inspect.signature(mean_squared_error) == inspect.signature(
            fastmetrics.functional.mean_squared_error
        )
        wanted = fastmetrics.functional.mean_squared_error(PREDS, TARGET)
        assert mean_squared_error(PREDS, TARGET) == wanted
        assert retrieval.retrieval_hit_rate(PREDS, TARGET, top_k=2) == 1
        with pytest.raises(ValueError, match="top_k"):
            retrieval.retrieval_hit_rate(PREDS, TARGET, top_k=-1)
        rows = {name: row for name, row in watch.functions.items() if row.calls}
        assert {name: row.calls["call"] for name, row in rows.items()} == {
            "mean_squared_error": 1,
            "retrieval_hit_rate": 2,
        }
        assert [row.accelerated for row in rows.values()] == [True, False]
        # Modules of torchmetrics that load now build on their own, and show what is watched.
        name = "torchmetrics.functional.retrieval.hit_rate"
        kept = sys.modules.pop(name)
        again = importlib.import_module(name)
        sys.modules[name] = retrieval.hit_rate = kept
        assert again._check_retrieval_functional_inputs is kept._check_retrieval_functional_inputs
        watched = [mean_squared_error, retrieval.retrieval_hit_rate]
        meanwhile = pickle.dumps(watched)
        assert pickle.loads(meanwhile) == watched
    same(before, snapshot())
    assert pickle.loads(meanwhile) == [EARLY_MSE, ranks]


def test_what_was_derived_before_is_listed():
    class Derived(EARLY if isinstance(EARLY, type) else object):
        pass

    with fastmetrics.accelerate() as acceleration:
        assert Derived in acceleration.not_covered
        assert not fastmetrics.is_accelerated(Derived)


def _tell(queue):
    from torchmetrics.classification import BinaryAccuracy as found

    queue.put(found.__module__)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_child_processes_do_the_same(accelerated, method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_tell, args=(queue,))
    process.start()
    assert queue.get(timeout=120) == "fastmetrics.classification.accuracy"
    process.join()


def _modules(_):
    from torchmetrics.classification import BinaryAccuracy as found

    return [each.__module__ for each in (Accuracy, mean_squared_error, found)]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_workers_of_a_loader_do_the_same(accelerated, method):
    loader = DataLoader([0], num_workers=1, collate_fn=_modules, multiprocessing_context=method)
    names = ["classification.accuracy", "functional.regression.mse", "classification.accuracy"]
    assert [*loader] == [[f"fastmetrics.{name}" for name in names]]


def test_checks_of_classes_see_what_they_would_see_with_torchmetrics_alone():
    def kinds(value):
        bases = (torchmetrics.Metric, torchmetrics.MetricCollection)
        return [isinstance(value, base) for base in bases]

    kept = {"metric": torchmetrics.Metric, "collection": torchmetrics.MetricCollection}
    early = [EARLY("binary"), torchmetrics.MetricCollection([EARLY("binary")])]
    with fastmetrics.accelerate():
        late = [Accuracy("binary"), torchmetrics.MetricCollection([Accuracy("binary")])]
        for metric, collection in (early, late, pickle.loads(pickle.dumps(early))):
            assert kinds(metric) == [True, False]
            assert kinds(collection) == [False, True]
            # Names that are kept elsewhere than in modules stay torchmetrics'.
            assert isinstance(metric, kept["metric"])
            assert isinstance(collection, kept["collection"])
            assert issubclass(type(collection), torchmetrics.MetricCollection)
        copies = [copy.deepcopy(each) for each in (early[1], late[1])]
    for collection in (early[1], late[1], *copies):
        assert kinds(collection) == [False, True]
        assert isinstance(collection, fastmetrics.MetricCollection)


@pytest.mark.parametrize("name", ["MinMaxMetric", "BootStrapper", "Running", "ClasswiseWrapper"])
def test_metrics_that_exist_go_on(name):
    make = getattr(torchmetrics.wrappers, name)
    values = []
    for change in (fastmetrics.accelerate, contextlib.nullcontext):
        metric = make(torchmetrics.CatMetric() if name == "ClasswiseWrapper" else EARLY("binary"))
        batch = (TARGET,) if name == "ClasswiseWrapper" else (PREDS, TARGET)
        with change():
            torch.manual_seed(0)
            value = metric(*batch)
            metric.update(*batch)
            values.append([value, metric.compute()])
    torch.testing.assert_close(*values)


def test_nested_calls_are_one(accelerated):
    assert fastmetrics.accelerate() is accelerated


def test_restore_without_accelerate():
    with pytest.raises(RuntimeError, match="which was not called"):
        fastmetrics.restore()


def test_what_is_accelerated(accelerated):
    assert fastmetrics.is_accelerated(torchmetrics.MeanMetric())
    assert fastmetrics.is_accelerated(torchmetrics.functional.accuracy)
    assert not fastmetrics.is_accelerated(torchmetrics.retrieval.RetrievalMRR)
    assert not fastmetrics.is_accelerated(3)
