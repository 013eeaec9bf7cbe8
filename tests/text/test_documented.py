"""The examples that torchmetrics' documentation gives for texts, run with the classes here."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch

import fastmetrics.functional.text
import fastmetrics.text

FINDER = doctest.DocTestFinder()


def examples() -> list[doctest.DocTest]:
    """Those of torchmetrics for what is here, with our names in place of theirs."""
    found = []
    for package in (fastmetrics.text, fastmetrics.functional.text):
        for name in package.__all__:
            ours = getattr(package, name)
            try:
                theirs = importlib.import_module(ours.__module__.replace("fast", "torch", 1))
            except ImportError:  # something that torchmetrics lacks
                continue
            for example in FINDER.find(getattr(theirs, name), name, globs={name: ours}):
                for line in example.examples:
                    line.source = line.source.replace("torchmetrics", "fastmetrics")
                found += [example] if example.examples else []
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_examples_of_torchmetrics_give_its_values(example):
    torch.manual_seed(42)  # as before its own tests of them
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert runner.run(example).failed == 0


def test_all_of_them_have_examples():
    names = {example.name for example in examples()}
    assert names >= {*fastmetrics.text.__all__}
    assert len(names) > 25
