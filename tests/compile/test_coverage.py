"""One graph for every metric and function, but for those that the table in the docs excepts."""

from __future__ import annotations

import warnings

import pytest
import torch

import fastmetrics.functional
from tests import every
from tests.compile.coverage import GRAPHS, REASONS, Trial, graphs_of, table, trials, written_table

TRIALS = trials()
# A step that computes holds an update, and `forward` both.
COMPUTED = {trial.name for trial in TRIALS if trial.use == "compute" and not trial.reason}
FORWARDED = {trial.name for trial in TRIALS if trial.use == "forward" and not trial.reason}
# One of each kind of state and of formula.
SAMPLE = {
    "MulticlassAccuracy-forward",
    "BinaryAUROC-binned-forward",
    "BinaryEER-exact-forward",
    "MultilabelExactMatch-forward",
    "MulticlassHingeLoss-forward",
    "MulticlassCalibrationError-forward",
    "MultilabelRankingLoss-forward",
    "PearsonCorrCoef-forward",
    "KLDivergence-forward",
    "MeanMetric-forward",
    "MaxMetric-compute",
    "CompositionalMetric-forward",
    "MetricCollection-forward",
    "BinaryAUROC-exact-update",
    "binary_auroc-exact-call",
    "binary_logauc-exact-call",
    "multiclass_f1_score-call",
    "r2_score-call",
    "binary_roc-exact-call",
}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch._dynamo.reset()


def check(trial: Trial, backend: str) -> None:
    if trial.reason is None:
        assert graphs_of(trial, backend) <= GRAPHS
        return
    try:
        graphs = graphs_of(trial, backend)
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException):
        return
    assert graphs > GRAPHS, f"{trial} is one graph, yet the table says {trial.reason!r}."


@pytest.mark.parametrize("trial", [t for t in TRIALS if repr(t) in SAMPLE], ids=repr)
def test_a_sample_is_as_the_table_says(trial):
    # Totals and states of a batch at once: that is where functionalisation could go wrong.
    check(trial, "aot_eager" if trial.use == "forward" else "eager")


def in_another(trial: Trial) -> bool:
    held = {"update": COMPUTED | FORWARDED, "compute": FORWARDED}
    return trial.name in held.get(trial.use, ())


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "trial",
    [t for t in TRIALS if repr(t) not in SAMPLE and not in_another(t)],
    ids=repr,
)
def test_everything_is_as_the_table_says(trial):
    check(trial, "eager")


def test_the_page_holds_the_table():
    assert written_table() == table(), "Run `python -m tests.compile.coverage`."


def test_everything_public_is_in_the_table():
    names = {trial.name.partition("-")[0] for trial in TRIALS}
    domains = fastmetrics.functional.classification, fastmetrics.functional.regression
    assert {name for domain in domains for name in domain.__all__} <= names
    assert {case.name.partition("-")[0] for case in every.of_tensors(every.metrics())} <= names
    assert {t.reason for t in TRIALS} == {None, *REASONS}
    assert {repr(t) for t in TRIALS} >= SAMPLE
