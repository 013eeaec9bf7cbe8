"""Found first by child processes of an accelerated one: torchmetrics is replaced once imported.

Nothing is loaded before that, and a `sitecustomize` that this one hides runs as well.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any


class _Starter(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != "torchmetrics" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        if importlib.util.find_spec("fastmetrics") is None:
            return None
        from fastmetrics.acceleration.reporting import Options, begin

        begin(Options.of_environment())
        return importlib.util.find_spec(name)


def _run_hidden() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    elsewhere = [each for each in sys.path if os.path.abspath(each) != here]
    spec = PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if "FASTMETRICS_ACCELERATE" in os.environ:
    sys.meta_path.insert(0, _Starter())
_run_hidden()
