"""Flags such as ``_MATPLOTLIB_AVAILABLE``: whether an optional package can be imported."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

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


def __getattr__(name: str) -> bool:
    package = name.removeprefix("_").removesuffix(_SUFFIX)
    if name != f"_{package}{_SUFFIX}" or not package.isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if package == "LATEX":
        return shutil.which("latex") is not None
    return find_spec(_MODULES.get(package, package.lower())) is not None
