"""Character error rate.

Source: Morris, Maier and Green, From WER and RIL to MER and WIL: improved evaluation measures for
connected speech recognition, Interspeech 2004.
"""

from __future__ import annotations

from fastmetrics.functional.text._edit_rates import CHARACTERS, EditFunction, edit_rate, error_rate

__all__ = ["char_error_rate"]

char_error_rate: EditFunction = edit_rate(
    "char_error_rate",
    CHARACTERS,
    error_rate,
    """Character error rate, ``edits / characters of the targets``.

    Edits are substitutions, deletions and insertions. Characters are code points, blanks too. The
    value may exceed 1; without any character in the targets it is infinite, or NaN if nothing was
    predicted either.""",
    shows="tensor(0.3415)",
)
