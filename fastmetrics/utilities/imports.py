"""Flags such as ``_MATPLOTLIB_AVAILABLE``: whether an optional package can be imported.

Others say whether it is new enough, such as ``_SCIPY_GREATER_EQUAL_1_8``.
"""

from __future__ import annotations

import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from torch.torch_version import TorchVersion

from fastmetrics.utilities.fallback import TORCHMETRICS_VERSION

# Where the flag is not named after the module.
_MODULES = {
    "SCIPI": "scipy",
    "SCIENCEPLOT": "scienceplots",
    "TORCH_VMAF": "vmaf_torch",
    "XLA": "torch_xla",
    "BERTSCORE": "bert_score",
    "MECAB": "MeCab",
    "PYTDC": "tdc",
}
_SUFFIX = "_AVAILABLE"
_COMPARES = re.compile(r"_([A-Z]+)_(GREATER_EQUAL|LESS_THAN)_(\d+(?:_\d+)+)")
_PYTHON_VERSION = platform.python_version()


def _compares(package: str, how: str, wanted: str) -> bool:
    if package == "TORCHMETRICS":
        installed = TORCHMETRICS_VERSION
    else:
        try:
            installed = version(package.lower())
        except PackageNotFoundError:
            return False
    is_older: bool = TorchVersion(installed) < wanted.replace("_", ".")
    return is_older == (how == "LESS_THAN")


def __getattr__(name: str) -> bool:
    compares = _COMPARES.fullmatch(name)
    if compares:
        return _compares(*compares.groups())
    package = name.removeprefix("_").removesuffix(_SUFFIX)
    if name != f"_{package}{_SUFFIX}" or not package.isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if package == "LATEX":
        return shutil.which("latex") is not None
    return find_spec(_MODULES.get(package, package.lower())) is not None
