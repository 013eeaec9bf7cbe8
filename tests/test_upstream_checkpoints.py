"""Checkpoints of torchmetrics in metrics of ours, and the other way round, for all that both have."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor

import fastmetrics
from tests.every import MAKERS, arguments_of, classes, has_modes, kind_of

BATCHES = 10
ROWS = 20
# Values of torchmetrics that differ for reasons of their own (docs/differences.md).
OTHER_VALUES = ("LogAUC", "EER")
# Metrics of torchmetrics that count what is to be ignored in a way of their own.
UNIGNORED = ("ExactMatch", "CoverageError", "RankingAveragePrecision", "RankingLoss")
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
    known = __import__("inspect").signature(cls).parameters
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


def works(peer: Any, arguments: dict[str, Any], inputs: Any) -> bool:
    """Whether torchmetrics takes the arguments and inputs at all."""
    torch.manual_seed(0)
    try:
        metric = peer(**arguments)
        metric.update(*inputs(ROWS))
        metric.update(*inputs(ROWS))
        metric.compute()
    except Exception:  # whatever it is, there is no checkpoint to load
        return False
    return True


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            Pair(name, label, arguments, inputs)
            for domain, name, cls in classes()
            if peer_class(name) is not None
            for label, _, arguments, inputs in variants(domain, name, cls)
            if works(peer_class(name), arguments, inputs)
        ]


PAIRS = pairs()
every_pair = pytest.mark.parametrize("pair", PAIRS, ids=repr)


@pytest.fixture(autouse=True)
def quiet():
    torch.manual_seed(0)
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


def agree(pair: Pair, one: Any, other: Any) -> None:
    if not any(name in pair.name for name in OTHER_VALUES):
        close(one.compute(), other.compute())


@pytest.mark.parametrize("stage", [0, 1, BATCHES, "reset"])
@every_pair
def test_ours_go_on_from_a_checkpoint_of_torchmetrics(pair: Pair, stage: Any) -> None:
    theirs, ours, whole = pair.theirs(), pair.ours(), pair.ours()
    theirs.persistent(True)
    ours.update(*pair.inputs(ROWS))  # which the checkpoint replaces
    batches = [pair.inputs(ROWS) for _ in range(stage if isinstance(stage, int) else 1)]
    for batch in batches:
        for metric in (theirs, whole):
            metric.update(*batch)
    if stage == "reset":
        theirs.reset()
        whole.reset()
        batches = []
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()), strict=True)
    if batches:
        agree(pair, ours, theirs)
        close(ours.compute(), whole.compute())
    more = pair.inputs(ROWS)
    for metric in (ours, theirs, whole):
        metric.update(*more)
    agree(pair, ours, theirs)
    close(ours.compute(), whole.compute())


if __name__ == "__main__":
    print(len(PAIRS))
