"""Warnings and log lines that only the first process of a machine emits."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastmetrics.utilities.fallback import names_of_others

__all__ = ["rank_zero_debug", "rank_zero_info", "rank_zero_warn"]

_log = logging.getLogger("fastmetrics")


def rank_zero_only(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Make ``fn`` do nothing, and return None, unless ``rank_zero_only.rank`` is 0.

    A trainer may assign ``rank_zero_only.rank``; until then ``LOCAL_RANK`` decides.
    """

    @functools.wraps(fn)
    def call_on_rank_zero(*args: Any, **kwargs: Any) -> Any:
        if getattr(rank_zero_only, "rank", 0) == 0:
            return fn(*args, **kwargs)
        return None

    return call_on_rank_zero


rank_zero_only.rank = int(os.environ.get("LOCAL_RANK", "0"))  # type: ignore[attr-defined]  # set by trainers too


@rank_zero_only
def rank_zero_warn(
    message: str, category: type[Warning] = UserWarning, stacklevel: int = 2
) -> None:
    """Warn once per machine; ``stacklevel`` counts from the caller.

    >>> from fastmetrics.utilities import rank_zero_warn
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     rank_zero_warn("No samples.")
    >>> str(caught[0].message)
    'No samples.'
    """
    warnings.warn(message, category, stacklevel=stacklevel + 2)


@rank_zero_only
def rank_zero_info(*args: Any, **kwargs: Any) -> None:
    """Log at level INFO, once per machine.

    >>> from fastmetrics.utilities import rank_zero_info
    >>> rank_zero_info("%d batches", 3)
    """
    _log.info(*args, **kwargs)


@rank_zero_only
def rank_zero_debug(*args: Any, **kwargs: Any) -> None:
    """Log at level DEBUG, once per machine.

    >>> from fastmetrics.utilities import rank_zero_debug
    >>> rank_zero_debug("%d batches", 3)
    """
    _log.debug(*args, **kwargs)


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
