"""Every public name says what it is and shows it, and every metric says where it comes from."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

import fastmetrics
from fastmetrics import ops
from fastmetrics.ops.define import REFERENCES

PUBLIC = (
    "fastmetrics",
    "fastmetrics.aggregation",
    "fastmetrics.classification",
    "fastmetrics.detection",
    "fastmetrics.diagnostics",
    "fastmetrics.functional",
    "fastmetrics.functional.classification",
    "fastmetrics.functional.detection",
    "fastmetrics.functional.regression",
    "fastmetrics.functional.text",
    "fastmetrics.integrations.ignite",
    "fastmetrics.integrations.tensorboard",
    "fastmetrics.integrations.transformers",
    "fastmetrics.ops",
    "fastmetrics.regression",
    "fastmetrics.text",
    "fastmetrics.utilities",
    "fastmetrics.utilities.plot",
    "fastmetrics.utilities.plot_curve",
    "fastmetrics.utilities.plot_reliability",
    "fastmetrics.wrappers",
)
DOMAINS = ("classification", "detection", "regression", "text")
pytestmark = pytest.mark.filterwarnings("ignore::fastmetrics.FallbackWarning")

# A fraction, a comparison or a call of mathematics, set apart from the words.
FORMULA = re.compile(r":math:|\.\. math|``[^`]*[-+*/=<>|(][^`]*``")

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastmetrics.__path__, "fastmetrics.")
    # Kernels need triton, and the compiled module has no docstrings of Python.
    if not module.name.startswith("fastmetrics.ops.triton") and module.name != "fastmetrics._C"
)


def is_ours(value: Any) -> bool:
    """Whether it is no name of torchmetrics; ops have no module of their own."""
    return not getattr(value, "__module__", "").startswith("torchmetrics")


def public_names() -> Iterator[tuple[str, Any]]:
    for place in PUBLIC:
        module = importlib.import_module(place)
        for name in REFERENCES if module is ops else module.__all__:
            value = getattr(module, name)
            if callable(value) and is_ours(value):
                yield f"{place}.{name}", value


NAMES = dict(public_names())
METRICS = {
    name: value
    for name, value in NAMES.items()
    if name.split(".")[-2] in DOMAINS and value.__module__.split(".")[-2] in DOMAINS
}


def doc_of(value: Any) -> str:
    return value.__doc__ or ""


def declared_in(module: ModuleType) -> list[FunctionType]:
    """Return the public functions of a module whose code stands in another one."""
    return [
        value
        for name, value in vars(module).items()
        if name in getattr(module, "__all__", ())
        and inspect.isfunction(value)
        and value.__module__ == module.__name__
        and value.__globals__ is not vars(module)
    ]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    for function in declared_in(module):
        for example in doctest.DocTestFinder().find(function, globs={}):
            failed += doctest.DocTestRunner().run(example).failed
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    assert not failed


def test_declared_functions_are_looked_at():
    module = importlib.import_module("fastmetrics.functional.classification.specificity")
    assert [function.__name__ for function in declared_in(module)] == [
        "binary_specificity",
        "multiclass_specificity",
        "multilabel_specificity",
        "specificity",
    ]


def test_all_names_are_looked_at():
    assert len(NAMES) > 400
    assert len(METRICS) > 200
    for place in ("fastmetrics", *(f"fastmetrics.{domain}" for domain in DOMAINS)):
        assert any(name.startswith(f"{place}.") for name in NAMES)


def test_every_public_name_has_a_purpose_and_an_example():
    bare = [name for name, value in NAMES.items() if not doc_of(value).split(">>>")[0].strip()]
    assert not bare
    assert not [name for name, value in NAMES.items() if ">>> " not in doc_of(value)]


def test_every_metric_has_a_formula():
    texts = {name: doc_of(value).split(">>>")[0] for name, value in METRICS.items()}
    assert not [name for name, text in texts.items() if not FORMULA.search(text)]


def test_every_metric_has_a_source():
    """Its own module tells it, or that of the function with the same module name."""
    lost = []
    for name, value in METRICS.items():
        *_, domain, family = value.__module__.split(".")
        homes = (value.__module__, f"fastmetrics.functional.{domain}.{family}")
        text = "\n".join(doc_of(importlib.import_module(home)) for home in homes if home in MODULES)
        if not re.search(r"^Source: .*?\d{4}.*?|^Source: the user guide", text, re.M | re.S):
            lost.append(name)
    assert not lost


def test_every_argument_is_explained():
    """By name, in the docstring, in that of the module, or in a module that these point to."""
    missing = []
    for name, value in METRICS.items():
        text = explanation(value)
        call = value.__init__ if inspect.isclass(value) else value
        for argument in inspect.signature(call).parameters:
            if argument not in ("self", "args", "kwargs") and not re.search(
                rf"\b{argument}\b", text
            ):
                missing.append(f"{name}: {argument}")
    assert not missing


def explanation(value: Any) -> str:
    """All that a reader is led to."""
    seen: dict[str, str] = {}
    waiting = [value.__module__]
    while waiting:
        place = waiting.pop()
        if place not in seen:
            text = seen[place] = doc_of(importlib.import_module(place))
            waiting += re.findall(r":mod:`(fastmetrics\.[\w.]+)`", text)
            siblings = re.findall(r"``(\w+)``", text)
            *_, domain, _ = place.split(".")
            waiting += [
                found
                for found in (f"fastmetrics.functional.{domain}.{word}" for word in siblings)
                if found in MODULES
            ]
    return "\n".join([doc_of(value), *seen.values()])
