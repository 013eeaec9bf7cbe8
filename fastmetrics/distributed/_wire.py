"""The collectives that packets travel by, and what their failure means."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def explaining(group: Any) -> Generator[None, None, None]:
    """Say what a failed collective of ``group`` means."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"Metrics could not be synchronised by rank {dist.get_rank()}: another of the"
            f" {dist.get_world_size(group)} processes has ended, does not answer within the"
            " timeout of the process group, or calls other collectives. The states of this process"
            " are as they were."
        ) from error


class Wire:
    """The collectives of one group, on the devices that its backends serve.

    ``channel`` is another gloo backend between the same processes, for the CPU.
    """

    def __init__(self, group: Any, devices: set[torch.device], channel: Any) -> None:
        self._channel = channel
        self.group: Any = dist.group.WORLD if group is None else group
        self.size = dist.get_world_size(self.group)
        if self.size < 1:
            raise RuntimeError(
                "This process is not part of `process_group` and cannot synchronise metrics in it."
            )
        pairs = dist.get_backend_config(self.group).split(",")
        backends = (
            dict(pair.split(":", 1) for pair in pairs) if channel is None else {"cpu": "gloo"}
        )
        special = [kind for kind, name in backends.items() if kind != "cpu" and name != "gloo"]
        self.own_accelerator = bool(devices) and all(d.type in special for d in devices)
        self._accelerator = torch.device("cpu")
        if special and (self.own_accelerator or "cpu" not in backends):
            fitting = [device for device in devices if device.type in special]
            self._accelerator = fitting[0] if fitting else torch.device(special[0])
        # Headers are read by the host, and must take the same way in all processes.
        self.header_device = torch.device("cpu") if "cpu" in backends else self._accelerator
        self.device = self.header_device

    def choose(self, all_on_accelerators: bool) -> None:
        """Send states between accelerators directly if that is where all processes hold them."""
        if all_on_accelerators:
            self.device = self._accelerator

    def rank(self, place: int) -> int:
        """Return the rank that the user knows for a place in the group."""
        return dist.get_global_rank(self.group, place)

    def start_gather(self, tensor: Tensor) -> tuple[list[Tensor], Any]:
        """Start a gather; return where the tensors of all processes arrive, and what runs."""
        received = [torch.empty_like(tensor) for _ in range(self.size)]
        if self._channel is not None:
            return received, self._channel.allgather([received], [tensor])
        return received, dist.all_gather(received, tensor, group=self.group, async_op=True)

    def gather(self, data: Sequence[int], dtype: torch.dtype) -> list[Tensor]:
        """Return a few numbers of all processes, on the CPU."""
        with explaining(self.group):
            received, work = self.start_gather(
                torch.tensor(data, dtype=dtype, device=self.header_device)
            )
            work.wait()
            return [part.cpu() for part in received]

    def start_reduce(self, tensor: Tensor, op: Any) -> Any:
        """Start to reduce ``tensor`` in place, and return what runs."""
        if self._channel is not None:
            options = dist.AllreduceOptions()
            options.reduceOp = op
            return self._channel.allreduce([tensor], options)
        return dist.all_reduce(tensor, op, group=self.group, async_op=True)

    def flat(self, tensors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Return a copy of all elements, one after the other, in one transfer if possible."""
        devices = {t.device for t in tensors}
        # Apple's GPU has no float64.
        direct = len(devices) == 1 and not any(d.type == "mps" for d in devices)
        source = devices.pop() if direct else self.device
        parts = [t.detach().to(source).to(dtype).reshape(-1) for t in tensors]
        return torch.cat(parts).to(self.device)
