"""What can be imported from where, and what `import fastmetrics` costs."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys

import pytest

import fastmetrics
from fastmetrics.utilities import fallback

MOST_CALLS = 35_000
NEVER_EAGER = ("triton", "matplotlib", "torchmetrics", "torcheval", "sklearn", "scipy", "pandas")
# Names that torchmetrics does not have.
ADDED = {
    "FallbackWarning",
    "GradientStats",
    "TopSamples",
    "accelerate",
    "coverage",
    "is_accelerated",
    "restore",
    "show_config",
    "strict",
}
# Packages that show all that theirs shows, and nothing else.
WHOLE = (
    "fastmetrics.classification",
    "fastmetrics.detection",
    "fastmetrics.functional.classification",
    "fastmetrics.functional.detection",
    "fastmetrics.functional.regression",
    "fastmetrics.regression",
    "fastmetrics.utilities",
    "fastmetrics.wrappers",
)
# Packages all of whose names are native.
NATIVE = (
    "fastmetrics.classification",
    "fastmetrics.functional.classification",
    "fastmetrics.functional.regression",
    "fastmetrics.functional.segmentation",
    "fastmetrics.regression",
    "fastmetrics.segmentation",
)
PACKAGES = (
    "fastmetrics",
    "fastmetrics.aggregation",
    "fastmetrics.distributed",
    "fastmetrics.functional",
    "fastmetrics.functional.segmentation",
    "fastmetrics.segmentation",
    *WHOLE,
)

pytestmark = pytest.mark.filterwarnings("ignore::fastmetrics.FallbackWarning")


def upstream(package: str):
    return importlib.import_module(package.replace("fastmetrics", "torchmetrics", 1))


def run(code: str) -> str:
    """The output of a fresh interpreter, which may keep bytecode as an installed package has it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.smoke
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported(package):
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        getattr(module, name)


@pytest.mark.parametrize("package", WHOLE)
def test_a_whole_domain_shows_what_torchmetrics_shows(package):
    """Of detection also what theirs shows only where torchvision is installed."""
    theirs = set(upstream(package).__all__)
    if package.endswith("detection"):
        listed = fallback.names()[package.partition(".")[2]]
        theirs |= {name for name in listed if not name.startswith("_")}
    assert set(importlib.import_module(package).__all__) == theirs


def test_the_root_shows_what_torchmetrics_shows():
    assert set(fastmetrics.__all__) == set(upstream("fastmetrics").__all__) | ADDED


def test_functional_shows_what_its_domains_show():
    theirs = set(upstream("fastmetrics.functional").__all__)
    functional = fastmetrics.functional
    domains = (
        functional.classification,
        functional.detection,
        functional.regression,
        functional.segmentation,
        functional.text,
    )
    native = {name for domain in domains for name in domain.__all__}
    assert set(fastmetrics.functional.__all__) == theirs | native


def test_aggregates_are_those_of_torchmetrics():
    theirs = upstream("fastmetrics.aggregation")
    known = {
        name
        for name, value in vars(theirs).items()
        if inspect.isclass(value) and value.__module__ == theirs.__name__
    }
    assert set(importlib.import_module("fastmetrics.aggregation").__all__) == known


@pytest.mark.parametrize("package", NATIVE)
def test_a_package_shows_what_its_modules_export(package):
    module = importlib.import_module(package)
    exported = [
        name
        for found in pkgutil.iter_modules(module.__path__)
        if not found.name.startswith("_") and found.name != "utils"
        for name in importlib.import_module(f"{package}.{found.name}").__all__
    ]
    assert sorted(exported) == module.__all__
    shown: dict[str, object] = {}
    exec(f"from {package} import *", shown)
    assert shown.keys() - {"__builtins__"} == {*exported}


def test_star_import_of_the_root():
    shown: dict[str, object] = {}
    exec("from fastmetrics import *", shown)
    assert shown.keys() - {"__builtins__"} == {*fastmetrics.__all__}


@pytest.mark.parametrize(
    "package",
    ["fastmetrics", "fastmetrics.classification", "fastmetrics.regression", "fastmetrics.text"],
)
def test_classes_live_in_the_module_that_torchmetrics_names(package):
    """`from torchmetrics.classification.accuracy import MulticlassAccuracy` and its like."""
    module = importlib.import_module(package)
    for name in set(module.__all__) - ADDED:
        value = getattr(module, name)
        if inspect.isclass(value) and value.__module__.startswith("fastmetrics."):
            home = getattr(upstream(package), name).__module__
            twin = importlib.import_module(home.replace("torchmetrics", "fastmetrics", 1))
            assert getattr(twin, name) is value


@pytest.mark.parametrize("domain", ["classification", "regression"])
def test_functions_live_in_the_module_that_torchmetrics_names(domain):
    """`from torchmetrics.functional.classification.accuracy import multiclass_accuracy`."""
    module = importlib.import_module(f"fastmetrics.functional.{domain}")
    theirs = upstream(module.__name__)
    for name in module.__all__:
        home = getattr(theirs, name).__module__
        twin = importlib.import_module(home.replace("torchmetrics", "fastmetrics", 1))
        assert getattr(twin, name) is getattr(module, name)


@pytest.mark.smoke
def test_names_of_the_root_are_those_of_its_domains():
    for domain in ("aggregation", "classification", "diagnostics", "regression", "text"):
        module = importlib.import_module(f"fastmetrics.{domain}")
        shown = {*module.__all__} & {*fastmetrics.__all__}
        assert shown
        for name in shown:
            assert getattr(fastmetrics, name) is getattr(module, name)


@pytest.mark.smoke
def test_metrics_of_one_task_are_not_in_the_root():
    assert not hasattr(fastmetrics, "BinaryAccuracy")
    assert not hasattr(fastmetrics, "BaseAggregator")


@pytest.mark.smoke
def test_any_submodule_is_an_attribute():
    code = """
import fastmetrics
fastmetrics.functional.classification.accuracy, fastmetrics.wrappers.running
fastmetrics.utilities.compute, fastmetrics.utilities.reduce, fastmetrics.config
print(*(name for name in ("Accuracy", "__all__", "regression") if name in dir(fastmetrics)))
"""
    assert run(code).split() == ["Accuracy", "__all__", "regression"]


@pytest.mark.smoke
def test_unknown_name():
    with pytest.raises(AttributeError, match="NoSuchMetric"):
        fastmetrics.NoSuchMetric  # noqa: B018  (the access is the test)


@pytest.mark.smoke
def test_import_loads_nothing_heavy():
    """Only modules of the package itself come on top of those that torch loads."""
    code = """
import sys, torch
before = set(sys.modules)
import fastmetrics
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    loaded = set(run(code).split())
    assert "fastmetrics" in loaded
    assert not loaded & set(NEVER_EAGER)
    assert not {name for name in loaded if name not in sys.stdlib_module_names} - {"fastmetrics"}


@pytest.mark.smoke
def test_domains_are_loaded_at_first_use():
    code = """
import sys, fastmetrics
print("fastmetrics.classification" in sys.modules, "fastmetrics.functional" in sys.modules)
fastmetrics.functional.classification.accuracy, fastmetrics.classification.accuracy
print("fastmetrics.classification" in sys.modules, fastmetrics.Accuracy.__name__)
"""
    assert run(code).split() == ["False", "False", "True", "Accuracy"]


def test_an_import_does_little():
    """Calls are counted, which the machine does not change as it does the time: about 1 us each."""
    code = """
import sys, torch
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
sys.setprofile(count)
import fastmetrics
sys.setprofile(None)
print(calls)
"""
    assert int(run(code)) < MOST_CALLS
