"""Why a peer is faster, where one is: the page says it beside the figure."""

import re

NOISE = 1.1
"""Ratios below are told apart from 1 by no single run."""

# What `workload peer` matches, and why.
REASONS = (
    (
        r"function/Edits.*/1 of .* rapidfuzz",
        "one C call on two strings; ours takes lists, checks them and returns a tensor, 5 to 7 µs"
        " whatever the length",
    ),
    (
        r"whole/EditDistance",
        "the kernels take as long; ours is an object with `reset`, states, and cache and lock of"
        " `compute`",
    ),
    (
        r"functional/rouge_score/1 ",
        "one pair: reading the arguments and making twelve tensors takes longer than counting",
    ),
    (
        r"whole/CatMetric",
        "the numbers are looked at for NaN and copied in `update`, since the caller may overwrite"
        " them, and again in `compute`, since he may overwrite the value; the peer copies once",
    ),
    (
        r"whole/(Sum|Mean|Max|Min)Metric",
        "as much work as the peer on the numbers; `reset`, the look for NaN, and cache and lock of"
        " `compute` are 13 µs",
    ),
    (
        r"whole/Mean(Squared|Absolute)Error",
        "as above; sums in float64 where the peer's are float32",
    ),
    (r"whole/Perplexity", "exponentials and sums in float64, where the peer's are float32"),
    (
        r"small/binary_auroc",
        "scores are kept in states and sorted, and infinities, NaN and `ignore_index` looked at;"
        " the peer is argsort and cumsum",
    ),
    (
        r"compiled/",
        "the metric's states, locks and settings are guards of the compiled region; the peer has"
        " one tensor",
    ),
    (
        r"life/(state_dict|repr)",
        "`isinstance(collection, torchmetrics.MetricCollection)` holds, which costs a look at each"
        " `__class__`",
    ),
)


def why(workload: str, peer: str, ratio: float) -> str:
    """Return why our time is ``ratio`` times that of the peer."""
    for pattern, reason in REASONS:
        if re.match(pattern, f"{workload} {peer}"):
            return reason
    return "within the noise of a run" if ratio < NOISE else "not known"
