"""ROUGE: scores are those of torchmetrics and of rouge-score."""

from __future__ import annotations

import random
import re
import sys
import warnings

import nltk
import pytest
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize.punkt import PunktSentenceTokenizer
from rouge_score.rouge_scorer import RougeScorer

from fastmetrics import MetricCollection
from fastmetrics.functional.text import rouge_score
from fastmetrics.ops import rouge
from fastmetrics.ops.rouge import SUBSEQUENCE, SUMMARY, Rouge, rouge_rows
from fastmetrics.ops.strings import KERNELS
from fastmetrics.text import ROUGEScore
from tests.text.lines import corpus, samples

KEYS = ("rouge1", "rouge2", "rouge4", "rougeL", "rougeLsum")
OPTIONS = (
    {},
    {"accumulate": "avg"},
    {"use_stemmer": True},
    {"normalizer": str.upper},
    {"tokenizer": list},
    {"normalizer": str.lower, "tokenizer": re.compile(r"\w\w?").findall, "accumulate": "avg"},
)
peer_module = torchmetrics.functional.text.rouge


@pytest.fixture(autouse=True)
def no_data_of_nltk(monkeypatch):
    """Both sides split at line ends, whatever is installed."""
    monkeypatch.setattr(peer_module, "_split_sentence", rouge.at_line_ends)
    monkeypatch.setattr(rouge, "sentence_splitter", lambda: rouge.at_line_ends)


def summaries(size, seed=0, sentences=4):
    """Texts of several lines, and references."""
    chosen = random.Random(seed)
    preds, target = corpus(size * sentences, seed, words=12)
    groups = [range(i, i + chosen.randint(1, sentences)) for i in range(0, len(preds), sentences)]
    return (
        ["\n".join(preds[i] for i in group) for group in groups],
        [["\n".join(target[i][k] for i in group) for k in (0, -1)] for group in groups],
    )


def rows_of(function, statistic, preds, target):
    """The rows that an implementation fills."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rouge, "rouge_rows", function)
        return statistic.rows_of(preds, target)


@pytest.mark.parametrize("average", [False, True])
@settings(max_examples=60, deadline=None)
@given(texts=samples(), option=st.sampled_from([{}, {"stem": True}, {"tokenizer": list}]))
def test_kernel_and_reference_agree(average, texts, option):
    statistic = Rouge((1, 2, SUBSEQUENCE, SUMMARY, 3), average, **option)
    found = [rows_of(f, statistic, *texts) for f in (rouge_rows, KERNELS["rouge_rows"])]
    torch.testing.assert_close(*found, rtol=1e-14, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=st.tuples(st.integers(0, 200), st.integers(0, 200)))
def test_long_texts_of_few_words(seed, lengths):
    chosen = random.Random(seed)

    def text(length):
        words = chosen.choices("abcd", k=length)
        return "".join(word + chosen.choice("  \n") for word in words)

    preds, target = [text(lengths[0])], [[text(lengths[1])]]
    statistic = Rouge((SUBSEQUENCE, SUMMARY))
    found = [rows_of(f, statistic, preds, target) for f in (rouge_rows, KERNELS["rouge_rows"])]
    assert torch.equal(*found)


@settings(max_examples=40, deadline=None)
@given(texts=samples(), option=st.sampled_from(OPTIONS))
def test_values_are_those_of_torchmetrics(texts, option):
    expected = torchmetrics.functional.text.rouge_score(*texts, rouge_keys=KEYS, **option)
    found = rouge_score(*texts, rouge_keys=KEYS, **option)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: "-".join(option) or "plain")
def test_classes_are_those_of_torchmetrics(option, monkeypatch):
    monkeypatch.setattr(nltk, "sent_tokenize", rouge.at_line_ends)
    metric = ROUGEScore(rouge_keys=KEYS, **option)
    peer = torchmetrics.text.ROUGEScore(rouge_keys=KEYS, **option)
    for seed in range(2):
        batch = summaries(8, seed)
        torch.testing.assert_close(metric(*batch), peer(*batch))
    torch.testing.assert_close(metric.compute(), peer.compute())


@pytest.mark.parametrize("use_stemmer", [False, True])
def test_scores_are_those_of_rouge_score(use_stemmer):
    preds, target = summaries(20)
    scorer = RougeScorer([*KEYS], use_stemmer=use_stemmer)
    expected = [
        scorer.score(references[0], line) for line, references in zip(preds, target, strict=True)
    ]
    found = rouge_score(preds, [t[:1] for t in target], use_stemmer=use_stemmer, rouge_keys=KEYS)
    for key in KEYS:
        for score in ("fmeasure", "precision", "recall"):
            mean = sum(getattr(each[key], score) for each in expected) / len(expected)
            assert float(found[f"{key}_{score}"]) == pytest.approx(mean, rel=1e-6)


def test_sentences_are_those_of_nltk_where_its_data_is_there(monkeypatch, tmp_path):
    monkeypatch.undo()
    preds, target = summaries(6)
    preds = [line.replace("\n", " ") for line in preds]
    target = [[line.replace("\n", " ") for line in references] for references in target]
    monkeypatch.setattr(nltk, "sent_tokenize", PunktSentenceTokenizer().tokenize)
    (tmp_path / "tokenizers" / "punkt_tab").mkdir(parents=True)
    monkeypatch.setattr(nltk.data, "path", ["elsewhere", str(tmp_path)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rouge_score(preds, target, rouge_keys="rougeLsum")
    expected = torchmetrics.functional.text.rouge_score(preds, target, rouge_keys="rougeLsum")
    torch.testing.assert_close(found, expected)
    assert len(PunktSentenceTokenizer().tokenize(preds[0])) > 1


def test_without_data_of_nltk_lines_are_sentences(monkeypatch, tmp_path):
    monkeypatch.undo()
    (tmp_path / "tokenizers" / "punkt").mkdir(parents=True)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.warns(UserWarning, match="takes each line for a sentence"):
        assert rouge.sentence_splitter() is rouge.at_line_ends


def test_without_nltk_there_is_no_stemmer(monkeypatch):
    rouge.porter.cache_clear()
    monkeypatch.setitem(sys.modules, "nltk.stem.porter", None)
    with pytest.raises(ModuleNotFoundError, match="pip install nltk"):
        ROUGEScore(use_stemmer=True)


def test_collections_score_once_for_equal_options():
    metrics = MetricCollection(
        {"one": ROUGEScore(), "two": ROUGEScore(), "stem": ROUGEScore(use_stemmer=True)},
        compute_groups=True,
    )
    metrics.update(*summaries(4))
    groups = sorted(sorted(group) for group in metrics.compute_groups.values())
    assert groups == [["one", "two"], ["stem"]]


def test_weights_count_samples_so_often():
    preds, target = summaries(4)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0])
    often = [0, 1, 1, 3]
    value = rouge_score(preds, target, weight=weight)
    expected = rouge_score([preds[i] for i in often], [target[i] for i in often])
    torch.testing.assert_close(value, expected)


def test_checkpoints_of_torchmetrics_are_read():
    batch = summaries(5)
    metric, peer = (
        ROUGEScore(rouge_keys=KEYS[:4]),
        torchmetrics.text.ROUGEScore(rouge_keys=KEYS[:4]),
    )
    peer.persistent(True)
    peer.update(*batch)
    metric.load_state_dict(peer.state_dict())
    torch.testing.assert_close(metric.compute(), peer.compute())
    with pytest.raises(ValueError, match="torchmetrics keeps every sample"):
        metric.persistent("torchmetrics")


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"rouge_keys": "rouge10"}, "`rouge_keys` must be one of .*, got 'rouge10'"),
        ({"rouge_keys": ()}, "`rouge_keys` must be one of"),
        ({"accumulate": "worst"}, "`accumulate` must be one of .*, got 'worst'"),
    ],
    ids=str,
)
def test_bad_options_are_named(option, error):
    with pytest.raises(ValueError, match=error):
        ROUGEScore(**option)


def test_no_samples_have_no_mean():
    values = rouge_score([], [])
    assert all(value.isnan() for value in values.values())
