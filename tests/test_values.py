"""The tool that compares the values of two checkouts."""

from __future__ import annotations

import json

import pytest
import torch

import fastmetrics
from tools import values


@pytest.mark.parametrize(
    "value",
    [torch.tensor([0.1, 2.0]), torch.rand(100), torch.rand(3).half(), {"a": [torch.rand(2)]}, 0.25],
)
def test_text_tells_the_smallest_change_and_the_dtype(value):
    def changed(x, how):
        if isinstance(x, dict):
            return {key: changed(each, how) for key, each in x.items()}
        return [changed(each, how) for each in x] if isinstance(x, list) else how(x)

    def last_bit(x):
        x = torch.as_tensor(x).clone()
        x.view(-1)[-1] = torch.nextafter(x.view(-1)[-1], torch.tensor(9.0, dtype=x.dtype))
        return x

    assert values.text(value) == values.text(changed(value, lambda x: x))
    assert values.text(value) != values.text(changed(value, last_bit))
    assert values.text(value) != values.text(changed(value, lambda x: torch.as_tensor(x).double()))


def test_nan_is_nan_and_zero_has_a_sign():
    nan = torch.full((100,), torch.nan)
    assert values.text(nan) == values.text(-nan)
    assert values.text(torch.zeros(100)) != values.text(-torch.zeros(100))


def test_a_call_notes_errors_and_warnings():
    record = values.Record()
    assert record.call("bad", fastmetrics.MeanSquaredError, num_outputs=0) is values.FAILED
    assert record["bad"] == "raises ValueError"
    assert "num_outputs" in record["bad says"]
    record.call("empty", fastmetrics.MeanSquaredError().compute)
    assert record["empty"] == "float32[] nan warns ['UserWarning']"


def test_one_family():
    record = values.Record()
    values.record_class(record, "MeanSquaredError", fastmetrics.MeanSquaredError, "regression")
    assert len(record) > 100
    preds, target = torch.cat([torch.stack(x) for x in inputs("pairs")], 1)
    metric = fastmetrics.MeanSquaredError()
    metric.update(preds, target)
    assert record["MeanSquaredError() pairs"] == values.text(metric.compute())
    assert record["MeanSquaredError() short target batch 0"] == "raises RuntimeError"


def inputs(kind):
    return values.inputs_of("regression", "MeanSquaredError")[kind]


def test_compare(tmp_path, capsys):
    paths = tmp_path / "a", tmp_path / "b"
    for path, record in zip(
        paths, ({"x": "1", "y": "2"}, {"x": "1", "y": "3", "z": "4"}), strict=True
    ):
        path.write_text(json.dumps(record))
    assert values.compare(*paths, skip="") == 2
    assert capsys.readouterr().out == "y\n  - 2\n  + 3\nz\n  - missing\n  + 4\n2 of 3 differ\n"
    assert values.compare(*paths, skip="^[yz]$") == 0
