"""Word information preserved.

Source: Morris, Maier and Green, From WER and RIL to MER and WIL: improved evaluation measures for
connected speech recognition, Interspeech 2004.
"""

from __future__ import annotations

from fastmetrics.functional.text._edit_rates import (
    WORDS,
    EditFunction,
    edit_rate,
    information_preserved,
)

__all__ = ["word_information_preserved"]

word_information_preserved: EditFunction = edit_rate(
    "word_information_preserved",
    WORDS,
    information_preserved,
    """Word information preserved, ``matches / words of the targets * matches / words predicted``.

    Matches are the words of the longer text less the edits, as in torchmetrics; packages that
    align both texts count those that stay in place, which may be more. The value lies in [0,
    1], and is NaN where one side has no word.""",
    shows="tensor(0.3472)",
)
