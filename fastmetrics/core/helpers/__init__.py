"""Private helpers of torchmetrics that other projects import, each on plain tensors.

Nothing here is used by this package, which counts in its ops. What torchmetrics calls
``<module>._name`` is a function of the same name in one module of this package, loaded when
somebody asks for it.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = ("validation", "counts", "curves", "regression", "utilities")
# Two modules of torchmetrics have a name for different things.
_OTHERWISE = {("functional.classification.ranking", "_rank_data"): "_last_ranks"}


def find(module: str, name: str) -> Any:
    """Return the helper that torchmetrics' ``module`` has under ``name``, or None."""
    name = _OTHERWISE.get((module, name), name)
    for part in _MODULES:
        here = vars(importlib.import_module(f"{__name__}.{part}"))
        if name in here:
            return here[name]
    return None
