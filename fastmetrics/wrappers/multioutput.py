"""One metric for each output of a model."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import ModuleList

from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_bool, check_int
from fastmetrics.utilities.data import map_tensors
from fastmetrics.wrappers._inside import MetricsInside, handed_on, tensors_in

__all__ = ["MultioutputWrapper"]

Batch = tuple[tuple[Any, ...], dict[str, Any]]


class MultioutputWrapper(MetricsInside):
    """A metric applied to each of several outputs: the value has a first axis of ``num_outputs``.

    All outputs take a batch of ``forward`` or, if one refuses it, none.

    Args:
        base_metric: a metric; each output has a copy.
        num_outputs: how many outputs there are; more in a batch are ignored.
        output_dim: the axis of the outputs in all tensors of a batch.
        remove_nans: leave out, for each output, the rows where a tensor of the batch is NaN.
        squeeze_outputs: whether the axis of outputs is gone when the metric sees them.

    Raises:
        TypeError: ``base_metric`` is no metric, or ``num_outputs`` no integer.
        ValueError: ``num_outputs`` is not positive, or a flag no bool.

    Example:
        >>> import torch
        >>> from fastmetrics import MeanSquaredError
        >>> from fastmetrics.wrappers import MultioutputWrapper
        >>> metric = MultioutputWrapper(MeanSquaredError(), num_outputs=2)
        >>> preds = torch.tensor([[1.0, 2.0], [3.0, float("nan")]])
        >>> metric(preds, torch.tensor([[1.0, 4.0], [5.0, 6.0]]))
        tensor([2., 4.])
    """

    fused_update = True
    is_differentiable = False

    def __init__(
        self,
        base_metric: Metric,
        num_outputs: int,
        output_dim: int = -1,
        remove_nans: bool = True,
        squeeze_outputs: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(base_metric, Metric):
            raise TypeError(f"`base_metric` must be a Metric, got {base_metric!r}.")
        if not isinstance(num_outputs, int):
            raise TypeError(f"`num_outputs` must be an integer, got {num_outputs!r}.")
        check_int("num_outputs", num_outputs, 1)
        check_bool("remove_nans", remove_nans)
        check_bool("squeeze_outputs", squeeze_outputs)
        self.metrics = ModuleList([deepcopy(base_metric) for _ in range(num_outputs)])
        self.output_dim = output_dim
        self.remove_nans = remove_nans
        self.squeeze_outputs = squeeze_outputs

    def _nan_rows(self, tensors: list[Tensor]) -> Tensor | None:
        """Return which rows ``[N, outputs]`` of which output are NaN; None if there are none."""
        rows: Tensor | None = None
        for tensor in tensors:
            if not tensor.is_floating_point() and not tensor.is_complex():
                continue
            nan = tensor.isnan().movedim(self.output_dim, 1)
            nan = nan.flatten(2).any(2) if nan.ndim > 2 else nan
            rows = nan if rows is None else rows | nan
        return rows if rows is not None and bool(rows.any()) else None

    def _of_output(self, tensor: Tensor, output: int, keep: Tensor | None) -> Tensor:
        part = tensor.narrow(self.output_dim, output, 1)
        if keep is not None:
            part = part[keep]
        return part.squeeze(self.output_dim) if self.squeeze_outputs else part

    def _get_args_kwargs_by_output(self, *args: Any, **kwargs: Any) -> list[Batch]:
        """Return what each output gets, as views where no row is left out."""
        tensors = tensors_in((args, kwargs))
        outputs = len(self.metrics)
        for tensor in tensors:
            if tensor.shape[self.output_dim] < outputs:
                raise RuntimeError(
                    f"All tensors must have {outputs} outputs at axis {self.output_dim}, got one"
                    f" of shape {[*tensor.shape]}."
                )
        nan = self._nan_rows(tensors) if self.remove_nans else None
        found: list[Batch] = []
        for output in range(outputs):
            keep = None if nan is None else ~nan[:, output]

            def select(tensor: Tensor, output: int = output, keep: Any = keep) -> Tensor:
                return self._of_output(tensor, output, keep)

            found.append(map_tensors(select, (args, kwargs)))
        return found

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch; arguments as for the metric, with an axis of outputs.

        Raises:
            RuntimeError: a tensor has fewer outputs; nothing has changed.
        """
        self._give(self._get_args_kwargs_by_output(*args, **kwargs))

    def _give(self, batches: list[Batch]) -> None:
        for metric, (args, kwargs) in zip(self.metrics, batches, strict=True):
            metric.update(*args, **kwargs)  # type: ignore[operator]  # torch: any module

    @torch.jit.unused
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return its value for each output; None if the metric returns none."""
        batches = self._get_args_kwargs_by_output(*args, **kwargs)
        values = self._forward_each([*self.metrics], lambda: self._give(batches))
        if values is None:
            pairs = zip(self.metrics, batches, strict=True)
            values = [metric(*args, **kwargs) for metric, (args, kwargs) in pairs]
        return self._forwarded(None if values[0] is None else torch.stack(values))

    def _value(self) -> Tensor:
        return torch.stack([metric.compute() for metric in self.metrics])  # type: ignore[operator]

    @property
    def _hands_on(self) -> Any:
        return handed_on(self.metrics[0])
