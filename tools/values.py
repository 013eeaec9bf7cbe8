"""Every public metric and function on fixed inputs, as text that says each bit: did a value change?

    python -m tools.values --out before.txt             # in one checkout
    python path/to/tools/values.py --out after.txt      # in another, whose code has no such tool
    python -m tools.values --compare before.txt after.txt

The package is the one of the folder it is started in. Only public names are used: classes and
functions are found in `__all__`, and what they take by their signatures, so that a class that is
written anew is called as before. Numbers are written so that they can be read back exactly; of long
tensors the first ones and a checksum. NaN is NaN, whatever its bits.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import itertools
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Arguments = dict[str, Any]
Batch = tuple[Any, ...]
Inputs = dict[str, list[Batch]]

C = 3
SIZES = (37, 5, 64)
DOMAINS = ("classification", "regression", "aggregation")
TASKS = ("binary", "multiclass", "multilabel")
# Arguments that have no default, or that the inputs below need.
NEEDED: Arguments = {
    "num_classes": C,
    "num_labels": C,
    "num_groups": 2,
    "beta": 0.5,
    "min_recall": 0.5,
    "min_precision": 0.5,
    "min_sensitivity": 0.5,
    "min_specificity": 0.5,
    "p": 3.0,
    "threshold": 0.5,
}
# Values to try for an argument, beside its default; those of the second table are refused.
GRID: dict[str, list[Any]] = {
    "adjusted": [2],
    "alternative": ["less", "greater", None],
    "average": ["micro", "macro", "weighted", "none", None],
    "beta": [2.0],
    "fpr_range": [(0.01, 0.5)],
    "ignore_index": [0, -1],
    "input": ["probs", "logits"],
    "keep_sequence_dim": [0],
    "log_prob": [True],
    "max_fpr": [0.3],
    "min_precision": [0.9],
    "min_recall": [0.9],
    "min_sensitivity": [0.9],
    "min_specificity": [0.9],
    "multi_class": ["ovo"],
    "multiclass_mode": ["one-vs-all"],
    "multidim_average": ["samplewise"],
    "multioutput": ["raw_values", "variance_weighted"],
    "n_bins": [4],
    "nan_strategy": ["ignore", "disable", "error", 0.5],
    "norm": ["l2", "max"],
    "normalization": [None, "range", "std", "l2"],
    "normalize": ["true", "pred", "all"],
    "num_outputs": [2],
    "p": [1.0, 2.5],
    "power": [1.0, 1.5, 2.0, 3.0, -1.0],
    "reduction": ["mean", "sum", "none", None],
    "squared": [True, False],
    "t_test": [True],
    "threshold": [0.3],
    "thresholds": [7, [0.1, 0.4, 0.8], "auto"],
    "top_k": [2],
    "undefined": ["nan"],
    "validate_args": [False],
    "variant": ["a", "c"],
    "weights": ["linear", "quadratic"],
    "window": [2],
    "zero_division": [1.0, float("nan")],
}
REFUSED: dict[str, list[Any]] = {
    "average": ["no", "samples"],
    "beta": [-1.0],
    "fpr_range": [(0.5, 0.1)],
    "ignore_index": [1.5],
    "input": ["no"],
    "max_fpr": [2.0],
    "min_recall": [2.0],
    "multidim_average": ["no"],
    "multioutput": ["no"],
    "n_bins": [0],
    "nan_strategy": ["no"],
    "norm": ["no"],
    "normalize": ["no"],
    "num_classes": [1, None, "3"],
    "num_labels": [1, "3"],
    "num_outputs": [0],
    "p": [0.5],
    "power": [0.5],
    "reduction": ["no"],
    "squared": ["no"],
    "threshold": ["no", 2.0],
    "thresholds": [1, "no", [0.5, 2.0]],
    "top_k": [0, C + 1],
    "undefined": ["no"],
    "variant": ["no"],
    "weights": ["no"],
    "window": [0],
    "zero_division": [0.5],
}
# Keywords that a constructor may hand on, so that they do not stand in its signature.
HANDED_ON = ("ignore_index", "input", "thresholds", "undefined", "validate_args")
# Inputs with which each value of the grid is tried, with which pairs of them, and with which all.
WITH_ONE = ("probs", "labels", "multidim", "pairs", "columns", "numbers")
WITH_PAIRS = ("probs", "pairs", "numbers")


# Inputs


def rounded(x: Tensor) -> Tensor:
    return (x * 16).round() / 16


def scores_and_labels(task: str, generator: torch.Generator, size: int) -> dict[str, Batch]:
    """Inputs of one task, by name."""

    def make(*extra: int) -> tuple[Tensor, Tensor]:
        columns = () if task == "binary" else (C,)
        logits = torch.randn(size, *columns, *extra, generator=generator) * 2
        labels = (size, *extra) if task == "multiclass" else logits.shape
        upper = C if task == "multiclass" else 2
        return logits, torch.randint(upper, labels, generator=generator)

    def chances(x: Tensor) -> Tensor:
        return x.softmax(1) if task == "multiclass" else x.sigmoid()

    logits, target = make()
    probs = chances(logits)
    deep, deep_target = make(4)
    labels = probs.argmax(1) if task == "multiclass" else (probs > 0.5).long()
    with_ignored = target.masked_fill(torch.rand(target.shape, generator=generator) < 0.2, -1)
    nan = probs.clone().masked_fill(torch.rand(probs.shape, generator=generator) < 0.1, torch.nan)
    return {
        "probs": (probs, target),
        "logits": (logits, target),
        "labels": (labels, target),
        "multidim": (chances(deep), deep_target),
        "multidim labels": (deep.argmax(1) if task == "multiclass" else labels, deep_target)
        if task == "multiclass"
        else ((deep > 0).long(), deep_target),
        "ignored": (probs, with_ignored),
        "ties": (rounded(probs), target),
        "float64": (probs.double(), target.int()),
        "float16": (probs.half(), target.to(torch.uint8)),
        "bfloat16 logits": (logits.bfloat16(), target.to(torch.int16)),
        "strided": (
            torch.stack([probs, probs], -1)[..., 0],
            torch.stack([target, target], -1)[..., 0],
        ),
        "one label": (probs, torch.ones_like(target)),
        "other label": (probs, torch.zeros_like(target)),
        "nan": (nan, target),
        "infinite": (torch.where(logits > 3, torch.inf, logits), target),
        "empty": (probs[:0], target[:0]),
        "bad label": (probs, target + 5),
        "float target": (probs, target.float()),
        "short target": (probs, target[1:]),
        "no tensor": (probs.tolist(), target),
    }


def numbers(name: str, generator: torch.Generator, size: int) -> dict[str, Batch]:
    """Inputs of one regression metric, by name."""
    if name in ("kldivergence", "jensenshannondivergence", "cosinesimilarity"):
        preds, target = torch.randn(2, size, C, generator=generator).softmax(2)
    elif name == "continuousrankedprobabilityscore":
        preds, target = (
            torch.randn(size, 5, generator=generator),
            torch.randn(size, generator=generator),
        )
    elif name in ("meansquaredlogerror", "tweediedeviancescore"):
        preds, target = torch.rand(2, size, generator=generator) + 0.1
    else:
        target = torch.randn(size, generator=generator)
        preds = target + torch.randn(size, generator=generator) / 2
    second = torch.stack([preds, preds.flip(0)], -1), torch.stack([target, target * 2], -1)
    return {
        "pairs": (preds, target),
        "columns": second,
        "rows": (second[0].mT.contiguous(), second[1].mT.contiguous()),
        "ties": (rounded(preds), rounded(target)),
        "float64": (preds.double(), target.double()),
        "float16": (preds.half(), target.half()),
        "bfloat16": (preds.bfloat16(), target.bfloat16()),
        "mixed": (preds.double(), target),
        "whole": ((preds * 4).long(), (target * 4).long()),
        "strided": (second[0][..., 0], second[1][..., 0]),
        "constant": (torch.ones_like(preds), torch.ones_like(target)),
        "same": (target, target),
        "one": (preds[:1], target[:1]),
        "negative": (preds, -target),
        "nan": (torch.where(preds > preds.mean(), preds, torch.nan), target),
        "empty": (preds[:0], target[:0]),
        "short target": (preds, target[1:]),
        "no tensor": (preds.tolist(), target),
    }


def streams(generator: torch.Generator, size: int) -> dict[str, Batch]:
    values = torch.randn(size, generator=generator)
    return {
        "numbers": (values,),
        "table": (values.repeat(2, 1),),
        "float64": (values.double(),),
        "float16": (values.half(),),
        "whole": ((values * 4).long(),),
        "number": (values[0].item(),),
        "nan": (torch.where(values > 0, values, torch.nan),),
        "empty": (values[:0],),
        "no number": ("no",),
    }


def inputs_of(domain: str, name: str) -> Inputs:
    """Batches for a class or function, by the name of what they look like."""
    name = name.replace("_", "").lower()
    generator = torch.Generator().manual_seed(7)
    found: Inputs = {}
    for size in SIZES:
        if domain == "aggregation":
            batch = streams(generator, size)
        elif domain == "regression":
            batch = numbers(name, generator, size)
        else:
            task = next((task for task in TASKS if name.startswith(task)), "binary")
            batch = scores_and_labels(task, generator, size)
            groups = torch.randint(2, (size,), generator=generator)
            if name == "demographicparity":
                batch = {key: (preds, groups) for key, (preds, _) in batch.items()}
            elif re.search("fairness|group|equalopportunity", name):
                batch = {key: (*both, groups) for key, both in batch.items()}
            if name == "multiclassexactmatch":
                batch["probs"] = batch["multidim labels"]
        for key, each in batch.items():
            found.setdefault(key, []).append(each)
    return found


# What is called


def options_of(target: Callable[..., Any], data: int = 0) -> dict[str, inspect.Parameter]:
    """The arguments of a call, without the first ones, which are data."""
    parameters = list(inspect.signature(target).parameters.values())
    return {each.name: each for each in parameters[data:]}


def needed_by(target: Callable[..., Any], data: int = 0) -> Arguments:
    return {
        name: NEEDED[name]
        for name, each in options_of(target, data).items()
        if name in NEEDED and (each.default is each.empty or name in ("num_classes", "num_labels"))
    }


def taken(target: Callable[..., Any], needed: Arguments, data: int = 0) -> list[str]:
    """Names of the arguments that a call takes, handed on or not, in one order for all."""
    options = options_of(target, data)
    found = {name for name in options if name in GRID or name in NEEDED}
    if any(each.kind is each.VAR_KEYWORD for each in options.values()):
        found |= {name for name in HANDED_ON if takes(target, needed | {name: GRID[name][0]})}
    return sorted(found)


def takes(target: Callable[..., Any], arguments: Arguments) -> bool:
    try:
        target(**arguments)
    except (TypeError, ValueError):
        return False
    return True


def variants(
    target: Callable[..., Any], needed: Arguments, inputs: Inputs, data: int = 0
) -> Iterator[tuple[Arguments, list[str]]]:
    """Arguments to call something with, and the names of the inputs to do it with."""
    names = taken(target, needed, data)
    yield {}, list(inputs)
    values = [(name, value) for name in names for value in GRID.get(name, ())]
    some = [name for name in WITH_ONE if name in inputs]
    for name, value in values:
        extra = {"ignore_index": ["ignored"], "num_outputs": ["columns"], "nan_strategy": ["nan"]}
        more = [key for key in extra.get(name, ()) if key in inputs and key not in some]
        yield {name: value}, some + more
    few = [name for name in WITH_PAIRS if name in inputs]
    for (name, value), (other, another) in itertools.combinations(values, 2):
        if name != other:
            deep = "multidim_average" in (name, other) and "multidim" in inputs
            columns = {"num_outputs", "multioutput"} & {name, other}
            yield (
                {name: value, other: another},
                (["multidim"] if deep else ["columns"] if columns else few),
            )
    for name in names:
        for value in REFUSED.get(name, ()):
            yield {name: value}, few


def label(name: str, arguments: Arguments) -> str:
    return f"{name}({', '.join(f'{key}={arguments[key]!r}' for key in sorted(arguments))})"


def weights_for(batch: Batch) -> Tensor:
    """Weights of the samples of one batch, in steps that no sum has to round."""
    size = len(batch[-1]) if hasattr(batch[-1], "__len__") else 1
    return (torch.arange(size) % 5) / 4


# Results as text


def text(value: Any) -> str:
    """Say a value exactly: type, shape and numbers."""
    if isinstance(value, Tensor):
        return tensor_text(value.detach())
    if isinstance(value, dict):
        inside = ", ".join(f"{key}: {text(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(text, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return repr(value)


def tensor_text(value: Tensor) -> str:
    flat = value.cpu().reshape(-1)
    kind = f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if len(flat) <= 24:
        return " ".join([kind, *map(repr, flat.tolist())])
    if flat.is_floating_point():
        flat = torch.where(flat.isnan(), torch.nan, flat)
    content = flat.contiguous().view(torch.uint8).numpy().tobytes()
    first = " ".join(map(repr, flat[:6].tolist()))
    return f"{kind} {first} ... {hashlib.sha256(content).hexdigest()[:16]}"


# What a call returned that raised.
FAILED = object()


def is_silent(value: Any) -> bool:
    """Whether a value is not worth a line: what `update` and constructors return."""
    return value is None or isinstance(value, torch.nn.Module)


class Record(dict[str, str]):
    """What each call gave, by a readable name."""

    def call(self, key: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Note what a call returns or raises, and the warnings it gives; return the value."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                value = function(*args, **named)
                said, found = [], "" if is_silent(value) else text(value)
            except Exception as error:
                value, said, found = FAILED, [str(error)], f"raises {type(error).__name__}"
        if caught:
            found = f"{found} warns {sorted({each.category.__name__ for each in caught})}".strip()
            said += sorted({str(each.message) for each in caught})
        if found:
            self[key] = found
        if said:
            self[f"{key} says"] = "; ".join(said)
        return value


# The calls


def record_function(record: Record, name: str, function: Callable[..., Any], domain: str) -> None:
    inputs = inputs_of(domain, name)
    batch = next(iter(inputs.values()))[0]
    needed = needed_by(function, len(batch))
    weighted = "weight" in inspect.signature(function).parameters
    record[f"signature {name}"] = signature(function)
    for extra, keys in variants(function, needed, inputs, len(batch)):
        arguments = needed | extra
        for key in keys:
            batch = inputs[key][0]
            where = f"{label(name, arguments)} {key}"
            record.call(where, function, *batch, **arguments)
            if weighted and (not extra or key in WITH_PAIRS):
                weight = weights_for(batch)
                record.call(f"{where}, weighted", function, *batch, **arguments, weight=weight)
    for key in WITH_PAIRS:
        if key in inputs:
            where = f"{label(name, needed)} {key} gradient"
            record.call(where, gradient, function, inputs[key][0], needed)


def gradient(function: Callable[..., Any], batch: Batch, arguments: Arguments) -> Tensor | None:
    preds, *others = batch
    preds = preds.clone().requires_grad_()
    value = function(preds, *others, **arguments)
    if not isinstance(value, Tensor) or not value.requires_grad:
        return None
    return torch.autograd.grad(value.sum(), preds)[0]


def signature(target: Callable[..., Any]) -> str:
    """Names, kinds and defaults of the arguments."""
    parameters = inspect.signature(target).parameters.values()
    return ", ".join(
        f"{each.kind.name.lower()} {each.name}"
        + ("" if each.default is each.empty else f" = {each.default!r}")
        for each in parameters
    )


def record_class(record: Record, name: str, cls: type[Any], domain: str) -> None:
    inputs = inputs_of(domain, name)
    needed = needed_by(cls)
    record[f"signature {name}"] = signature(cls)
    for extra, keys in variants(cls, needed, inputs):
        arguments = needed | extra
        for key in keys:
            where = f"{label(name, arguments)} {key}"
            make = partial(cls, **arguments)
            record_stream(record, where, make, inputs[key])
            if not extra or key in WITH_PAIRS:
                record_stream(record, f"{where}, weighted", make, inputs[key], weighted=True)
    batches = next(iter(inputs.values()))
    record_life(record, label(name, needed), partial(cls, **needed), batches)


def record_stream(
    record: Record,
    where: str,
    make: Callable[[], Any],
    batches: list[Batch],
    weighted: bool = False,
) -> None:
    """Batches through ``forward`` and ``update``, the value, and the states."""
    metric = record.call(f"{where} made", make)
    if metric is FAILED:
        return
    for number, batch in enumerate(batches):
        step = metric.update if number == 1 else metric
        named = {"weight": weights_for(batch)} if weighted else {}
        if record.call(f"{where} batch {number}", step, *batch, **named) is FAILED:
            break
    record.call(where, metric.compute)
    metric.persistent(True)
    record.call(f"{where} states", metric.state_dict)


def record_life(record: Record, where: str, make: Callable[[], Any], batches: list[Batch]) -> None:
    """What a metric is before, after and beside its batches."""
    metric = make()
    facts = ("higher_is_better", "is_differentiable", "full_state_update", "plot_lower_bound")
    record[f"{where} facts"] = text({fact: getattr(metric, fact, None) for fact in facts})
    record.call(f"{where} of nothing", metric.compute)
    metric.update(*batches[0])
    other = make()
    other.update(*batches[1])
    record.call(f"{where} merging", metric.merge_state, other)
    record.call(f"{where} merged", metric.compute)
    record.call(f"{where} copied", metric.clone().compute)
    metric.reset()
    metric.update(*batches[2])
    record.call(f"{where} after reset", metric.compute)


def record_wrapper(record: Record, name: str, wrapper: Callable[..., Any], domain: str) -> None:
    """A class or function that is told the task."""
    record[f"signature {name}"] = signature(wrapper)
    is_class = inspect.isclass(wrapper)
    every = taken(wrapper, {"task": "binary"})
    for task in (*TASKS, "no"):
        inputs = inputs_of(domain, f"{task}_{name}")
        needed = needed_by(wrapper) | {"task": task}
        one_by_one = ({key: value} for key in every for value in GRID.get(key, ()))
        for extra in ({}, *one_by_one):
            arguments = needed | extra
            where = label(name, arguments)
            if is_class:
                record_stream(record, where, partial(wrapper, **arguments), inputs["probs"])
            else:
                record.call(where, wrapper, *inputs["probs"][0], **arguments)


def record_collections(record: Record, package: Any, classes: dict[str, type[Any]]) -> None:
    """All metrics of a task, or of regression, in one collection."""
    for task in (*TASKS, "regression"):
        domain = "regression" if task == "regression" else "classification"
        key = "pairs" if task == "regression" else "probs"
        plain = {
            name: cls
            for name, cls in classes.items()
            if home(cls, package) == domain
            and name.lower().startswith("" if task == "regression" else task)
            and not re.search("Fairness|Group|ExactMatch", name)
            and (task != "regression" or inputs_of(domain, name)[key][0][0].ndim == 1)
        }
        members = {name: cls(**needed_by(cls)) for name, cls in plain.items()}
        for grouped in (True, False):
            metrics = package.MetricCollection(
                {name: each.clone() for name, each in members.items()},
                compute_groups=grouped,
                prefix="all/",
            )
            same = "meansquaredlogerror" if task == "regression" else f"{task}_accuracy"
            where = f"collection of {task}{'' if grouped else ', no groups'}"
            for number, batch in enumerate(inputs_of(domain, same)[key]):
                step = metrics.update if number == 1 else metrics
                record.call(f"{where} batch {number}", step, *batch)
            record.call(where, metrics.compute)


def home(cls: type[Any], package: Any) -> str:
    return cls.__module__.removeprefix(f"{package.__name__}.").partition(".")[0]


def record_others(record: Record, package: Any) -> None:
    """Metrics that fit no table: wrappers, arithmetic, diagnostics."""
    values = inputs_of("aggregation", "sum")["numbers"]
    pair = inputs_of("regression", "mse")["pairs"]
    wrappers = importlib.import_module(f"{package.__name__}.wrappers")

    def running() -> Any:
        return wrappers.Running(package.MeanSquaredError(), window=2)

    record_stream(record, "Running(MeanSquaredError(), window=2)", running, pair)
    first, second = package.MeanSquaredError, package.MeanAbsoluteError
    for name, combined in {
        "sum": lambda: first() + second(),
        "ratio": lambda: first() / second(),
        "power": lambda: first() ** 0.5,
        "difference": lambda: abs(first() - 2.0 * second()),
    }.items():
        metric = combined()
        for number, batch in enumerate(pair):
            step = metric.update if number == 1 else metric
            record.call(f"arithmetic {name} batch {number}", step, *batch)
        record.call(f"arithmetic {name}", metric.compute)
    record_stream(record, "TopSamples(k=4)", partial(package.TopSamples, k=4), values)
    layers = [({"a": value, "b": value.repeat(2, 1)},) for (value,) in values]
    record_stream(record, "GradientStats()", package.GradientStats, layers)


def everything(package: Any) -> Record:
    """Call all that is public; what was called stands in the keys."""
    record, classes = Record(), {}
    for domain in ("", "wrappers", "functional", "utilities", *DOMAINS):
        module = importlib.import_module(f"{package.__name__}.{domain}".rstrip("."))
        record[f"names {domain}"] = " ".join(sorted(module.__all__))
    for domain in DOMAINS:
        module = importlib.import_module(f"{package.__name__}.{domain}")
        for name in sorted(module.__all__):
            cls = getattr(module, name)
            if name == "BaseAggregator":
                continue
            if domain == "classification" and not name.lower().startswith(TASKS):
                record_wrapper(record, name, cls, domain)
            else:
                classes[name] = cls
                record_class(record, name, cls, domain)
    for domain in ("classification", "regression"):
        module = importlib.import_module(f"{package.__name__}.functional.{domain}")
        for name in sorted(module.__all__):
            function = getattr(module, name)
            by_task = "task" in inspect.signature(function).parameters and name != "binary_fairness"
            (record_wrapper if by_task else record_function)(record, name, function, domain)
    record_collections(record, package, classes)
    record_others(record, package)
    return record


# Two records


def compare(first: Path, second: Path, skip: str) -> int:
    """Print what differs; return how much does."""
    before, after = (json.loads(path.read_text()) for path in (first, second))
    left_out = re.compile(skip) if skip else None
    found = 0
    for key in sorted({*before, *after}):
        old, new = before.get(key, "missing"), after.get(key, "missing")
        if old != new and not (left_out and left_out.search(key)):
            found += 1
            print(f"{key}\n  - {old}\n  + {new}")
    print(f"{found} of {len({*before, *after})} differ")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write what all public names give")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"))
    parser.add_argument("--skip", default="", help="keys that may differ, a regular expression")
    options = parser.parse_args()
    if options.compare:
        return int(compare(*options.compare, options.skip) > 0)
    if not options.out:
        parser.error("one of --out and --compare is needed")
    sys.path.insert(0, os.getcwd())
    package = importlib.import_module("fastmetrics")
    if not Path(package.__file__).resolve().is_relative_to(Path.cwd().resolve()):
        parser.error(f"not the package of this folder: {package.__file__}")
    torch.set_num_threads(1)
    start = time.perf_counter()
    record = everything(package)
    options.out.write_text(json.dumps(record, indent=0))
    print(f"{len(record)} values of {package.__file__} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
