"""Edits of characters, words, translations and answers: their values, whoever works them out."""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import jiwer
import nltk
import pytest
import torch
import torchmetrics.functional.text as upstream
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Indel, Levenshtein
from sacrebleu.metrics import TER

import fastmetrics.functional.text as text
from fastmetrics.ops import backend, edits
from fastmetrics.ops.edits import EDITS, Edits
from fastmetrics.ops.extended_edits import ExtendedEdits
from fastmetrics.ops.shifts import Shifts

RATES = (
    "word_error_rate",
    "char_error_rate",
    "match_error_rate",
    "word_information_lost",
    "word_information_preserved",
)
# Code points of one byte, two and four: marks that combine, right to left, all sorts of blanks.
ALPHABET = "ab é\u0301жא\u200f猫𝄞🏳\u2003\x85\x1c\n"
texts = st.text(ALPHABET, max_size=80) | st.text(max_size=20)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=4)


def by_reference(statistic: Any, preds: Any, target: Any) -> torch.Tensor:
    compiled, backend.native = backend.native, None
    try:
        return statistic.rows_of(preds, target)
    finally:
        backend.native = compiled


def noisy(text: str, rng: random.Random, share: float = 0.1) -> str:
    symbols = [rng.choice("abcd ") if rng.random() < share else each for each in text]
    start = rng.randrange(len(symbols) + 1)
    return "".join(symbols[start:] + symbols[:start]) if rng.random() < 0.3 else "".join(symbols)


@pytest.mark.smoke
def test_blanks_are_those_of_python(native):
    """The compiled kernel splits where `str.split` does, for every code point there is."""
    blanks = [i for i in range(sys.maxunicode + 1) if chr(i).isspace()]
    for i in [*blanks, *(i + d for i in blanks for d in (-1, 1)), 0x10FFFF, 0xD800]:
        rows = Edits(words=True).rows_of([f"a{chr(i)}b"], ["a"])
        assert rows[0, 2] == len(f"a{chr(i)}b".split()), hex(i)


@settings(max_examples=150, deadline=None)
@given(pairs, st.booleans(), st.integers(0, 3))
def test_every_implementation_finds_the_same_edits(batch, words, substitution):
    preds, target = [p for p, _ in batch], [t for _, t in batch]
    statistic = Edits(words, substitution)
    found = statistic.rows_of(preds, target)
    torch.testing.assert_close(found, by_reference(statistic, preds, target), rtol=0, atol=0)
    split = [(p.split(), t.split()) if words else (p, t) for p, t in batch]
    if substitution == 1:
        assert found[:, EDITS].tolist() == [Levenshtein.distance(p, t) for p, t in split]
    if substitution > 1:
        assert found[:, EDITS].tolist() == [Indel.distance(p, t) for p, t in split]


@pytest.mark.parametrize("length", [63, 64, 65, 127, 128, 129, 400, 3000])
@pytest.mark.parametrize("alphabet", ["ab", "abcdefgh ", "ab猫", "ab𝄞"])
def test_long_texts(length, alphabet):
    rng = random.Random(length)
    for share in (0.02, 0.3, 1.0):
        target = "".join(rng.choices(alphabet, k=length))
        preds = noisy(target, rng, share)[rng.randrange(30) :]
        rows = Edits(words=False).rows_of(preds, target)
        assert rows[0, EDITS] == Levenshtein.distance(preds, target)
        rows = Edits(words=False, substitution=2).rows_of(preds, target)
        assert rows[0, EDITS] == Indel.distance(preds, target)
        rows = Edits(words=True).rows_of(preds, target)
        assert rows[0, EDITS] == Levenshtein.distance(preds.split(), target.split())


@pytest.mark.exhaustive
def test_a_million_characters():
    rng = random.Random(0)
    target = "".join(rng.choices("abc 猫", k=1_000_000))
    preds = target[:500_000] + "x" + target[500_003:] + "yy"
    assert Edits(words=False).rows_of(preds, target)[0].tolist()[:3] == [5, 1_000_000, 1_000_000]


@pytest.mark.exhaustive
def test_a_hundred_thousand_random_calls():
    rng = random.Random(0)
    for _ in range(100_000):
        p, t = ("".join(rng.choices(ALPHABET, k=rng.randrange(20))) for _ in range(2))
        words, cost = rng.random() < 0.5, rng.randrange(4)
        rows = Edits(words, cost).rows_of(p, t)[0].tolist()
        left, right = (p.split(), t.split()) if words else (p, t)
        assert rows[1:] == [len(right), len(left), max(len(left), len(right)), 1]
        if cost == 1:
            assert rows[0] == Levenshtein.distance(left, right)


def sentences(count: int, rng: random.Random, longest: int = 12) -> list[str]:
    words = "the a cat sat on mat dog is it not , was . big".split()  # noqa: SIM905
    return [" ".join(rng.choices(words, k=rng.randint(1, longest))) for _ in range(count)]


@pytest.mark.parametrize("name", RATES)
def test_rates_are_those_of_torchmetrics(name):
    rng = random.Random(1)
    for count in (1, 2, 20):
        target, preds = sentences(count, rng), sentences(count, rng)
        preds[0] = ""
        ours, theirs = (getattr(home, name)(preds, target) for home in (text, upstream))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)
        mean, each = getattr(text, name)(preds, target, return_sentence_level_score=True)
        torch.testing.assert_close(mean, ours, equal_nan=True)
        alone = [getattr(text, name)(p, t) for p, t in zip(preds, target, strict=True)]
        torch.testing.assert_close(each, torch.stack(alone), equal_nan=True)


def test_error_rates_are_those_of_jiwer():
    rng = random.Random(2)
    target, preds = sentences(30, rng), sentences(30, rng)
    assert float(text.word_error_rate(preds, target)) == pytest.approx(jiwer.wer(target, preds))
    longer = sum(max(len(p.split()), len(t.split())) for p, t in zip(preds, target, strict=True))
    edits = jiwer.wer(target, preds) * sum(len(t.split()) for t in target)
    assert float(text.match_error_rate(preds, target)) == pytest.approx(edits / longer)
    assert float(text.char_error_rate(preds, target)) == pytest.approx(jiwer.cer(target, preds))


@pytest.mark.parametrize("cost", [0, 1, 2, 5])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", None])
def test_edit_distances_are_those_of_torchmetrics(cost, reduction):
    rng = random.Random(3)
    target, preds = sentences(10, rng, 4), sentences(10, rng, 4)
    ours, theirs = (f.edit_distance(preds, target, cost, reduction) for f in (text, upstream))
    torch.testing.assert_close(ours, theirs)


def test_the_edit_distance_is_the_least_however_long_texts_are():
    """Torchmetrics looks near the diagonal only; docs/differences.md."""
    target = "b" * 60 + "a" * 60
    preds = "a" * 60 + "b" * 60
    exact = Levenshtein.distance(preds, target)
    assert float(text.edit_distance(preds, target)) == exact
    assert float(upstream.edit_distance(preds, target)) >= exact


TER_OPTIONS = [
    {},
    {"normalize": True},
    {"no_punctuation": True, "lowercase": False},
    {"normalize": True, "no_punctuation": True, "asian_support": True},
]


def moved(sentence: str, rng: random.Random) -> str:
    """Return a sentence with a phrase elsewhere and a word changed."""
    words = sentence.split()
    start, size = rng.randrange(len(words)), rng.randint(1, 4)
    phrase = words[start : start + size]
    del words[start : start + size]
    place = rng.randint(0, len(words))
    words[place:place] = phrase
    words[rng.randrange(len(words))] = rng.choice(["dog", "the", "Zebra"])
    return " ".join(words)


@pytest.mark.parametrize("options", TER_OPTIONS)
def test_translation_edits_are_those_of_torchmetrics(options):
    rng = random.Random(4)
    target = [sentences(rng.randint(1, 2), rng, 8) for _ in range(5)]
    preds = [moved(rng.choice(each), rng) for each in target]
    target[1] = [""]
    mean, each = text.translation_edit_rate(
        preds, target, **options, return_sentence_level_score=True
    )
    theirs = upstream.translation_edit_rate(
        preds, target, **options, return_sentence_level_score=True
    )
    torch.testing.assert_close((mean, each), (theirs[0], torch.cat(theirs[1])))
    statistic = Shifts(**options)
    rows = statistic.rows_of(preds, target)
    torch.testing.assert_close(rows, by_reference(statistic, preds, target))


def test_all_words_are_missing_from_an_empty_prediction():
    """As in sacrebleu; torchmetrics counts no edits, docs/differences.md."""
    for reference in ("a", "a b c"):
        assert float(text.translation_edit_rate("", [[reference]])) == 1.0
        assert TER().sentence_score("", [reference]).score == 100.0
    assert float(text.translation_edit_rate("", [[""]])) == 0.0


@pytest.mark.exhaustive
def test_translation_edits_of_sentences_far_apart_in_length():
    """There the beam is wider, and moves reach less far than the sentence."""
    rng = random.Random(5)
    target = [*sentences(1, rng, 5), " ".join(sentences(12, rng))]
    preds = [" ".join(sentences(14, rng)), " ".join(reversed(target[1].split()))]
    ours = text.translation_edit_rate(preds, [[each] for each in target])
    theirs = upstream.translation_edit_rate(preds, [[each] for each in target])
    torch.testing.assert_close(ours, theirs)


def test_translation_edits_are_those_of_sacrebleu_with_both_sides_exchanged():
    """Sacrebleu edits the prediction into the reference; docs/differences.md."""
    rng = random.Random(6)
    for _ in range(40):
        reference = sentences(1, rng)[0]
        prediction = moved(reference, rng)
        theirs = TER().sentence_score(reference, [prediction])
        ours = text.translation_edit_rate([prediction], [[reference]])
        edits = float(ours) * len(reference.split())
        assert edits == pytest.approx(theirs.score / 100 * len(prediction.split()), abs=1e-4)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_extended_edits_are_those_of_torchmetrics(language):
    rng = random.Random(7)
    target = [sentences(rng.randint(1, 2), rng, 6) for _ in range(5)]
    preds = [moved(each[0], rng) + " e.g. Dr. 3 . 5 ﾊ" for each in target]
    ours, theirs = (
        home.extended_edit_distance(preds, target, language, True, 1.5, 0.2, 0.3, 0.9)
        for home in (text, upstream)
    )
    torch.testing.assert_close(ours, theirs)
    statistic = ExtendedEdits(language)
    rows = statistic.rows_of(preds, target)
    torch.testing.assert_close(rows, by_reference(statistic, preds, target), rtol=0, atol=0)


@settings(max_examples=60, deadline=None)
@given(texts.filter(bool), texts.filter(bool), st.integers(0, 3))
def test_edit_distances_are_those_of_nltk(preds, target, cost):
    expected = nltk.edit_distance(preds, target, substitution_cost=cost)
    assert text.edit_distance(preds, target, cost, reduction="sum") == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=2, max_size=3))
def test_translations_of_any_characters(batch):
    preds, target = [p for p, _ in batch], [t for _, t in batch]
    for statistic in (Shifts(normalize=True), ExtendedEdits("en"), ExtendedEdits("ja")):
        rows = statistic.rows_of(preds, target)
        torch.testing.assert_close(rows, by_reference(statistic, preds, target), rtol=0, atol=0)


def test_answers_are_those_of_torchmetrics():
    rng = random.Random(8)
    given = [f"{each}{rng.choice(['!', ' —a—', ' The'])}" for each in sentences(20, rng, 3)]
    preds = [{"id": f"{i}", "prediction_text": each} for i, each in enumerate(given)]
    target = [
        {
            "id": f"{i}",
            "answers": {"text": sentences(rng.randint(1, 3), rng, 3), "answer_start": []},
        }
        for i in range(22)
    ]
    target[5]["answers"]["text"] = [given[5], ""]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = (home.squad(preds, target) for home in (text, upstream))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-4)
    with pytest.warns(UserWarning, match="'21' has no answer"):
        text.squad(preds, target)


@pytest.mark.parametrize("words", [True, False])
def test_threads_do_not_matter(words):
    rng = random.Random(9)
    target, preds = sentences(2000, rng, 40), sentences(2000, rng, 40)
    found = []
    for threads in (1, 4):
        torch.set_num_threads(threads)
        found.append(Edits(words).rows_of(preds, target))
    assert torch.equal(*found)


def test_steps_are_those_of_rapidfuzz():
    rng = random.Random(10)
    names = {"replace": "S", "delete": "D", "insert": "I", "equal": "="}
    for length in (5, 30, 200):
        for _ in range(10):
            target = "".join(rng.choices("abc 猫", k=length))
            preds = noisy(target, rng, 0.3)[rng.randrange(4) :]
            for words in (False, True):
                p, t = (preds.split(), target.split()) if words else (preds, target)
                steps = "".join(
                    names[code.tag]
                    * max(code.src_end - code.src_start, code.dest_end - code.dest_start)
                    for code in Levenshtein.opcodes(t, p)
                )
                found = text.edit_operations(preds, target, words)
                assert found.steps == [steps]
                if length < 100:
                    assert edits.steps_between(p, t) == steps
                edited = [wanted for _, wanted, _ in found.aligned(0) if wanted]
                assert edited == [*t]


def test_texts_that_are_too_long_to_be_aligned_are_named(native):
    """Also by a thread of its own, which cannot raise."""
    long = ["".join(random.Random(seed).choices("abc ", k=70_000)) for seed in range(2)]
    for others in ([], ["a"], ["a"] * 20):
        with pytest.raises(ValueError, match=rf"`target`.*70000 .* at position {len(others)}\."):
            text.edit_operations([*others, long[0]], [*others, long[1]], words=False)


def test_counts_of_steps_are_those_of_jiwer():
    rng = random.Random(11)
    target, preds = sentences(20, rng), sentences(20, rng)
    counts = text.edit_operations(preds, target).counts
    theirs = jiwer.process_words(target, preds)
    assert (counts["="], counts["S"]) == (theirs.hits, theirs.substitutions)
    assert (counts["D"], counts["I"]) == (theirs.deletions, theirs.insertions)


def test_weights_are_those_of_samples():
    preds, target = ["a b c", "a", "x y"], ["a b d", "b", "x y"]
    weight = torch.tensor([0.5, 2.0, 1.0])
    assert float(text.word_error_rate(preds, target, weight=weight)) == pytest.approx(2.5 / 5.5)
    twice = text.word_error_rate(preds + preds[:1], target + target[:1])
    weighted = text.word_error_rate(preds, target, weight=torch.tensor([2, 1, 1]))
    assert torch.equal(twice, weighted)
    mean = text.edit_distance(["ab", "a"], ["b", "a"], weight=torch.tensor([3.0, 1.0]))
    assert float(mean) == 0.75
    for reduction in ("sum", None):
        with pytest.raises(ValueError, match="`weight` needs `reduction` to be 'mean'"):
            text.edit_distance("a", "b", reduction=reduction, weight=torch.ones(1))
