"""Checkpoints of torchmetrics in metrics of ours, and back, for all that both have."""

from __future__ import annotations

import copy
import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor, nn

import fastmetrics
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.core.translation import Translation
from tests.every import MAKERS, arguments_of, classes, has_modes, kind_of

BATCHES = 5  # as many as a window has: nothing says in which slot a longer one goes on
ROWS = 20
# Values of torchmetrics that differ for reasons of their own (docs/differences.md).
OTHER_VALUES = ("LogAUC", "EER")
# Metrics of torchmetrics that count what is to be ignored in a way of their own.
UNIGNORED = ("ExactMatch", "CoverageError", "RankingAveragePrecision", "RankingLoss")
# Whose states may have any form, as those of a user.
UNCHECKED = ("CatMetric",)
# Arguments that torchmetrics does not take, or with which it raises.
NOT_UPSTREAM = {
    ("MulticlassAUROC", "exact-micro"),
    ("MulticlassAveragePrecision", "exact-micro"),
    ("MulticlassEER", "exact-none"),
    ("MulticlassLogAUC", "exact-micro"),
    ("MulticlassPrecisionRecallCurve", "exact-none"),
    ("MulticlassROC", "exact-none"),
    ("MultilabelExactMatch", "samplewise"),
    ("MultilabelLogAUC", "exact-micro"),
}
TASKS = ("Binary", "Multiclass", "Multilabel")


def peer_class(name: str) -> Any:
    homes = (torchmetrics.classification, torchmetrics.regression, torchmetrics.aggregation)
    return next((getattr(home, name) for home in homes if hasattr(home, name)), None)


def logits(inputs: Callable[[int], tuple[Any, ...]]) -> Callable[[int], tuple[Any, ...]]:
    """The same with scores that are no probabilities."""
    return lambda n: tuple(8 * x - 4 if x.is_floating_point() else x for x in inputs(n))


def wide(inputs: Callable[[int], tuple[Any, ...]]) -> Callable[[int], tuple[Any, ...]]:
    return lambda n: tuple(x.double() if x.is_floating_point() else x for x in inputs(n))


def ignoring(inputs: Callable[[int], tuple[Any, ...]]) -> Callable[[int], tuple[Any, ...]]:
    def made(n: int) -> tuple[Any, ...]:
        preds, target, *others = inputs(n)
        return preds, target.masked_fill(torch.rand(target.shape) < 0.2, -1), *others

    return made


def outputs(inputs: Callable[[int], tuple[Any, ...]]) -> Callable[[int], tuple[Any, ...]]:
    return lambda n: tuple(torch.stack([x, x + 1, 2 * x], 1) for x in inputs(n))


def axes(inputs: Callable[[int], tuple[Any, ...]]) -> Callable[[int], tuple[Any, ...]]:
    """The same with positions behind each sample."""

    def made(n: int) -> tuple[Any, ...]:
        return tuple(x.view(n, 4, *x.shape[1:]).movedim(1, -1) for x in inputs(4 * n))

    return made


def variants(domain: str, name: str, cls: type) -> list[tuple[str, Any, dict[str, Any], Any]]:
    """Label, class, arguments and inputs of all that is tried."""
    inputs = MAKERS[kind_of(domain, name)]
    known = inspect.signature(cls).parameters
    base = arguments_of(cls)
    found: list[tuple[str, dict[str, Any], Any]] = []
    modes = (
        {"exact": {"thresholds": None}, "binned": {"thresholds": 20}}
        if has_modes(cls)
        else {"": {}}
    )
    for mode, arguments in modes.items():
        arguments = base | arguments
        found.append((mode, arguments, inputs))
        classified = domain == "classification" and name.startswith(TASKS)
        if classified and kind_of(domain, name) in ("binary", "multilabel", "multiclass"):
            found.append((f"{mode}-logits", arguments, logits(inputs)))
        if "ignore_index" in known and not name.endswith(UNIGNORED):
            found.append((f"{mode}-ignoring", arguments | {"ignore_index": -1}, ignoring(inputs)))
        if "average" in known and mode != "binned":
            found += [
                (f"{mode}-{average}", arguments | {"average": average}, inputs)
                for average in ("micro", "none")
            ]
        if "multidim_average" in known:
            each = arguments | {"multidim_average": "samplewise"}
            found.append(
                (f"{mode}-samplewise", each, inputs if "ExactMatch" in name else axes(inputs))
            )
            if "average" in known:
                found.append(
                    (f"{mode}-samplewise-micro", each | {"average": "micro"}, axes(inputs))
                )
    if domain == "regression":
        found.append(("wide", base, wide(inputs)))
        if "num_outputs" in known:
            found.append(("outputs", base | {"num_outputs": 3}, outputs(inputs)))
        elif "multioutput" in known:
            found.append(("outputs", base | {"multioutput": "raw_values"}, outputs(inputs)))
        if "reduction" in known:
            found += [(kind, base | {"reduction": kind}, inputs) for kind in ("sum", "none")]
        if "normalization" in known:
            found += [(k, base | {"normalization": k}, inputs) for k in ("range", "std", "l2")]
    return [(label.strip("-"), cls, arguments, inputs) for label, arguments, inputs in found]


class Pair:
    """A metric of ours and its peer."""

    def __init__(self, name: str, label: str, arguments: dict[str, Any], inputs: Any) -> None:
        self.name, self.label, self.arguments, self.inputs = name, label, arguments, inputs

    def ours(self) -> Any:
        homes = (fastmetrics.classification, fastmetrics.regression, fastmetrics.aggregation)
        home = next(home for home in homes if hasattr(home, self.name))
        return getattr(home, self.name)(**self.arguments)

    def theirs(self) -> Any:
        return peer_class(self.name)(**self.arguments)

    def __repr__(self) -> str:
        return "-".join(filter(None, (self.name, self.label)))


def pairs() -> list[Pair]:
    return [
        Pair(name, label, arguments, inputs)
        for domain, name, cls in classes()
        if peer_class(name) is not None
        for label, _, arguments, inputs in variants(domain, name, cls)
        if (name, label) not in NOT_UPSTREAM
    ]


PAIRS = pairs()
# One of each metric and kind of curve in every run; other arguments in the exhaustive one.
FEW = [pair for pair in PAIRS if pair.label in ("", "exact", "binned")]
FEW += [pair for pair in PAIRS if pair.label.endswith(("logits", "samplewise", "micro"))][::7]
every_pair = pytest.mark.parametrize(
    "pair",
    [pytest.param(p, marks=() if p in FEW else pytest.mark.exhaustive) for p in PAIRS],
    ids=repr,
)
STAGES: tuple[int | str, ...] = (0, 1, BATCHES, "reset")


@pytest.fixture(autouse=True)
def quiet():
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def flat(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return [tensor for each in value for tensor in flat(each)]
    return [torch.as_tensor(value).double()]


def close(found: Any, wanted: Any) -> None:
    found, wanted = flat(found), flat(wanted)
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4, equal_nan=True)


def agree(pair: Pair, ours: Any, theirs: Any) -> None:
    if not any(name in pair.name for name in OTHER_VALUES):
        close(ours.compute(), theirs.compute())


def feed(pair: Pair, stage: int | str, *metrics: Any) -> bool:
    """Bring metrics to a stage of their life; return whether they hold data."""
    for _ in range(stage if isinstance(stage, int) else 1):
        batch = pair.inputs(ROWS)
        for metric in metrics:
            metric.update(*batch)
    if stage == "reset":
        for metric in metrics:
            metric.reset()
    return stage in (1, BATCHES)


@every_pair
def test_ours_go_on_from_a_checkpoint_of_torchmetrics(pair: Pair) -> None:
    for stage in STAGES:
        theirs, ours, whole = pair.theirs(), pair.ours(), pair.ours()
        theirs.persistent(True)
        ours.update(*pair.inputs(ROWS))  # which the checkpoint replaces
        filled = feed(pair, stage, theirs, whole)
        ours.load_state_dict(copy.deepcopy(theirs.state_dict()), strict=True)
        if filled:
            agree(pair, ours, theirs)
            close(ours.compute(), whole.compute())
        more = pair.inputs(ROWS)
        for metric in (ours, theirs, whole):
            metric.update(*more)
        agree(pair, ours, theirs)
        close(ours.compute(), whole.compute())


def is_written(pair: Pair) -> bool:
    """Whether what ours count is all that torchmetrics keeps."""
    return not any(name in pair.name for name in ("CalibrationError", "CosineSimilarity"))


@every_pair
def test_torchmetrics_goes_on_from_a_checkpoint_of_ours(pair: Pair) -> None:
    ours = pair.ours()
    if not is_written(pair):
        with pytest.raises(ValueError, match="torchmetrics keeps every sample in"):
            ours.persistent("torchmetrics")
        assert not ours.state_dict()
        return
    for stage in STAGES:
        theirs, whole, ours = pair.theirs(), pair.theirs(), pair.ours()
        ours.persistent("torchmetrics")
        filled = feed(pair, stage, ours, whole)
        written = ours.state_dict()
        assert written.keys() == theirs._defaults.keys()
        theirs.load_state_dict(copy.deepcopy(written), strict=True)
        if filled:
            agree(pair, ours, theirs)
            close(theirs.compute(), whole.compute())
        again = pair.ours()
        again.load_state_dict(written, strict=True)
        more = pair.inputs(ROWS)
        for metric in (ours, theirs, again):
            metric.update(*more)
        agree(pair, ours, theirs)
        close(again.compute(), ours.compute())


@every_pair
def test_states_of_torchmetrics_are_merged(pair: Pair) -> None:
    """Those that are not named are as by default."""
    if "Running" in pair.name:
        return  # a window is of one stream
    theirs, ours, whole = pair.theirs(), pair.ours(), pair.ours()
    batch, more = pair.inputs(ROWS), pair.inputs(ROWS)
    theirs.update(*batch)
    ours.update(*more)
    ours.merge_state({name: getattr(theirs, name) for name in theirs._defaults})
    for inputs in (batch, more):
        whole.update(*inputs)
    close(ours.compute(), whole.compute())


class Model(nn.Module):
    def __init__(self, package: Any, pairs: list[Pair], side: str) -> None:
        super().__init__()
        made = {repr(pair): getattr(pair, side)() for pair in pairs}
        self.layer = nn.Linear(2, 2)
        self.metrics = package.MetricCollection(made)
        self.alone = getattr(pairs[0], side)()


KINDS = ("multiclass", "binary", "multilabel", "pairs")


@pytest.mark.parametrize("kind", KINDS)
def test_collections_in_modules(kind: str) -> None:
    """Both ways, strictly, whatever shares its state."""
    chosen = [
        pair
        for pair in FEW
        if pair.inputs is MAKERS[kind] and is_written(pair) and "Fairness" not in pair.name
    ]
    theirs, ours = Model(torchmetrics, chosen, "theirs"), Model(fastmetrics, chosen, "ours")
    batch, more = MAKERS[kind](ROWS), MAKERS[kind](ROWS)
    for model in (theirs, ours):
        model.metrics.persistent(True)
        model.alone.persistent(True)
    for part in (theirs.metrics, theirs.alone, ours.metrics):
        part.update(*batch)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()), strict=True)
    assert torch.equal(ours.layer.weight, theirs.layer.weight)

    def compare() -> None:
        found, wanted = ours.metrics.compute(), theirs.metrics.compute()
        for pair in chosen:
            if not any(name in pair.name for name in OTHER_VALUES):
                close(found[repr(pair)], wanted[repr(pair)])
        agree(chosen[0], ours.alone, theirs.alone)

    compare()
    for part in (theirs.metrics, theirs.alone, ours.metrics, ours.alone):
        part.update(*more)
    compare()
    ours.metrics.persistent("torchmetrics")
    ours.alone.persistent("torchmetrics")
    theirs = Model(torchmetrics, chosen, "theirs")
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()), strict=True)
    compare()


@every_pair
def test_own_checkpoints_lose_nothing(pair: Pair) -> None:
    """Not a bit, not an event."""
    for stage in STAGES:
        ours, fresh = pair.ours(), pair.ours()
        ours.persistent(True)
        feed(pair, stage, ours)
        fresh.update(*pair.inputs(ROWS))
        fresh.load_state_dict(ours.state_dict(), strict=True)
        for name, state in ours._states.values.items():
            found = fresh._states.values[name]
            assert isinstance(found, list) == isinstance(state, list)
            parts = zip(found, state, strict=True) if isinstance(state, list) else [(found, state)]
            for one, two in parts:
                assert one.dtype == two.dtype
                assert torch.equal(one.nan_to_num(7), two.nan_to_num(7))


def unread(metric: Any) -> set[str]:
    """States of torchmetrics that follow from others, or that no value depends on."""
    translation = metric._translation() if isinstance(metric, StatisticMetric) else Translation()
    derived = {name for name, view in translation.views.items() if view.set is None}
    return {*derived, *translation.stand_ins} - {*translation._needed(), *metric._defaults}


def spoiled(state: Any) -> list[Any]:
    """What cannot be a state that ``state`` is."""
    if isinstance(state, list):
        return [
            "text",
            [*state, torch.zeros(3, 7, 2)],
            [*state, torch.zeros(1, dtype=torch.complex64)],
        ]
    return [
        None,
        torch.zeros((2, *(n + 1 for n in state.shape)), dtype=state.dtype),
        state.to(torch.complex64),
    ]


@every_pair
def test_what_cannot_be_a_state_is_refused_while_loading(pair: Pair) -> None:
    """With the name of the state, and the metric as it was."""
    theirs, ours, own = pair.theirs(), pair.ours(), pair.ours()
    batch = pair.inputs(ROWS)
    for metric in (theirs, ours, own):
        metric.persistent(True)
        metric.update(*batch)
    if type(ours).__name__ in UNCHECKED:
        return
    before = ours.state_bytes()
    for source in (theirs, own):
        states = source.state_dict()
        for name in states.keys() - unread(ours):
            shown = re.sub(r"_\d$", "", name)
            for bad in spoiled(states[name]):
                with pytest.raises(RuntimeError, match=f"`{shown}`|{{'.*{shown}"):
                    ours.load_state_dict({**copy.deepcopy(states), name: bad})
                assert ours.state_bytes() == before


def test_states_of_another_number_of_classes_are_refused() -> None:
    theirs = torchmetrics.classification.MulticlassAccuracy(5)
    theirs.persistent(True)
    with pytest.raises(RuntimeError, match=r"must have shape \(3,\), got \(5,\)"):
        fastmetrics.classification.MulticlassAccuracy(3).load_state_dict(theirs.state_dict())


def test_lists_that_belong_together_come_together() -> None:
    metric = fastmetrics.classification.BinaryAUROC()
    with pytest.raises(RuntimeError, match=r"\['preds'\] must come together with \['target'\]"):
        metric.load_state_dict({"preds": [torch.rand(3)]})


def test_what_torchmetrics_cannot_hold_is_not_written() -> None:
    ranked = fastmetrics.classification.BinaryAUROC(thresholds="auto")
    with pytest.raises(ValueError, match="torchmetrics has no metric that counts Ranked"):
        ranked.persistent("torchmetrics")
    with pytest.raises(ValueError, match="`mode` must be one of"):
        ranked.persistent("pickle")
    weighted = fastmetrics.classification.BinaryAUROC()
    weighted.persistent("torchmetrics")
    weighted.update(torch.rand(4), torch.randint(2, (4,)), weight=torch.rand(4))
    with pytest.raises(ValueError, match="torchmetrics keeps no weights"):
        weighted.state_dict()
    metrics = fastmetrics.MetricCollection(
        [
            fastmetrics.classification.MulticlassAccuracy(3),
            fastmetrics.classification.MulticlassCalibrationError(3),
        ]
    )
    with pytest.raises(ValueError, match="torchmetrics keeps every sample in"):
        metrics.persistent("torchmetrics")
    assert not metrics.state_dict()


def test_loaded_probabilities_are_joined_to_logits_over_processes() -> None:
    """One process goes on from a checkpoint with logits, the other one has only logits."""
    theirs = torchmetrics.classification.BinaryAUROC()
    theirs.persistent(True)
    make = fastmetrics.classification.BinaryAUROC
    batches = [(8 * torch.rand(30) - 4, torch.randint(2, (30,))) for _ in range(3)]
    theirs.update(*batches[0])
    first, second, whole = make(), make(), make()
    first.load_state_dict(theirs.state_dict())
    first.update(*batches[1])
    second.update(*batches[2])
    for batch in batches:
        whole.update(*batch)
    values = [metric._parcel("metric").states for metric in (first, second)]
    rows = {n: torch.cat([x for v in values for x in v[n]]) for n in ("preds", "target")}
    joined = make()
    joined.load_state_dict(
        {**second._states.values, **{n: [x] for n, x in rows.items()}}, strict=True
    )
    close(joined.compute(), whole.compute())


def test_a_subclass_keeps_the_states_that_it_declares_itself() -> None:
    class Own(fastmetrics.classification.MulticlassStatScores):
        def __init__(self) -> None:
            super().__init__(3, average="micro")
            self._create_state(5)

    one, other = Own(), Own()
    one.tp = one.tp + 2
    for mode in (True, "torchmetrics"):
        one.persistent(mode)
        other.reset()
        other.load_state_dict(one.state_dict(), strict=True)
        assert other.tp.tolist() == [2] * 5
