"""What arguments mean, for the docstrings of declared functions."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

_PREDS = {
    "binary": "scores or labels ``[N, ...]``.",
    "multiclass": "scores ``[N, C, ...]``, of which the highest is the prediction, or labels"
    " ``[N, ...]``.",
    "multilabel": "scores or labels ``[N, L, ...]``.",
    "any": "scores or labels, as the task takes them.",
}
_TARGET = {
    "binary": "labels 0 and 1, ``[N, ...]``, of any integer type or bool.",
    "multiclass": "labels ``[N, ...]`` in [0, C), of any integer type or bool.",
    "multilabel": "labels 0 and 1, ``[N, L, ...]``, of any integer type or bool.",
    "any": "labels, as the task takes them.",
}
_OTHERS = {
    "task": '``"binary"``, ``"multiclass"`` or ``"multilabel"``.',
    "beta": "float above 0, how much more recall matters than precision.",
    "threshold": "in [0, 1]; a probability above it is a positive.",
    "num_classes": 'C, at least 2; None (unknown) only with ``average="micro"``.',
    "num_labels": "L, at least 2.",
    "average": '``"micro"``, ``"macro"``, ``"weighted"``, or ``"none"`` and None for no average.',
    "top_k": "in [1, C]; how many of the highest scores may hold the target.",
    "multidim_average": '``"global"``, or ``"samplewise"`` for one value of each sample.',
    "ignore_index": "targets to leave out, integer or None.",
    "validate_args": "check arguments and labels.",
    "zero_division": "0, 1 or NaN, the value of 0/0.",
    "weight": "``[N]``, how much each sample counts; not samplewise.",
    "input": 'what scores are: ``"probs"``, ``"logits"``, or ``"auto"`` for logits as soon as one'
    " lies outside [0, 1].",
}


def explained(function: Callable[..., Any], task: str) -> str:
    """Return the arguments of ``function`` and what they mean for ``task``, or for "any"."""
    meanings = {"preds": _PREDS[task], "target": _TARGET[task], **_OTHERS}
    lines = [
        line
        for name in inspect.signature(function).parameters
        for line in textwrap.wrap(f"{name}: {meanings[name]}", 88, subsequent_indent="    ")
    ]
    return "\n".join(
        [
            "Args:",
            *(f"    {line}" for line in lines),
            "",
            "Raises:",
            "    ValueError: arguments, shapes, dtypes or devices do not fit.",
            "    RuntimeError: a label is out of range.",
            "",
            "More in :mod:`fastmetrics.functional.classification.stat_scores`.",
        ]
    )
