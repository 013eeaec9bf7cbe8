"""The states of one metric, by name."""

from __future__ import annotations

from typing import Any

from torch import Tensor

State = Tensor | list[Tensor]


class States:
    """Values of states, and whether they are those of one batch of ``forward``.

    Attributes:
        values: the states by name; whoever adds a batch writes here.
        batch: whether these states hold one batch that will be joined to a total.
        grows: whether list states may keep memory ready for more rows.
        spare: that memory; what a copy of the values does not take along.
    """

    __slots__ = ("batch", "grows", "spare", "values")

    def __init__(
        self,
        values: dict[str, Any],
        *,
        batch: bool = False,
        grows: bool = True,
        spare: dict[str, Any] | None = None,
    ) -> None:
        self.values = values
        self.batch = batch
        self.grows = grows
        self.spare = {} if spare is None else spare
