"""Word information lost.

Source: Morris, Maier and Green, From WER and RIL to MER and WIL: improved evaluation measures for
connected speech recognition, Interspeech 2004.
"""

from __future__ import annotations

from fastmetrics.functional.text._edit_rates import WORDS, EditFunction, edit_rate, information_lost

__all__ = ["word_information_lost"]

word_information_lost: EditFunction = edit_rate(
    "word_information_lost",
    WORDS,
    information_lost,
    """Word information lost, ``1 - matches / words of the targets * matches / words predicted``.

    Matches are the words of the longer text less the edits, as in torchmetrics; packages that
    align both texts count those that stay in place, which may be more. The value lies in [0,
    1], and is NaN where one side has no word.""",
    shows="tensor(0.6528)",
)
