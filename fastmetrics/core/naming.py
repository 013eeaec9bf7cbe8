"""The names of what a collection returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def flatten(values: dict[str, Any], affixes: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Merge the values that are dicts into the result; keys they have in common get a name.

    Args:
        values: by the names of the metrics.
        affixes: prefix and postfix of the nested collection that a metric came from, by its name.
    """
    if not any(isinstance(value, dict) for value in values.values()):
        return values
    keys = [key for name, value in values.items() for key in _keys_of(name, value)]
    duplicates = len(set(keys)) < len(keys)
    flat = {}
    for name, value in values.items():
        prefix, postfix = affixes.get(name, ("", ""))
        for key in _keys_of(name, value):
            if not isinstance(value, dict):
                flat[name] = value
                continue
            base = name.replace(prefix, "").replace(postfix, "")
            unique = f"{base}_{key}" if duplicates else key
            flat[f"{prefix}{unique}{postfix}"] = value[key]
    return flat


def _keys_of(name: str, value: Any) -> Iterable[str]:
    return value if isinstance(value, dict) else [name]
