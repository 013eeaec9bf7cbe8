"""Match error rate.

Source: Morris, Maier and Green, From WER and RIL to MER and WIL: improved evaluation measures for
connected speech recognition, Interspeech 2004.
"""

from __future__ import annotations

from fastmetrics.functional.text._edit_rates import WORDS, EditFunction, edit_rate, match_error

__all__ = ["match_error_rate"]

match_error_rate: EditFunction = edit_rate(
    "match_error_rate",
    WORDS,
    match_error,
    """Match error rate, ``edits / words``, of the longer text of each pair.

    Edits are substitutions, deletions and insertions of words, which are what ``str.split()``
    finds. The value lies in [0, 1], and is NaN without any word.""",
    shows="tensor(0.4444)",
)
