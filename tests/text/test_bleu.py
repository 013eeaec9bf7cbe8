"""BLEU: tokens and scores are those of torchmetrics and of sacrebleu."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType

import pytest
import sacrebleu
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu
from torchmetrics.functional.text.sacre_bleu import _SacreBLEUTokenizer

from fastmetrics import MetricCollection
from fastmetrics.functional.text import bleu_score, sacre_bleu_score
from fastmetrics.ops import ngrams, tokens
from fastmetrics.ops.ngrams import NGrams, ngram_rows
from fastmetrics.ops.strings import KERNELS
from fastmetrics.text import BLEUScore, SacreBLEUScore
from tests.text.lines import corpus, lines, samples

TOKENIZERS = ("none", "13a", "zh", "intl", "char")
OPTIONS = (
    {},
    {"n_gram": 1},
    {"n_gram": 6},
    {"smooth": True},
    {"n_gram": 2, "weights": [0.3, 0.7]},
    {"smooth": True, "n_gram": 3, "weights": [1.0, 0.0, 2.0]},
)


def rows_of(function, n_gram, statistic, preds, target):
    """The rows that an implementation fills."""
    flat = [line for references in target for line in references]
    texts, *rest = tokens.for_kernels((preds, flat), statistic.tokenizer, statistic.lowercase)
    rows = torch.full((len(preds), 2 * n_gram + 3), torch.nan, dtype=torch.float64)
    function(rows, *texts, [*map(len, target)], n_gram, *rest)
    return rows


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(line=lines)
def test_tokens_are_those_of_torchmetrics(tokenizer, lowercase, line):
    found = tokens.spaced(line, tokenizer, lowercase).split()
    assert found == _SacreBLEUTokenizer.tokenize(line, tokenizer, lowercase)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(texts=samples(), n_gram=st.integers(1, 5))
def test_kernel_and_reference_agree(tokenizer, lowercase, texts, n_gram):
    statistic = NGrams(n_gram, tokenizer, lowercase)
    rows = [rows_of(f, n_gram, statistic, *texts) for f in (ngram_rows, KERNELS["ngram_rows"])]
    assert torch.equal(*rows)


def test_every_character_is_lowered_as_python_does():
    points = [chr(point) for point in range(0x110000) if chr(point) != "Σ"]
    lowered = [point.lower() for point in points]
    tokens = NGrams(1, "none", lowercase=True), NGrams(1, "none")
    rows = [
        rows_of(ngram_rows, 1, statistic, [" ".join(points)], [[" ".join(lowered)]])
        for statistic in tokens
    ]
    assert rows[0][0, 0] == rows[0][0, 1] == len(" ".join(lowered).split())
    assert rows[1][0, 0] < rows[0][0, 0]


@settings(max_examples=40, deadline=None)
@given(texts=samples(), option=st.sampled_from(OPTIONS))
def test_bleu_is_that_of_torchmetrics(texts, option):
    expected = torchmetrics.functional.text.bleu_score(*texts, **option)
    torch.testing.assert_close(bleu_score(*texts, **option), expected)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_classes_are_those_of_torchmetrics(tokenizer, option):
    option = {**option, "tokenize": tokenizer, "lowercase": "smooth" in option}
    metric, peer = SacreBLEUScore(**option), torchmetrics.text.SacreBLEUScore(**option)
    for seed in range(2):
        batch = corpus(20, seed)
        torch.testing.assert_close(metric(*batch), peer(*batch))
    torch.testing.assert_close(metric.compute(), peer.compute())
    for name in ("numerator", "denominator", "preds_len", "target_len"):
        torch.testing.assert_close(getattr(metric, name), getattr(peer, name))


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_corpora_score_as_in_sacrebleu(tokenizer, lowercase):
    preds, target = corpus(50, references=1)
    peer = sacrebleu.BLEU(tokenize=tokenizer, lowercase=lowercase, smooth_method="none", force=True)
    expected = peer.corpus_score(preds, [[line for (line,) in target]])
    value = sacre_bleu_score(preds, target, tokenize=tokenizer, lowercase=lowercase)
    assert float(value) == pytest.approx(expected.score / 100, rel=1e-6)


def test_corpora_score_as_in_nltk():
    """Which takes short sentences to have one n-gram, and of two lengths as close the shorter."""
    preds, target = corpus(50, references=1)
    long = [i for i, line in enumerate(preds) if len(line.split()) > 3]
    preds, target = [preds[i] for i in long], [target[i] for i in long]
    for weights in (None, [0.4, 0.3, 0.3]):
        split = [[line.split() for line in references] for references in target]
        theirs = corpus_bleu(split, [line.split() for line in preds], weights or [0.25] * 4)
        n_gram = len(weights) if weights else 4
        found = bleu_score(preds, target, n_gram, weights=weights)
        assert float(found) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("tokenizer", ["ja-mecab", "ko-mecab"])
def test_taggers_of_other_packages(tokenizer):
    lines = ["猫が好きです。", "나는 고양이를 좋아한다", "", "the cat"]
    target = [["犬が好きです。"], ["나는 개를 좋아한다"], ["a"], ["the cat"]]
    peer = torchmetrics.functional.text.sacre_bleu_score
    expected = peer(lines, target, n_gram=2, tokenize=tokenizer)
    value = sacre_bleu_score(lines, target, n_gram=2, tokenize=tokenizer)
    torch.testing.assert_close(value, expected)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(tokens.tempfile, "gettempdir", lambda: "/nowhere")
    monkeypatch.setattr(tokens.Path, "home", lambda: tokens.Path("/nowhere"))
    monkeypatch.setitem(sys.modules, "sentencepiece", ModuleType("sentencepiece"))
    tokens._pieces.cache_clear()
    with pytest.raises(FileNotFoundError, match="'flores200' needs a sentencepiece model"):
        SacreBLEUScore(tokenize="flores200")
    tokens._tagger.cache_clear()
    monkeypatch.setitem(sys.modules, "MeCab", None)
    with pytest.raises(ModuleNotFoundError, match="pip install mecab-python3"):
        SacreBLEUScore(tokenize="ja-mecab")
    with pytest.raises(ValueError, match=r"`tokenize` must be one of .*, got 'words'"):
        SacreBLEUScore(tokenize="words")


def test_classes_of_characters_without_regex(monkeypatch):
    found = tokens.classes()
    monkeypatch.setattr(tokens.importlib.util, "find_spec", lambda name: None)
    here = tokens.classes.__wrapped__()
    known = [i for i, (a, b) in enumerate(zip(here, found, strict=True)) if a]
    assert len(known) > 10_000
    assert all(here[i] == found[i] for i in known)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((["a"], [["a"], ["b"]]), "`preds` and `target` must have the same length, got 1 and 2"),
        ((["a", "b"], [["a"], []]), "`target` must hold references, got none at position 1"),
        ((["a", None], [["a"], ["b"]]), "`preds` must hold strings, got NoneType at position 1"),
        (
            (["a"], [["a", b"b"]]),
            "`target` must hold strings, got bytes at position 0, reference 1",
        ),
        ((3, ["a"]), "`preds` must be a string or a sequence of strings, got int"),
    ],
    ids=str,
)
def test_bad_texts_leave_no_trace(arguments, error):
    for metric in (BLEUScore(), SacreBLEUScore()):
        metric.update(["a b c d"], [["a b c d"]])
        with pytest.raises(ValueError, match=error):
            metric.update(*arguments)
        assert metric.update_count == 1
        assert metric.compute() == 1


def test_scores_beyond_all_numbers_are_infinite():
    texts = ["a b c d e"], [["a b c d f"]]
    for weights in ([-1000.0] * 4, [-300.0] * 4):
        expected = torchmetrics.functional.text.bleu_score(*texts, weights=weights)
        assert torch.equal(bleu_score(*texts, weights=weights), expected)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="`weights` must hold a weight for each n"):
        BLEUScore(weights=[1.0])
    with pytest.raises(ValueError, match="`n_gram` must be an integer of at least 1, got 0"):
        bleu_score("a", ["a"], n_gram=0)


def test_collections_tokenize_once(monkeypatch):
    calls = []

    def counted(rows, *args):
        calls.append(args[3])
        ngram_rows(rows, *args)

    monkeypatch.setattr(ngrams, "ngram_rows", counted)
    metrics = MetricCollection(
        {
            "bleu": SacreBLEUScore(),
            "smooth": SacreBLEUScore(smooth=True),
            "short": SacreBLEUScore(n_gram=2),
            "none": BLEUScore(),
        }
    )
    batch = corpus(20)
    metrics.update(*batch)
    values = metrics.compute()
    assert calls == [4, 4]  # 13a and none
    torch.testing.assert_close(values["short"], sacre_bleu_score(*batch, n_gram=2))
    torch.testing.assert_close(values["smooth"], sacre_bleu_score(*batch, smooth=True))


def test_weights_count_samples_so_often():
    preds, target = corpus(6)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 1.0])
    often = [i for i, times in enumerate(weight.long().tolist()) for _ in range(times)]
    value = bleu_score(preds, target, weight=weight)
    expected = bleu_score([preds[i] for i in often], [target[i] for i in often])
    torch.testing.assert_close(value, expected)


def test_checkpoints_go_both_ways():
    batch = corpus(20)
    metric, peer = SacreBLEUScore(), torchmetrics.text.SacreBLEUScore()
    peer.persistent(True)
    peer.update(*batch)
    metric.load_state_dict(peer.state_dict())
    torch.testing.assert_close(metric.compute(), peer.compute())
    written = SacreBLEUScore()
    written.persistent("torchmetrics")
    written.update(*batch)
    peer = torchmetrics.text.SacreBLEUScore()
    peer.persistent(True)
    peer.load_state_dict(written.state_dict(), strict=True)
    torch.testing.assert_close(peer.compute(), metric.compute())


def test_pickles_count_on():
    metric = SacreBLEUScore(tokenize="intl", lowercase=True)
    metric.update(*corpus(5))
    again = pickle.loads(pickle.dumps(metric))
    again.update(*corpus(5, seed=1))
    metric.update(*corpus(5, seed=1))
    assert again.compute() == metric.compute()


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_long_and_empty_lines(size):
    line = " ".join(map(str, range(size)))
    assert sacre_bleu_score(line, [line, "", "x"]) == (size > 3)
    assert sacre_bleu_score("", [line]) == 0
