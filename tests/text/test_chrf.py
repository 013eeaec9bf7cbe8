"""chrF: scores are those of torchmetrics and of sacrebleu."""

from __future__ import annotations

import pytest
import sacrebleu
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmetrics import MetricCollection
from fastmetrics.functional.text import chrf_score
from fastmetrics.ops import chrf
from fastmetrics.ops.chrf import chrf_rows
from fastmetrics.ops.strings import KERNELS
from fastmetrics.text import CHRFScore
from tests.text.lines import corpus, samples

OPTIONS = (
    {},
    {"n_word_order": 0},
    {"n_char_order": 1, "n_word_order": 1, "beta": 1.0},
    {"n_char_order": 3, "beta": 0.5, "whitespace": True},
    {"lowercase": True},
)


@settings(max_examples=60, deadline=None)
@given(
    texts=samples(),
    orders=st.tuples(st.integers(1, 6), st.integers(0, 3)),
    whitespace=st.booleans(),
)
def test_kernel_and_reference_agree(texts, orders, whitespace):
    preds, target = texts
    flat = [line for references in target for line in references]
    rows = [torch.full((len(preds), 3 * sum(orders) + 2), torch.nan).double() for _ in range(2)]
    for each, function in zip(rows, (chrf_rows, KERNELS["chrf_rows"]), strict=True):
        function(each, preds, flat, [*map(len, target)], *orders, 2.0, whitespace)
    assert torch.equal(*rows)


@settings(max_examples=30, deadline=None)
@given(texts=samples(), option=st.sampled_from(OPTIONS))
def test_one_reference_scores_as_in_torchmetrics(texts, option):
    preds, target = texts[0], [references[:1] for references in texts[1]]
    option = {**option, "return_sentence_level_score": True}
    expected = torchmetrics.functional.text.chrf_score(preds, target, **option)
    torch.testing.assert_close(chrf_score(preds, target, **option), expected)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_classes_are_those_of_torchmetrics(option):
    option = {**option, "return_sentence_level_score": True}
    metric, peer = CHRFScore(**option), torchmetrics.text.CHRFScore(**option)
    for seed in range(2):
        batch = corpus(6, seed, words=8)
        metric.update(*batch)
        peer.update(*batch)
    torch.testing.assert_close(metric.compute(), peer.compute())
    for name in peer._defaults.keys() - {"sentence_chrf_score"}:
        torch.testing.assert_close(getattr(metric, name), getattr(peer, name))
    kept = torch.cat(metric.sentence_chrf_score), torch.cat(peer.sentence_chrf_score)
    torch.testing.assert_close(*kept)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_corpora_score_as_in_sacrebleu(option):
    preds, target = corpus(40)
    peer = sacrebleu.CHRF(
        char_order=option.get("n_char_order", 6),
        word_order=option.get("n_word_order", 2),
        beta=option.get("beta", 2.0),
        lowercase=option.get("lowercase", False),
        whitespace=option.get("whitespace", False),
        eps_smoothing=True,
    )
    # sacrebleu wants as many references everywhere.
    target = [[references[0], references[-1]] for references in target]
    expected = peer.corpus_score(preds, [*map(list, zip(*target, strict=True))]).score
    each = [peer.sentence_score(p, t).score for p, t in zip(preds, target, strict=True)]
    value, scores = chrf_score(preds, target, return_sentence_level_score=True, **option)
    assert float(value) == pytest.approx(expected / 100, rel=1e-5)
    assert scores.tolist() == pytest.approx([score / 100 for score in each], rel=1e-5)


def test_collections_count_once_for_all_that_read_the_same(monkeypatch):
    calls = []

    def counted(rows, *args):
        calls.append(args[3:5])
        chrf_rows(rows, *args)

    monkeypatch.setattr(chrf, "chrf_rows", counted)
    metrics = MetricCollection(
        {
            "corpus": CHRFScore(),
            "each": CHRFScore(return_sentence_level_score=True),
            "plain": CHRFScore(n_word_order=0),
        }
    )
    batch = corpus(10)
    metrics.update(*batch)
    values = metrics.compute()
    assert sorted(calls) == [(6, 0), (6, 2)]
    torch.testing.assert_close(values["corpus"], chrf_score(*batch))
    assert len(values["each_1"] if "each_1" in values else values["each"][1]) == 10


def test_no_samples():
    value, scores = chrf_score([], [], return_sentence_level_score=True)
    assert value == 0
    assert scores.shape == (0,)
    assert chrf_score("", [""]) == 0


def test_weights_count_samples_so_often():
    preds, target = corpus(4)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0])
    often = [0, 1, 1, 3]
    value = chrf_score(preds, target, weight=weight)
    expected = chrf_score([preds[i] for i in often], [target[i] for i in often])
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("each", [False, True])
def test_checkpoints_go_both_ways(each):
    batch = corpus(5, words=8)
    metric = CHRFScore(return_sentence_level_score=each)
    peer = torchmetrics.text.CHRFScore(return_sentence_level_score=each)
    peer.persistent(True)
    peer.update(*batch)
    metric.load_state_dict(peer.state_dict())
    torch.testing.assert_close(metric.compute(), peer.compute())
    written = CHRFScore(return_sentence_level_score=each)
    written.persistent("torchmetrics")
    written.update(*batch)
    peer = torchmetrics.text.CHRFScore(return_sentence_level_score=each)
    peer.persistent(True)
    peer.load_state_dict(written.state_dict(), strict=True)
    torch.testing.assert_close(peer.compute(), written.compute())


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"n_char_order": 0}, "`n_char_order` must be an integer of at least 1, got 0"),
        ({"n_word_order": -1}, "`n_word_order` must be an integer of at least 0, got -1"),
        ({"beta": -1.0}, r"`beta` must lie in \[0, 1e150\], got -1.0"),
        ({"beta": 1e151}, r"`beta` must lie in \[0, 1e150\], got 1e\+151"),
        ({"beta": float("nan")}, r"`beta` must lie in \[0, 1e150\], got nan"),
    ],
    ids=str,
)
def test_bad_options_are_named(option, error):
    with pytest.raises(ValueError, match=error):
        CHRFScore(**option)
