"""How an op takes part in `fused_`; all but the axes of its state follows from its schema.

An op whose first arguments are `state`, `events` if it has any, `preds`, `target` and `weight` is
fusible if ``define`` is told so; csrc/fusible.h reads the rest of its arguments by the same rule.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

# How an argument travels: in `program` as one integer, or as two (whether there is one, and which),
# in `numbers`, in `edges`, or not at all because it must be None.
INT, FLAG, OPTIONAL_INT, NUMBER, EDGES, ABSENT = range(6)

_KIND_OF_TYPE = {
    "int": INT,
    "bool": FLAG,
    "Optional[int]": OPTIONAL_INT,
    "float": NUMBER,
    "Tensor": EDGES,
    "Optional[Tensor]": ABSENT,
}


class Family(NamedTuple):
    """What the op of a statistic takes besides the batch."""

    op: str
    code: int  # stands for the op in `program`
    axes: int  # of a state that does not count each sample on its own
    has_events: bool
    arguments: tuple[int, ...]


FAMILIES: dict[str, Family] = {}
OP_OF_CODE: dict[int, str] = {}


def code_of(op: str) -> int:
    """Return the name as a number (32-bit FNV-1a), so that nothing must agree on an order."""
    code = 2166136261
    for letter in op.encode():
        code = (code ^ letter) * 16777619 % 2**32
    return code


def add_family(op: str, schema: torch.FunctionSchema, axes: int) -> None:
    """Let `fused_` run an op."""
    names = [argument.name for argument in schema.arguments]
    rest = schema.arguments[names.index("weight") + 1 :]
    kinds = tuple(_KIND_OF_TYPE[str(argument.type)] for argument in rest)
    FAMILIES[op] = Family(op, code_of(op), axes, "events" in names, kinds)
    OP_OF_CODE[code_of(op)] = op
