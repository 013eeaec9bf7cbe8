"""Lines of text for tests: hypothesis draws them, or a seed makes a corpus."""

from __future__ import annotations

import random

from hypothesis import strategies as st

# What tokenizers look at: marks, numbers, escapes, scripts, letters whose lower case is special,
# combining marks, letters outside of the first plane, right to left, spaces of all kinds.
PIECES = (
    *"aAbB1290.,-!?'&;<>()[]{}|\\/_~`^$%#@*+=:\"",
    *("cat", "Dog-like", "3.5", "1,000", "-5", "e.g.", "...", "-\n", "\n", "<skipped>", "&quot;"),
    *("&amp;", "&lt;", "&gt;", "&amp;lt;", "<SKIPPED>", "&QUOT;", "running", "ΑΣ", "Σ", "σς", "İ"),
    *("ẞ", "é", "e\u0301", "\u0301", "猫が", "。", "、", "中文", "\u3000", "\u2026", "\u2014", "½"),
    *(
        "²",
        "٣",
        "שלום",
        "\u200f",
        "€",
        "©",
        "😀",
        "𝄞",
        "\U0001d7d9",
        "\U0002a6d6",
        "\ud800",
        "\x00",
        "\x1c",
    ),
    *(" ", "  ", "\t", "\r", "\x85", "\xa0", "\u2003", "\u2028", "\u202f", "\u200b", "ﬁ", "\u212a"),
)

lines = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)


@st.composite
def samples(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Predictions, and one to three references for each, of which some are much like it."""
    preds = draw(st.lists(lines, min_size=1, max_size=3))

    def like(line: str) -> st.SearchStrategy[str]:
        return lines | lines.map(lambda end: line[: len(line) // 2] + end) | st.just(line)

    return preds, [draw(st.lists(like(line), min_size=1, max_size=3)) for line in preds]


WORDS = [a + b for a in "bdgklmnprst" for b in ("a", "an", "er", "ing", "o", "ow", "up", "y")]


def corpus(
    size: int, seed: int = 0, references: int = 2, words: int = 25, marks: bool = True
) -> tuple[list[str], list[list[str]]]:
    """Sentences of up to so many words, and references that share most words with each.

    ``marks`` puts in punctuation and capitals.
    """
    chosen = random.Random(seed)

    def changed(line: list[str]) -> list[str]:
        kept = [w if chosen.random() < 0.8 else chosen.choice(WORDS) for w in line]
        return kept + chosen.choices(WORDS, k=chosen.randint(0, 2))

    def written(line: list[str]) -> str:
        if not marks:
            return " ".join(line)
        marked = [w + chosen.choice(",;") if chosen.random() < 0.1 else w for w in line]
        return " ".join(marked).capitalize() + chosen.choice((".", "!", " 3.5%", ""))

    preds, target = [], []
    for _ in range(size):
        line = chosen.choices(WORDS, k=chosen.randint(1, words))
        preds.append(written(line))
        target.append([written(changed(line)) for _ in range(chosen.randint(1, references))])
    return preds, target
