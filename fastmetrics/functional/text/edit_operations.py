"""What was confused with what: the edits themselves, as people print them who recognise speech.

Source: Wagner and Fischer, The string-to-string correction problem, Journal of the ACM 21 (1974);
the table is that of NIST's sclite, https://github.com/usnistgov/SCTK.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastmetrics.functional._public import public
from fastmetrics.ops.edits import DELETE, INSERT, KEEP, SUBSTITUTE, check_pairs, edit_steps
from fastmetrics.ops.strings import pairs_of
from fastmetrics.utilities.checks import check_bool

__all__ = ["edit_operations"]

# A step, the symbol of the target and that of the prediction; "" where there is none.
Step = tuple[str, str, str]


@dataclass(frozen=True)
class EditOperations:
    """The edits that lead from targets to predictions; as text, the table of them.

    Attributes:
        preds: the symbols of each prediction, words or characters.
        target: those of each target.
        steps: for each sample a string of ``=`` (kept), ``S`` (substituted), ``D`` (missing from
            the prediction) and ``I`` (only there).
    """

    preds: list[list[str]]
    target: list[list[str]]
    steps: list[str]

    def aligned(self, sample: int) -> Iterator[Step]:
        """Yield the steps of one sample, each with the symbols of target and prediction."""
        ours, theirs = iter(self.preds[sample]), iter(self.target[sample])
        for step in self.steps[sample]:
            wanted = next(theirs) if step != INSERT else ""
            yield step, wanted, next(ours) if step != DELETE else ""

    @property
    def counts(self) -> Counter[str]:
        """How often each step was taken, over all samples."""
        return Counter("".join(self.steps))

    @property
    def confusions(self) -> Counter[tuple[str, str]]:
        """How often a symbol became another one, of the prediction; "" where one is missing."""
        found: Counter[tuple[str, str]] = Counter()
        for sample in range(len(self.steps)):
            found.update((t, p) for step, t, p in self.aligned(sample) if step != KEEP)
        return found

    def __str__(self) -> str:
        """Return the texts one above the other, then the confusions, the most frequent first."""
        lines = []
        for sample in range(len(self.steps)):
            columns = []
            for step, wanted, got in self.aligned(sample):
                width = max(len(wanted), len(got), 1)
                cells = (wanted or "*" * width, got or "*" * width, step.replace(KEEP, " "))
                columns.append([cell.ljust(width) for cell in cells])
            rows = [" ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
            lines += [f"{name} {row}".rstrip() for name, row in zip(("REF", "HYP", "   "), rows)]  # noqa: B905
        counts = self.counts
        names = {"hits": KEEP, "substitutions": SUBSTITUTE, "deletions": DELETE}
        names["insertions"] = INSERT
        lines.append(", ".join(f"{counts[step]} {name}" for name, step in names.items()))
        for (wanted, got), times in self.confusions.most_common():
            lines.append(f"{times:5} {wanted or '*'} -> {got or '*'}")
        return "\n".join(lines)


@public
def edit_operations(
    preds: str | Sequence[str], target: str | Sequence[str], words: bool = True
) -> EditOperations:
    """Align texts: which words, or characters, were kept, substituted, left out and put in.

    The edits are as few as the error rates count, ``S + D + I``, and those that rapidfuzz and jiwer
    show.

    Args:
        preds: the texts that were recognised, a string or N of them.
        target: the texts that were meant, as many.
        words: whether words are aligned, or characters.

    Returns:
        The steps of each sample, how often each was taken, and what was confused with what.

    Raises:
        ValueError: the arguments are no strings, differ in number, or two texts are so long that
            their table would take more than 1 GiB (65,536 symbols each); ``words`` is no bool.

    >>> from fastmetrics.functional.text import edit_operations
    >>> operations = edit_operations("the cat sit on mat", "the cat sat on the mat")
    >>> print(operations)
    REF the cat sat on the mat
    HYP the cat sit on *** mat
                S      D
    4 hits, 1 substitutions, 1 deletions, 0 insertions
        1 sat -> sit
        1 the -> *
    >>> operations.confusions[("sat", "sit")]
    1
    """
    check_bool("words", words)
    left, right = pairs_of(preds, target)
    check_pairs(left, right)
    steps = edit_steps(left, right, words)
    for i, each in enumerate(steps):
        if each is None:
            raise ValueError(
                "`preds` and `target` must be short enough to be aligned, 65,536 symbols each, got"
                f" texts of {len(left[i])} and {len(right[i])} characters at position {i}."
            )
    split = str.split if words else list
    return EditOperations([split(each) for each in left], [split(each) for each in right], steps)
