"""What `compute` says about what updates could not."""

from __future__ import annotations

import pytest
import torch

from fastmetrics.ops.faults import new_events, raise_events


@pytest.mark.smoke
def test_events_speak_only_of_what_they_count():
    raise_events("Thing", new_events())
    with pytest.warns(UserWarning, match="Thing: 2 samples had NaN scores"):
        raise_events("Thing", torch.tensor([0, 2, 5, 0]))
    with pytest.warns(UserWarning, match="Thing: 4 weights were NaN, negative or above 1e100"):
        raise_events("Thing", torch.tensor([0, 0, 5, 4]))
    with pytest.raises(RuntimeError, match=r"Thing: 3 samples .* outside the allowed range"):
        raise_events("Thing", torch.tensor([3, 2, 0, 0]))
