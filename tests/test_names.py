"""Every name of torchmetrics is found here: ours, or else theirs, with a warning."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pickle
import pkgutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torchmetrics

import fastmetrics
from fastmetrics.config import coverage
from fastmetrics.utilities import fallback
from tools import torchmetrics_names as written

CLIENT_PATHS = Path(__file__).with_name("client_paths.txt").read_text().split()
PACKAGES = "fastmetrics", "torchmetrics"
HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torchmetrics":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""
# As where torchmetrics is not installed: others may still find it.
WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] == "torchmetrics"
        return None if hidden else PathFinder.find_spec(name, path, target)
sys.meta_path = [Without if f is PathFinder else f for f in sys.meta_path]
"""
REFUSED = """
import importlib
def refused(path):
    module, _, name = path.rpartition(".")
    try:
        getattr(importlib.import_module(module), name)
    except ImportError as error:
        message = str(error)
        return "pip install 'torchmetrics==1.9.0'" in message and path.split(".")[1] in message
    return False
FOREIGN = (
    "fastmetrics.PeakSignalNoiseRatio", "fastmetrics.image",
    "fastmetrics.image.ssim.StructuralSimilarityIndexMeasure",
    "fastmetrics.functional.peak_signal_noise_ratio",
    "fastmetrics.functional.image.psnr._psnr_update",
    "fastmetrics.clustering.MutualInfoScore", "fastmetrics.nominal.cramers.CramersV",
    "fastmetrics.retrieval.RetrievalMAP",
    "fastmetrics.functional.regression.kendall._get_ties",
)
"""
NATIVE = """
import fastmetrics, torch, importlib
import fastmetrics.functional.classification
from fastmetrics.functional.classification.stat_scores import _binary_stat_scores_update
from fastmetrics.utilities.data import _flatten
assert fastmetrics.MeanSquaredError and fastmetrics.classification.BinaryAccuracy
assert not hasattr(fastmetrics, "nonsense") and not hasattr(fastmetrics.classification, "nonsense")
assert importlib.util.find_spec("fastmetrics.nonsense") is None
assert any(row.native for row in fastmetrics.coverage())
"""

pytestmark = pytest.mark.filterwarnings("ignore::fastmetrics.FallbackWarning")


@pytest.fixture
def told(monkeypatch):
    """As if nobody had been warned yet."""
    monkeypatch.setattr(fallback, "_told", set())
    monkeypatch.setattr(fallback, "_found", {})


@pytest.fixture
def strict():
    fastmetrics.strict()
    yield
    fastmetrics.strict(False)


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_the_list_is_that_of_the_installed_torchmetrics():
    assert torchmetrics.__version__ == fallback.TORCHMETRICS_VERSION
    assert written.LIST.read_text() == written.listed(), "python -m tools.torchmetrics_names --list"


@pytest.mark.skipif(not written.PAGE.is_file(), reason="an installed package has no docs")
def test_what_is_written_from_the_names_is_fresh():
    for path, text in written.files().items():
        assert path.read_text() == text, f"{path.name}: python -m tools.torchmetrics_names"


def test_every_name_of_torchmetrics_is_found():
    """Private ones, too, and what modules show of others; whatever is not ours is theirs."""
    wrong = []
    for path in sorted(fallback.names(), reverse=True):  # modules before what shows them
        ours, theirs = (importlib.import_module(f"{p}.{path}".rstrip(".")) for p in PACKAGES)
        for name, value in vars(theirs).items():
            home = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
            if name.startswith("__") or not str(home).startswith("torchmetrics"):
                continue
            found = getattr(ours, name, None)
            is_same = found is value or getattr(found, "__module__", "").startswith("fastmetrics.")
            if inspect.ismodule(value):
                is_same = found.__name__.startswith("fastmetrics.")
            if not is_same or inspect.ismodule(value) != inspect.ismodule(found):
                wrong.append((path, name, found))
    assert not wrong


def test_every_name_of_the_list_that_torchmetrics_has_is_found():
    """Values, too, which do not say where they come from."""
    missing = []
    for path, names in fallback.names().items():
        ours, theirs = (importlib.import_module(f"{p}.{path}".rstrip(".")) for p in PACKAGES)
        missing += [(path, n) for n in names if hasattr(theirs, n) and not hasattr(ours, n)]
    assert not missing


def hiding() -> dict[str, set[str]]:
    """The packages of torchmetrics that show a function under the name of one of their modules."""
    found: dict[str, set[str]] = {}
    for path in sorted(filter(None, fallback.names())):
        importlib.import_module(f"torchmetrics.{path}")
        package, _, name = f"torchmetrics.{path}".rpartition(".")
        if not inspect.ismodule(getattr(sys.modules[package], name)):
            found.setdefault(package.partition(".")[2], set()).add(name)
    return found


SHOWS_FUNCTIONS = """
import importlib, inspect, sys, warnings
warnings.simplefilter("ignore")
import fastmetrics
def check(root, hiding, module_first):
    for package, names in hiding.items():
        for name in names:
            path = f"{root}.{package}.{name}"
            if module_first:
                exec(f"import {path}")
                assert inspect.ismodule(sys.modules[path]), path
            shown = getattr(importlib.import_module(f"{root}.{package}"), name)
            assert inspect.isfunction(shown), (path, shown)
            exec(f"from {path} import *")
            inside = vars(sys.modules[path]).get(name, shown)
            again = getattr(sys.modules[f"{root}.{package}"], name)
            assert shown is again is inside is getattr(sys.modules[path], name), path
            assert inspect.ismodule(importlib.import_module(path)), path
"""


@pytest.mark.parametrize("module_first", [False, True])
def test_a_function_is_shown_where_a_module_has_its_name(module_first):
    found = hiding()
    assert {"infolm", "perplexity", "squad"} <= found["functional.text"]
    run(f"{SHOWS_FUNCTIONS}check('fastmetrics', {found}, {module_first})")


@pytest.mark.parametrize("module_first", [False, True])
def test_so_it_is_where_this_package_stands_in_for_torchmetrics(module_first):
    native = {
        package: {name for name in names if fallback.native(f"{package}.{name}")}
        for package, names in hiding().items()
    }
    assert "accuracy" in native["functional.classification"]
    code = f"""
{SHOWS_FUNCTIONS}
{WITHOUT}
with fastmetrics.accelerate():
    check("torchmetrics", {native}, {module_first})
    import torchmetrics.functional
    assert torchmetrics.functional.accuracy.__module__.startswith("fastmetrics.")
"""
    run(code)


def test_coverage():
    table = coverage()
    rows = {row.name: row for row in table}
    assert len(rows) == len(table) > 500
    assert rows["classification.BinaryAccuracy"].native
    assert not rows["functional.image.peak_signal_noise_ratio"].native
    assert all(bool(row.why) != row.native for row in table)
    for name in ("MeanMetric", "PeakSignalNoiseRatio", "functional", "BootStrapper"):
        assert name in dir(fastmetrics)
    shown = {name for name in dir(torchmetrics) if not name.startswith("_")}
    assert shown - {"os", "numpy", "package_available"} <= {*dir(fastmetrics)} | written_off()
    assert "another package does the work" in str(table)


def written_off() -> set[str]:
    """What torchmetrics imports and is not its own."""
    return {
        name
        for name, value in vars(torchmetrics).items()
        if inspect.ismodule(value) and not value.__name__.startswith("torchmetrics")
    }


def test_nothing_is_imported_before_it_is_asked_for_and_paths_of_clients_are_found():
    code = f"""
{NATIVE}
dir(fastmetrics), dir(fastmetrics.functional), dir(fastmetrics.wrappers)
str(fastmetrics.coverage())
module = importlib.import_module("fastmetrics.functional.classification.stat_scores")
assert importlib.reload(module)._binary_stat_scores_update
import sys
assert "torchmetrics" not in sys.modules
for path in {CLIENT_PATHS}:
    parts = path.split(".")
    for number in range(len(parts), -1, -1):
        try:
            value = importlib.import_module(".".join(["fastmetrics", *parts[:number]]))
            break
        except ModuleNotFoundError:
            pass
    if parts[number:]:
        exec(f"from {{value.__name__}} import {{parts[number]}}")
    for name in parts[number:]:
        value = getattr(value, name)
assert "torchmetrics" in sys.modules
"""
    run(code)


def test_without_torchmetrics():
    code = f"""
{HIDE}{NATIVE}{REFUSED}
assert not [path for path in FOREIGN if not refused(path)]
assert "PeakSignalNoiseRatio" not in dir(fastmetrics) and "image" not in dir(fastmetrics)
for package in ("fastmetrics", "fastmetrics.functional", "fastmetrics.wrappers"):
    exec(f"from {{package}} import *")
"""
    run(code)


def test_strict():
    code = f"""
{NATIVE}{REFUSED}
assert not [path for path in FOREIGN if not refused(path)]
assert "PeakSignalNoiseRatio" not in dir(fastmetrics)
from fastmetrics import *
assert "torchmetrics" not in sys.modules
fastmetrics.strict(False)
fastmetrics.PeakSignalNoiseRatio, fastmetrics.image.ssim.StructuralSimilarityIndexMeasure
fastmetrics.strict()
assert not [path for path in FOREIGN if not path.endswith(".image") and not refused(path)]
"""
    run(code.replace("import fastmetrics,", "import sys, fastmetrics,"), FASTMETRICS_STRICT="1")


def test_strict_refuses_what_was_found_before(strict):
    fastmetrics.strict(False)
    image = fastmetrics.image
    assert image.PeakSignalNoiseRatio is torchmetrics.image.PeakSignalNoiseRatio
    fastmetrics.strict()
    for owner in (image, fastmetrics):
        with pytest.raises(ImportError, match=r"PeakSignalNoiseRatio.*strict"):
            _ = owner.PeakSignalNoiseRatio
    assert not hasattr(image, "nonsense")


def test_one_warning_for_each_name(told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            exec("from fastmetrics import PeakSignalNoiseRatio", {"__name__": __name__})
            exec(
                "from fastmetrics.image.ssim import StructuralSimilarityIndexMeasure",
                {"__name__": __name__},
            )
            _ = fastmetrics.functional.image.peak_signal_noise_ratio
            importlib.import_module("fastmetrics.functional.image")
    texts = [str(warning.message).split("`")[1] for warning in caught]
    assert texts == [
        "fastmetrics.PeakSignalNoiseRatio",
        "fastmetrics.image.ssim.StructuralSimilarityIndexMeasure",
        "fastmetrics.functional.image.peak_signal_noise_ratio",
    ]
    assert [warning.filename for warning in caught] == ["<string>", "<string>", __file__]
    assert {warning.category for warning in caught} == {fastmetrics.FallbackWarning}
    assert "filterwarnings" in str(caught[0].message)


def test_a_warning_that_is_an_error_stays_one(told):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(fastmetrics.FallbackWarning):
                _ = fastmetrics.PeakSignalNoiseRatio


def test_native_names_are_never_theirs():
    from fastmetrics.classification import accuracy, stat_scores
    from fastmetrics.functional.classification import f_beta

    assert accuracy.BinaryStatScores is stat_scores.BinaryStatScores
    assert f_beta._binary_stat_scores_update.__module__.startswith("fastmetrics.")
    assert not hasattr(accuracy, "MulticlassROC")
    assert fastmetrics.image.psnr.Metric is fastmetrics.Metric
    assert fastmetrics.functional.regression.utils._check_data_shape_to_num_outputs.__module__ == (
        "fastmetrics.core.helpers.regression"
    )


def test_modules_of_theirs_bear_what_modules_bear():
    ssim = importlib.import_module("fastmetrics.image.ssim")
    assert sys.modules[ssim.__name__] is ssim
    assert ssim.__name__ == "fastmetrics.image.ssim"
    assert ssim is fastmetrics.image.ssim
    assert importlib.reload(ssim) is ssim
    assert inspect.getsource(ssim) == inspect.getsource(torchmetrics.image.ssim)
    assert inspect.getsource(ssim.StructuralSimilarityIndexMeasure)
    assert "StructuralSimilarityIndexMeasure" in dir(ssim)
    metric = pickle.loads(pickle.dumps(ssim.StructuralSimilarityIndexMeasure(data_range=1.0)))
    assert isinstance(metric, torchmetrics.image.StructuralSimilarityIndexMeasure)
    assert isinstance(metric, fastmetrics.Metric)
    assert doctest.testmod(ssim).attempted == 0
    assert [*pkgutil.iter_modules(fastmetrics.image.__path__)] == []
    assert "image" not in [found.name for found in pkgutil.iter_modules(fastmetrics.__path__)]
    assert find_spec("fastmetrics.image.nonsense") is None
    importlib.import_module("fastmetrics.functional.multimodal.clip_score")
    theirs = torchmetrics.functional.multimodal.clip_score
    assert fastmetrics.functional.multimodal.clip_score is theirs
    assert not hasattr(fastmetrics.text, "nonsense")
    shown: dict[str, object] = {}
    exec("from fastmetrics.image import *", shown)
    assert {*torchmetrics.image.__all__} <= shown.keys()
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        importlib.import_module("fastmetrics.nonsense")


def test_native_modules_bear_it_too():
    module = importlib.import_module("fastmetrics.functional.classification.stat_scores")
    for name in ("__wrapped__", "__path__", "nonsense", "_nonsense"):
        assert not hasattr(module, name)
    assert inspect.getsource(module)
