"""Every public metric and function: what it asks for, and which inputs suit it.

The one table of this kind. The laws of all metrics take their cases from here, and so do the
benchmarks, which have other numbers of classes and larger inputs.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import fastmetrics.aggregation
import fastmetrics.classification
import fastmetrics.detection
import fastmetrics.regression
import fastmetrics.segmentation
import fastmetrics.text
from fastmetrics import functional

C = 3
GROUPS = 2
MODES = {"exact": None, "binned": 20, "ranked": "auto"}

# Inputs of what is no classification, by the name without underscores.
_INPUTS = {
    "kldivergence": "distributions",
    "jensenshannondivergence": "distributions",
    "cosinesimilarity": "distributions",
    "continuousrankedprobabilityscore": "members",
    "meansquaredlogerror": "positive",
    "tweediedeviancescore": "positive",
    "criticalsuccessindex": "positive",
    "bleuscore": "references",
    "chrfscore": "references",
    "extendededitdistance": "references",
    "perplexity": "tokens",
    "rougescore": "references",
    "sacrebleuscore": "references",
    "squad": "answers",
    "translationeditrate": "references",
}
_WITH_GROUPS = ("equalopportunity", "binaryfairness", "binarygroup")

# By kind, inputs for a number of samples; other ones with each call.
MAKERS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "binary": lambda n: (torch.rand(n), torch.randint(2, (n,))),
    "multilabel": lambda n: (torch.rand(n, C), torch.randint(2, (n, C))),
    "multiclass": lambda n: (torch.rand(n, C).softmax(1), torch.randint(C, (n,))),
    "labels": lambda n: (torch.randint(2, (n, 2)), torch.randint(2, (n, 2))),
    "groups": lambda n: (torch.rand(n), torch.randint(2, (n,)), torch.randint(GROUPS, (n,))),
    "scores and groups": lambda n: (torch.rand(n), torch.randint(GROUPS, (n,))),
    "distributions": lambda n: (torch.rand(n, C).softmax(1), torch.rand(n, C).softmax(1)),
    "members": lambda n: (torch.randn(n, 5), torch.randn(n)),
    "positive": lambda n: (torch.rand(n) + 0.1, torch.rand(n) + 0.1),
    "pairs": lambda n: _pairs(torch.randn(n)),
    "numbers": lambda n: (torch.randn(n),),
    "masks": lambda n: (torch.randint(2, (n, C, 5, 5)), torch.randint(2, (n, C, 5, 5))),
    "panoptic": lambda n: (_segments(n), _segments(n)),
    "boxes": lambda n: (_boxes(n), _boxes(n)),
    "detections": lambda n: _detections(n),
    "sentences": lambda n: (_sentences(n), _sentences(n)),
    "references": lambda n: _with_references(_sentences(n)),
    "answers": lambda n: _answers(n),
    "tokens": lambda n: (torch.randn(n, 4, C), torch.randint(C, (n, 4))),
}
# Those of strings, and those of dicts for each image.
OF_TEXT = ("sentences", "references", "answers")
OF_IMAGES = ("detections",)
_VOCABULARY = (
    *("the", "a", "cat", "sat", "on", "mat", "mats", "is", "it", "not,", "was.", "Dog-like"),
    *("12.5", "-", "saté", "там", "猫", "𝄞𝄞"),
)


@dataclass(frozen=True)
class Case:
    """One metric, or function: how to make or call it, and inputs for a number of samples."""

    name: str
    make: Callable[..., Any]
    inputs: Callable[[int], tuple[Any, ...]]

    def __repr__(self) -> str:
        return self.name

    @property
    def of_text(self) -> bool:
        """Whether its inputs are strings, or lists of them."""
        return self.inputs in [MAKERS[kind] for kind in OF_TEXT]

    @property
    def of_tensors(self) -> bool:
        """Whether its inputs are tensors."""
        return self.inputs not in [MAKERS[kind] for kind in (*OF_TEXT, *OF_IMAGES)]


def _pairs(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return target + torch.randn(len(target)) / 2, target


def _sentences(n: int) -> list[str]:
    """N sentences of 1 to 12 words; torch's seed makes them."""
    chosen = random.Random(int(torch.randint(2**31, ())))
    return [" ".join(chosen.choices(_VOCABULARY, k=chosen.randint(1, 12))) for _ in range(n)]


def _with_references(preds: list[str]) -> tuple[list[str], list[list[str]]]:
    """The sentences, and for each one or two that are much like it; torch's seed makes them."""
    chosen = random.Random(int(torch.randint(2**31, ())))

    def like(sentence: str) -> str:
        words = sentence.split()
        return " ".join(w if chosen.random() < 0.8 else chosen.choice(_VOCABULARY) for w in words)

    return preds, [[like(each) for _ in range(chosen.randint(1, 2))] for each in preds]


def _answers(n: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Answers to N questions, and those that are right; parts of both belong together."""
    given, right = _sentences(n), _sentences(n)
    return (
        [{"id": f"{i}", "prediction_text": text} for i, text in enumerate(given)],
        [{"id": f"{i}", "answers": {"text": [text, given[i]]}} for i, text in enumerate(right)],
    )


def _segments(n: int) -> torch.Tensor:
    """Categories 0 to 3 and instances of few pixels."""
    return torch.stack([torch.randint(4, (n, 4, 5)), torch.randint(2, (n, 4, 5))], -1)


def _boxes(n: int) -> torch.Tensor:
    """N boxes within 0 to 30, which often overlap."""
    corners = torch.rand(n, 2) * 10
    return torch.cat((corners, corners + 1 + torch.rand(n, 2) * 19), 1)


def _detections(n: int) -> tuple[list[dict[str, torch.Tensor]], list[dict[str, torch.Tensor]]]:
    """N images with one to three boxes on each side."""
    preds, target = [], []
    for _ in range(n):
        found, truth = (int(torch.randint(1, 4, ())) for _ in range(2))
        labels = torch.randint(C, (found,))
        preds.append({"boxes": _boxes(found), "scores": torch.rand(found), "labels": labels})
        target.append({"boxes": _boxes(truth), "labels": torch.randint(C, (truth,))})
    return preds, target


def kind_of(domain: str, name: str) -> str:
    """The kind of the inputs of a class or function of that name."""
    flat = name.replace("_", "").lower()
    if domain == "aggregation":
        return "numbers"
    if domain == "segmentation":
        return "masks"
    if "panoptic" in flat:
        return "panoptic"
    if domain == "detection":
        return "boxes" if name.endswith("intersection_over_union") else "detections"
    if domain == "regression":
        return _INPUTS.get(flat, "pairs")
    if domain == "text":
        return _INPUTS.get(flat, "sentences")
    if flat == "demographicparity":
        return "scores and groups"
    if flat.startswith(_WITH_GROUPS):
        return "groups"
    if flat.startswith(("binary", "multilabel")):
        return "binary" if flat.startswith("binary") else "multilabel"
    return "labels" if "exactmatch" in flat else "multiclass"


def arguments_of(
    made: Callable[..., Any], classes: int = C, groups: int = GROUPS
) -> dict[str, Any]:
    """What a constructor or function asks for, and the number of classes where it may be told."""
    values: dict[str, Any] = {
        "task": "multiclass",
        "num_classes": classes,
        "num_labels": classes,
        "num_groups": groups,
        "beta": 0.5,
        "min_recall": 0.5,
        "min_precision": 0.5,
        "min_sensitivity": 0.5,
        "min_specificity": 0.5,
        "p": 3.0,
        "threshold": 0.5,
        "rouge_keys": ("rouge1", "rougeL"),  # torchmetrics downloads something for others
        "tolerance": 1.0,
        "things": {0, 1},
        "stuffs": {2, 3},
    }
    parameters = [*inspect.signature(made).parameters.values()]
    # The first two of a function are its inputs, whatever they are called.
    asked = parameters if inspect.isclass(made) else parameters[2:]
    return {
        p.name: values[p.name]
        for p in asked
        if p.name in values and (p.default is p.empty or p.name.startswith(("num_", "rouge_")))
    }


def has_modes(made: Callable[..., Any]) -> bool:
    """Whether it works out a curve, over thresholds that may be given."""
    return "thresholds" in inspect.signature(made).parameters


def classes() -> list[tuple[str, str, type]]:
    """Domain, name and class of every public metric."""
    curated = (
        ("classification", fastmetrics.classification, fastmetrics.classification.__all__),
        ("regression", fastmetrics.regression, fastmetrics.regression.__all__),
        ("detection", fastmetrics.detection, fastmetrics.detection.__all__),
        ("segmentation", fastmetrics.segmentation, fastmetrics.segmentation.__all__),
        ("text", fastmetrics.text, fastmetrics.text.__all__),
        ("aggregation", fastmetrics.aggregation, fastmetrics.aggregation.__all__),
    )
    return [
        (domain, name, getattr(home, name))
        for domain, home, names in curated
        for name in names
        if domain != "classification" or name.startswith(("Binary", "Multi"))
        if name != "BaseAggregator"
    ]


def _cases(domain: str, name: str, made: Any, bind: Callable[..., Any]) -> list[Case]:
    """One case, or one for each kind of curve."""
    arguments, inputs = arguments_of(made), MAKERS[kind_of(domain, name)]
    if not has_modes(made):
        return [Case(name, bind(made, arguments), inputs)]
    return [
        Case(f"{name}-{kind}", bind(made, arguments | {"thresholds": thresholds}), inputs)
        for kind, thresholds in MODES.items()
    ]


def metrics() -> list[Case]:
    """Every metric; `make()` constructs it."""

    def maker(cls: type, arguments: dict[str, Any]) -> Callable[[], Any]:
        return lambda: cls(**arguments)

    return [case for domain, name, cls in classes() for case in _cases(domain, name, cls, maker)]


def of_tensors(cases: list[Case]) -> list[Case]:
    """Those whose inputs are tensors."""
    return [case for case in cases if case.of_tensors]


def functions() -> list[Case]:
    """Every function of these domains; `make(*inputs, **more)` is its value."""

    def bound(function: Callable[..., Any], arguments: dict[str, Any]) -> Callable[..., Any]:
        return lambda *inputs, **more: function(*inputs, **arguments, **more)

    return [
        case
        for domain in ("classification", "regression", "detection", "segmentation", "text")
        for name in getattr(functional, domain).__all__
        for case in _cases(domain, name, getattr(getattr(functional, domain), name), bound)
    ]
