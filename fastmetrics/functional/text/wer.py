"""Word error rate.

Source: Morris, Maier and Green, From WER and RIL to MER and WIL: improved evaluation measures for
connected speech recognition, Interspeech 2004.
"""

from __future__ import annotations

from fastmetrics.functional.text._edit_rates import WORDS, EditFunction, edit_rate, error_rate

__all__ = ["word_error_rate"]

word_error_rate: EditFunction = edit_rate(
    "word_error_rate",
    WORDS,
    error_rate,
    """Word error rate, ``edits / words of the targets``.

    Edits are substitutions, deletions and insertions. Words are what ``str.split()`` finds. The
    value may exceed 1; without any word in the targets it is infinite, or NaN if nothing was
    predicted either.""",
    shows="tensor(0.5000)",
)
