"""FeatureShare: one network, which sees each batch once."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from fastmetrics import Metric, MetricCollection
from fastmetrics.wrappers import FeatureShare
from fastmetrics.wrappers.feature_share import NetworkCache


class Network(nn.Module):
    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 2)
        self.calls = 0

    def forward(self, images, scale=1.0):
        self.calls += 1
        return self.linear(images) * scale


class OfFeatures(Metric):
    full_state_update = False
    feature_network = "network"

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.add_state("total", torch.zeros(2), dist_reduce_fx="sum")

    def update(self, images):
        self.total += self.network(images).sum(0)

    def compute(self):
        return self.total


class Sum(OfFeatures):
    pass


def test_the_network_runs_once_for_all():
    network = Network()
    alone = MetricCollection([OfFeatures(network), Sum(network)])
    shared = FeatureShare([OfFeatures(copy.deepcopy(network)), Sum(copy.deepcopy(network))])
    cache = shared["Sum"].network
    assert isinstance(cache, NetworkCache)
    assert cache is shared["OfFeatures"].network
    for step in range(1, 4):
        images = torch.rand(5, 3)
        alone.update(images), shared.update(images)
        assert cache.network.calls == step
        for name, value in alone.compute().items():
            assert torch.equal(shared.compute()[name], value)
    assert network.calls == 6
    shared.reset()
    assert not cache._results
    for twin in (copy.deepcopy(shared), pickle.loads(pickle.dumps(shared))):
        twin.update(images)
        assert twin["Sum"].network is twin["OfFeatures"].network is twin._shared_network[0]


def test_inputs_that_changed_in_place_are_seen_again():
    cache = NetworkCache(Network())
    images = torch.rand(2, 3)
    one = cache(images)
    assert cache(images) is one
    assert cache(images, scale=2.0) is not one
    images += 1
    assert not torch.equal(cache(images), one)
    assert cache.network.calls == 3


@pytest.mark.parametrize("size", [0, 1, 3])
def test_the_oldest_results_go_first(size):
    cache = NetworkCache(Network(), max_size=size)
    batches = [torch.rand(1, 3) for _ in range(4)]
    for batch in batches:
        cache(batch)
    assert len(cache._results) == size
    for batch in batches[::-1]:
        cache(batch)
    assert cache.network.calls == 8 - size


def test_other_networks_are_replaced_with_a_warning():
    with pytest.warns(UserWarning, match="Sum has another network"):
        FeatureShare([OfFeatures(Network()), Sum(Network(4))])


def test_arguments():
    class Without(OfFeatures):
        feature_network = 3

    with pytest.raises(TypeError, match="`max_cache_size` must be an integer, got 'a'"):
        FeatureShare([Sum(Network())], max_cache_size="a")
    with pytest.raises(TypeError, match="`feature_network` of Without must be a string, got 3"):
        FeatureShare([Without(Network())])
    from fastmetrics import SumMetric

    with pytest.raises(AttributeError, match="SumMetric must have an attribute `feature_network`"):
        FeatureShare([Sum(Network()), SumMetric()])
