"""What every statistic is: a value, equal to its copies wherever they are made."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch

from fastmetrics.core.states import States
from fastmetrics.core.statistic_metric import StatisticMetric
from tests import every

CASES = [case for case in every.metrics() if isinstance(case.make(), StatisticMetric)]
with_each_case = pytest.mark.parametrize("case", CASES, ids=repr)


def statistic_of(case):
    return case.make().statistic


def test_statistics_are_looked_at():
    assert len(CASES) > 60


@with_each_case
def test_equal_fields_are_equal_statistics(case):
    one, other = statistic_of(case), statistic_of(case)
    assert one == other
    assert hash(one) == hash(other)


@with_each_case
def test_copies_are_equal(case):
    statistic = statistic_of(case)
    copies = (
        copy.copy(statistic),
        copy.deepcopy(statistic),
        pickle.loads(pickle.dumps(statistic)),
        dataclasses.replace(statistic),
        statistic.to(torch.device("meta")),
    )
    for found in copies:
        assert found == statistic
        assert hash(found) == hash(statistic)
        # Processes agree on what they count by its text.
        assert repr(found) == repr(statistic)


@with_each_case
def test_the_text_is_that_of_the_fields(case):
    text = repr(statistic_of(case))
    assert "tensor" not in text
    assert " at 0x" not in text


@with_each_case
def test_nothing_can_be_assigned(case):
    statistic = statistic_of(case)
    (first, *_) = dataclasses.fields(statistic)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(statistic, first.name, getattr(statistic, first.name))


@with_each_case
def test_functions_and_classes_count_the_same(case):
    """States of a metric after one update are those that the statistic makes on its own."""
    metric, inputs = case.make(), case.inputs(7)
    states = States(metric.statistic.empty(), batch=True)
    metric.statistic.add(states, *inputs)
    metric.update(*inputs)
    for name, state in metric._states.values.items():
        found = states.values[name]
        torch.testing.assert_close(found, state, rtol=0, atol=0, equal_nan=True)
