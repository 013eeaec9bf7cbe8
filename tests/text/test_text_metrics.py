"""What metrics of texts take and refuse, and what they share."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torchmetrics
from torch._dynamo.testing import CompileCounter
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_leaves

import fastmetrics.functional.text as functional
from fastmetrics import MetricCollection, ops, text
from tests.every import MAKERS, Case, functions, metrics

CASES = [case for case in metrics() if case.of_text]
every_metric = pytest.mark.parametrize("case", CASES, ids=repr)
every_function = pytest.mark.parametrize(
    "case", [case for case in functions() if case.of_text], ids=repr
)
WORDS = ("WordErrorRate", "MatchErrorRate", "WordInfoLost", "WordInfoPreserved")


def bad_inputs(case: Case) -> list[tuple[tuple[Any, ...], str]]:
    """Inputs that are refused, and what the error says."""
    preds, target = case.inputs(4)
    one = "string" if isinstance(preds[0], str) else "dictionary"
    several = "strings" if isinstance(preds[0], str) else "dictionaries"
    found = [
        ((None, target), f"`preds` must be a {one} or a sequence of {several}, got NoneType"),
        ((preds, None), f"`target` must be a {one} or a sequence of {several}, got NoneType"),
        ((b"ab", target), f"`preds` must be a {one} or a sequence of {several}, got bytes"),
        ((preds, 3), f"`target` must be a {one} or a sequence of {several}, got int"),
    ]
    if isinstance(preds[0], str):
        others = [*preds[:2], None, preds[3]]
        found += [
            ((others, target), "`preds` must hold strings, got NoneType at position 2"),
            ((preds[:3], target), "must have the same length, got 3 and 4"),
            ((torch.zeros(4), target), "`preds` must hold strings, got Tensor at position 0"),
        ]
    if isinstance(target[0], str):
        found.append(((preds, [*target[:3], b"a"]), "`target` must hold strings, got bytes at pos"))
    if isinstance(target[0], list):
        found += [
            ((preds, [*target[:3], []]), "`target` must hold references, got none at position 3"),
            ((preds, [*target[:3], ["a", 1]]), "got int at position 3, reference 1"),
        ]
    return found


@pytest.mark.smoke
@every_metric
def test_a_refused_batch_of_texts_leaves_no_trace(case):
    metric = case.make()
    metric.update(*case.inputs(5))
    before = copy.deepcopy(metric.metric_state)
    for bad, said in bad_inputs(case):
        for call in (metric.update, metric):
            with pytest.raises(ValueError, match=said.replace("[", r"\[")):
                call(*bad)
    with pytest.raises(ValueError, match=r"`weight` must have one entry per sample"):
        metric.update(*case.inputs(3), weight=torch.ones(2))
    assert metric.update_count == 1
    after = metric.metric_state
    assert all(torch.equal(after[name], state) for name, state in before.items())


@pytest.mark.smoke
@every_function
def test_functions_refuse_what_is_no_text(case):
    for bad, said in bad_inputs(case):
        with pytest.raises(ValueError, match=said.replace("[", r"\[")):
            case.make(*bad)


@every_function
def test_the_default_device_does_not_matter(case):
    """Kernels fill memory of the host, wherever tensors are made."""
    inputs = case.inputs(4)
    with torch.device("meta"):
        value = case.make(*inputs)
    for expected, found in zip(tree_leaves(case.make(*inputs)), tree_leaves(value), strict=True):
        assert type(found) is type(expected)


@every_metric
def test_an_update_counts_whatever_the_default_device_is(case):
    inputs = case.inputs(4)
    metric, expected = case.make(), case.make()
    with torch.device("meta"):
        metric.update(*inputs)
        case.make().update(*inputs)
    expected.update(*inputs)
    torch.testing.assert_close(metric.compute(), expected.compute())


def test_states_that_kernels_cannot_fill_are_added_to():
    preds, target = ["a b", "c"], ["a c", "c d"]
    expected = text.WordErrorRate()(preds, target)
    memory = torch.zeros(12, dtype=torch.float64)
    for sums in (torch.zeros(5), memory[:10:2], torch.nn.Parameter(memory[5:10], False)):
        metric = text.WordErrorRate()
        metric.sums = sums
        metric.update(preds, target)
        torch.testing.assert_close(metric.compute(), expected)
    assert not memory[[1, 3, 10, 11]].any()
    with FakeTensorMode():
        metric = text.WordErrorRate()
        metric.update(preds, target)
    metric = text.WordErrorRate()
    metric.sums = torch.zeros(4, dtype=torch.float64)
    with pytest.raises(RuntimeError):
        metric.update(preds, target)


def test_missing_keys_of_answers_are_named():
    right = {"id": "1", "answers": {"text": ["a"]}}
    for preds, target, said in (
        ({"id": "1"}, right, "`preds` must have the key 'prediction_text'"),
        ({"prediction_text": "a", "id": "1"}, {"id": "1"}, "`target` must have the key 'answers'"),
        ({"prediction_text": "a", "id": "1"}, {"id": "1", "answers": {}}, "the key 'text'"),
    ):
        with pytest.raises(KeyError, match=said):
            functional.squad(preds, target)


def test_several_metrics_of_words_are_one_state():
    """And one that keeps the values of samples is read by the others."""
    rates = [getattr(text, name)() for name in WORDS]
    together = MetricCollection([*rates, text.CharErrorRate(), text.EditDistance()])
    preds, target = MAKERS["sentences"](12)
    together.update(preds[:5], target[:5])
    together(preds[5:], target[5:])
    assert [*map(set, together.compute_groups.values())] == [
        {*WORDS},
        {"CharErrorRate", "EditDistance"},
    ]
    for name, value in together.compute().items():
        alone = getattr(text, name)()
        alone.update(preds, target)
        torch.testing.assert_close(value, alone.compute())
    each = text.WordErrorRate(return_sentence_level_score=True)
    both = MetricCollection({"each": each, "all": text.WordErrorRate()})
    both.update(preds, target)
    values = both.compute()
    torch.testing.assert_close(values["each"][0], values["all"])


@every_metric
def test_weights_of_one_change_nothing(case):
    inputs = case.inputs(6)
    plain, weighted = case.make(), case.make()
    plain.update(*inputs)
    weighted.update(*inputs, weight=torch.ones(6))
    torch.testing.assert_close(plain.compute(), weighted.compute())


@pytest.mark.parametrize("reduction", ["mean", "sum", None])
def test_checkpoints_of_edit_distances_go_both_ways(reduction):
    ours, theirs = (home.EditDistance(reduction=reduction) for home in (text, torchmetrics.text))
    preds, target = MAKERS["sentences"](7)
    for metric in (ours, theirs):
        metric.update(preds, target)
    ours.persistent("torchmetrics")
    theirs.persistent(True)
    here, there = text.EditDistance(reduction=reduction), type(theirs)(reduction=reduction)
    here.load_state_dict(theirs.state_dict())
    there.persistent(True)
    there.load_state_dict(ours.state_dict())
    torch.testing.assert_close(here.compute(), theirs.compute())
    torch.testing.assert_close(there.compute(), ours.compute(), check_dtype=False)


def test_sequences_of_any_kind_are_taken():
    expected = functional.word_error_rate(["a b", "c"], ["a", "c d"])
    for make in (tuple, iter, lambda texts: (each for each in texts)):
        found = functional.word_error_rate(make(["a b", "c"]), make(["a", "c d"]))
        assert torch.equal(found, expected)
    assert torch.equal(functional.word_error_rate("a b", "a"), torch.tensor(1.0))


def test_a_compiled_step_goes_on_with_texts(recwarn):
    metric = text.WordErrorRate()

    @torch.compile(backend="eager")
    def step(x: torch.Tensor, preds: list[str], target: list[str]) -> torch.Tensor:
        y = x * 2
        metric.update(preds, target)
        return y + 1

    for texts in (["a b"], ["a b c"]):
        assert torch.equal(step(torch.ones(2), texts, ["a"]), torch.full((2,), 3.0))
    assert float(metric.compute()) == 1.5
    assert not [w for w in recwarn if "Dynamo" in str(w.message)]


@every_metric
def test_a_compiled_step_is_not_compiled_again_for_other_texts(case):
    torch._dynamo.reset()
    metric, expected, counter = case.make(), case.make(), CompileCounter()

    @torch.compile(backend=counter)
    def step(x: torch.Tensor, preds: Any, target: Any) -> torch.Tensor:
        y = x * 2
        metric.update(preds, target)
        return y + 1

    for _ in range(4):
        preds, target = case.inputs(3)
        if isinstance(target[0], list):  # Dynamo looks at the lengths of lists in lists
            target = [references[:1] for references in target]
        step(torch.ones(2), preds, target)
        expected.update(preds, target)
    torch.testing.assert_close(metric.compute(), expected.compute())
    assert counter.frame_count == 2  # before the update and behind it


def test_metrics_of_texts_travel():
    metric = text.WordErrorRate(return_sentence_level_score=True)
    metric.update(["a b", "c"], ["a", "c d"])
    for other in (pickle.loads(pickle.dumps(metric)), metric.clone(), copy.deepcopy(metric)):
        torch.testing.assert_close(other.compute(), metric.compute())
    again = text.WordErrorRate(return_sentence_level_score=True)
    again = again.from_state_bytes(metric.state_bytes())
    torch.testing.assert_close(again.compute(), metric.compute())
    assert b"c d" not in metric.state_bytes()


def test_the_configuration_names_what_serves_texts(capsys):
    import fastmetrics

    fastmetrics.show_config()
    shown = capsys.readouterr().out
    how = "Python" if ops.backend.native is None else "C++"
    assert [line.split()[2] for line in shown.splitlines() if line.startswith("edit_rows")] == [how]


@pytest.mark.parametrize("name", ["translation_edit_rate", "extended_edit_distance", "chrf_score"])
def test_a_list_without_references_stands_for_no_samples(name):
    ours, theirs = getattr(functional, name), getattr(torchmetrics.functional.text, name)
    assert ours([], [[]]) == ours([], []) == theirs([], [[]]) == 0
    with pytest.raises(ValueError, match="got none at position 0"):
        ours(["a word"], [[]])


def test_the_edit_distance_of_no_samples():
    assert functional.edit_distance([], []) == 0
    assert functional.edit_distance([], [], reduction="sum") == 0
    assert functional.edit_distance([], [], reduction=None).shape == (0,)
    assert functional.edit_distance([], [], weight=torch.zeros(0)).isnan()
