"""What the ops refuse: values inside tensors (RuntimeError) and metadata (ValueError)."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastmetrics import ops
from fastmetrics.ops.faults import new_events, raise_events
from tests.ops.cases import (
    CLASS_OPS,
    LABEL_OPS,
    LAYOUTS,
    STATE_KINDS,
    check,
    class_call,
    class_inputs,
    label_call,
    label_inputs,
    native_op,
)

# What int64 holds beyond any class: next to the range, and equal to a class modulo 2^8, 2^16, 2^32.
WRONG_VALUES = [
    -1,
    4,
    256,
    257,
    65536,
    2**31 - 1,
    2**31,
    2**32,
    2**32 + 1,
    2**40,
    2**63 - 1,
    -(2**32),
    1 - 2**32,
    -(2**63),
]
OPS_AND_KINDS = [(op, kind) for op in CLASS_OPS for kind in STATE_KINDS[op]]


# Values


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", WRONG_VALUES)
@pytest.mark.parametrize(("op", "kind"), OPS_AND_KINDS)
def test_wrong_class(op, kind, value, validate):
    """In the target of scores, in the target of labels, in predicted labels, in both."""
    for dtype, places in ((torch.float32, ["target"]), (torch.int64, ["target", "preds", "both"])):
        for place in places:
            preds, target = class_inputs((70, 2), 4, dtype, seed=1)
            if place != "preds":
                target[33, 1] = value
            if place != "target":
                preds[12, 0] = value
            for weight in (None, torch.ones(70)):
                answer = check(class_call(op, preds, target, 4, kind, weight, validate=validate))
                assert answer.bad[0][:2] == ("preds" if place == "preds" else "target", value)


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", [2, *WRONG_VALUES])
@pytest.mark.parametrize("kind", ["total", "samples"])
@pytest.mark.parametrize("op", LABEL_OPS)
def test_wrong_label(op, kind, value, validate):
    for dtype, places in ((torch.float32, ["target"]), (torch.int64, ["target", "preds", "both"])):
        for place in places:
            preds, target = label_inputs((40, 2, 3), dtype, seed=1)
            if place != "preds":
                target[33, 1, 2] = value
            if place != "target":
                preds[12, 0, 1] = value
            for weight in (None, torch.ones(40)):
                answer = check(
                    label_call(op, preds, target, 2, kind, weight=weight, validate=validate)
                )
                assert answer.bad[0][:2] == ("preds" if place == "preds" else "target", value)


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", [-1, 3, 2**32, 2**32 + 1, 2**63 - 1, -(2**63)])
def test_wrong_group(value, validate):
    preds, target = label_inputs((40, 2), torch.float32, seed=1)
    groups = torch.arange(40) % 3
    groups[20] = value
    options = {"num_labels": 3, "groups": groups, "validate": validate}
    answer = check(label_call("label_confusion_", preds, target, **options))
    assert answer.bad[0] == ("groups", value, 20)
    target[3, 1] = 9  # the group is named first
    check(label_call("label_confusion_", preds, target, **options))


@pytest.mark.smoke
@pytest.mark.parametrize(
    "ignore_index",
    [-1, 0, 3, 4, 255, 2**31, 2**32, 2**32 + 1, 2**63 - 1, -(2**63)],
)
def test_ignored_targets_are_compared_in_full(ignore_index):
    """A class equal to `ignore_index` modulo 2^32 counts; ignored samples may hold anything."""
    for op in CLASS_OPS:
        for dtype in (torch.float32, torch.int64):
            preds, target = class_inputs((64,), 4, dtype, seed=2)
            target[::4] = ignore_index
            if dtype == torch.int64:
                preds[::4] = 1000
            check(class_call(op, preds, target, 4, ignore_index=ignore_index))
            target[::4] = -5
            answer = check(class_call(op, preds, target, 4, ignore_index=ignore_index))
            assert answer.bad
    for op in LABEL_OPS:
        preds, target = label_inputs((64, 2), torch.float32, seed=2)
        target[::4] = ignore_index
        check(label_call(op, preds, target, 2, ignore_index=ignore_index))


@pytest.mark.parametrize("index", [0, 1, 63, 64, 1023, 1024, 1025, 2999])
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if not name.startswith("repeated")])
def test_the_first_wrong_label_is_named_by_its_logical_index(layout, index):
    for op in CLASS_OPS:
        preds, target = class_inputs((60, 50), 4, torch.int16, seed=3)
        target.view(-1)[index] = target.view(-1)[-1] = 77
        check(class_call(op, preds, LAYOUTS[layout](target), 4))
        target.view(-1)[index] = target.view(-1)[-1] = 0
        preds.view(-1)[index] = preds.view(-1)[-1] = -9
        check(class_call(op, LAYOUTS[layout](preds), target, 4))
    for op in LABEL_OPS:
        preds, target = label_inputs((60, 50), torch.float32, seed=3)
        target.view(-1)[index] = target.view(-1)[-1] = 77
        check(label_call(op, preds, LAYOUTS[layout](target), 50))


@pytest.mark.smoke
def test_events_speak_only_of_what_they_count():
    raise_events("Thing", new_events())
    with pytest.warns(UserWarning, match="Thing: 2 samples had NaN scores"):
        raise_events("Thing", torch.tensor([0, 2, 5]))
    with pytest.raises(RuntimeError, match=r"Thing: 3 samples .* outside the allowed range"):
        raise_events("Thing", torch.tensor([3, 2, 0]))


# Metadata

META = torch.device("meta")


def stat_scores(**changes):
    arguments = {
        "state": torch.zeros(4, 4, dtype=torch.int64),
        "events": new_events(),
        "preds": torch.zeros(6, 4),
        "target": torch.zeros(6, dtype=torch.int64),
        "weight": None,
        "num_classes": 4,
        "top_k": 1,
        "ignore_index": None,
        "validate": True,
    }
    return "stat_scores_", arguments | changes


def confusion(**changes):
    _, arguments = stat_scores()
    del arguments["num_classes"], arguments["top_k"]
    return "confusion_", arguments | changes


def exact_match(**changes):
    _, arguments = stat_scores(state=torch.zeros(2, dtype=torch.int64))
    del arguments["top_k"]
    return "exact_match_", arguments | changes


def label_confusion(**changes):
    arguments = {
        "state": torch.zeros(2, 3, 2, 2, dtype=torch.int64),
        "events": new_events(),
        "preds": torch.zeros(6, 3),
        "target": torch.zeros(6, 3, dtype=torch.int64),
        "weight": None,
        "groups": None,
        "threshold": 0.5,
        "logits": False,
        "ignore_index": None,
        "validate": True,
    }
    return "label_confusion_", arguments | changes


def label_exact_match(**changes):
    _, arguments = label_confusion(state=torch.zeros(2, 2, dtype=torch.int64))
    del arguments["groups"]
    order = ("state", "events", "preds", "target", "weight")
    head = {name: arguments.pop(name) for name in order}
    return "label_exact_match_", head | {"num_labels": 3} | arguments | changes


def ints(*shape):
    return torch.zeros(shape, dtype=torch.int64)


CLASS_MAKERS = (stat_scores, confusion, exact_match)
LABEL_MAKERS = (label_confusion, label_exact_match)


def with_double_state(make, **changes):
    _, arguments = make()
    return make(state=arguments["state"].double(), **changes)


def class_rules(make):
    """Each rule: the call that breaks it, and the words that must say so."""
    double = torch.float64
    return {
        "float target": (
            make(target=torch.zeros(6)),
            "`target` must be an integer or bool tensor, got dtype torch.float32.",
        ),
        "complex target": (
            make(target=torch.zeros(6, dtype=torch.complex64)),
            "`target` must be an integer or bool tensor, got dtype torch.complex64.",
        ),
        "uint16 target": (
            make(target=torch.zeros(6, dtype=torch.uint16)),
            "`target` must be an integer or bool tensor, got dtype torch.uint16.",
        ),
        "scalar target": (
            make(target=ints(), preds=torch.zeros(4)),
            "`preds` and `target` need at least one axis, got a scalar `target`.",
        ),
        "float labels": (
            make(preds=torch.zeros(6)),
            "`preds` must be an integer or bool tensor, got dtype torch.float32.",
        ),
        "integer scores": (
            make(preds=ints(6, 4)),
            "`preds` with one axis more than `target` must be a float tensor,"
            " got dtype torch.int64.",
        ),
        "complex scores": (
            make(preds=torch.zeros(6, 4, dtype=torch.complex64)),
            "`preds` with one axis more than `target` must be a float tensor,"
            " got dtype torch.complex64.",
        ),
        "wrong number of classes": (
            make(preds=torch.zeros(6, 5)),
            "`preds` must have shape (N, C, ...) with C=4, got (6, 5).",
        ),
        "more samples in preds": (
            make(preds=torch.zeros(7, 4)),
            "`preds` must have the shape of `target` or (N, C, ...) with `target` (N, ...),"
            " got (7, 4) and (6,).",
        ),
        "class axis last": (
            make(preds=torch.zeros(6, 5, 4), target=ints(6, 5)),
            "`preds` must have the shape of `target` or (N, C, ...) with `target` (N, ...),"
            " got (6, 5, 4) and (6, 5).",
        ),
        "two axes more": (
            make(preds=torch.zeros(6, 4, 1)),
            "`preds` must have the shape of `target` or (N, C, ...) with `target` (N, ...),"
            " got (6, 4, 1) and (6,).",
        ),
        "preds elsewhere": (
            make(preds=torch.zeros(6, 4, device=META)),
            "`preds`, `target` and the metric state must be on one device, got meta, cpu and cpu.",
        ),
        "target elsewhere": (
            make(target=ints(6).to(META)),
            "`preds`, `target` and the metric state must be on one device, got cpu, meta and cpu.",
        ),
        "short weight": (
            with_double_state(make, weight=torch.ones(5)),
            "`weight` must have one entry per sample, shape (6,), got (5,).",
        ),
        "scalar weight": (
            with_double_state(make, weight=torch.ones(())),
            "`weight` must have one entry per sample, shape (6,), got ().",
        ),
        "weight per position": (
            with_double_state(make, weight=torch.ones(6, 1)),
            "`weight` must have one entry per sample, shape (6,), got (6, 1).",
        ),
        "complex weight": (
            with_double_state(make, weight=torch.ones(6, dtype=torch.complex64)),
            "`weight` must be a real tensor, got dtype torch.complex64.",
        ),
        "weight elsewhere": (
            with_double_state(make, weight=torch.ones(6, device=META)),
            "`weight` must be on the device of the metric state, cpu, got meta.",
        ),
        "weights into counts": (
            make(weight=torch.ones(6, dtype=double)),
            "a weighted update needs a float64 state, got torch.int64.",
        ),
    }


def label_rules(make):
    return {
        "other shape": (
            make(preds=torch.zeros(6, 4)),
            "`preds` and `target` must have the same shape, got (6, 4) and (6, 3).",
        ),
        "other number of axes": (
            make(preds=torch.zeros(6)),
            "`preds` and `target` must have the same shape, got (6,) and (6, 3).",
        ),
        "scalars": (
            make(preds=torch.zeros(()), target=ints()),
            "`preds` and `target` need at least one axis, got scalars.",
        ),
        "no label axis": (
            make(preds=torch.zeros(6), target=ints(6)),
            "`preds` and `target` must have shape (N, L, ...) with L=3, got (6,).",
        ),
        "wrong number of labels": (
            make(preds=torch.zeros(6, 4), target=ints(6, 4)),
            "`preds` and `target` must have shape (N, L, ...) with L=3, got (6, 4).",
        ),
        "float target": (
            make(target=torch.zeros(6, 3)),
            "`target` must be an integer or bool tensor, got dtype torch.float32.",
        ),
        "complex preds": (
            make(preds=torch.zeros(6, 3, dtype=torch.complex64)),
            "`preds` must be an integer or bool tensor, got dtype torch.complex64.",
        ),
        "preds elsewhere": (
            make(preds=torch.zeros(6, 3, device=META)),
            "`preds`, `target` and the metric state must be on one device, got meta, cpu and cpu.",
        ),
        "target elsewhere": (
            make(target=ints(6, 3).to(META)),
            "`preds`, `target` and the metric state must be on one device, got cpu, meta and cpu.",
        ),
        "short weight": (
            with_double_state(make, weight=torch.ones(5)),
            "`weight` must have one entry per sample, shape (6,), got (5,).",
        ),
        "complex weight": (
            with_double_state(make, weight=torch.ones(6, dtype=torch.complex64)),
            "`weight` must be a real tensor, got dtype torch.complex64.",
        ),
        "weight elsewhere": (
            with_double_state(make, weight=torch.ones(6, device=META)),
            "`weight` must be on the device of the metric state, cpu, got meta.",
        ),
        "weights into counts": (
            make(weight=torch.ones(6)),
            "a weighted update needs a float64 state, got torch.int64.",
        ),
    }


SPECIAL_RULES = {
    "stat_scores_: top_k of labels": (
        stat_scores(preds=ints(6), top_k=2),
        "`top_k`=2 needs scores of shape (N, C, ...), got labels.",
    ),
    "stat_scores_: no classes": (
        stat_scores(preds=torch.zeros(6, 0), num_classes=0, state=ints(1, 4)),
        "`preds` must have at least one class, got (6, 0).",
    ),
    "label_confusion_: short groups": (
        label_confusion(groups=ints(5)),
        "`groups` must have one entry per sample, shape (6,), got (5,).",
    ),
    "label_confusion_: groups per element": (
        label_confusion(groups=ints(6, 3)),
        "`groups` must have one entry per sample, shape (6,), got (6, 3).",
    ),
    "label_confusion_: float groups": (
        label_confusion(groups=torch.zeros(6)),
        "`groups` must be an integer or bool tensor, got dtype torch.float32.",
    ),
    "label_confusion_: groups elsewhere": (
        label_confusion(groups=ints(6).to(META)),
        "`groups` must be on the device of `preds`, cpu, got meta.",
    ),
}
RULES = SPECIAL_RULES | {
    f"{make()[0]}: {name}": rule
    for makers, rules in ((CLASS_MAKERS, class_rules), (LABEL_MAKERS, label_rules))
    for make in makers
    for name, rule in rules(make).items()
}


@pytest.mark.smoke
@pytest.mark.parametrize("rule", RULES)
def test_metadata_rule(rule):
    (op, arguments), text = RULES[rule]
    state = arguments["state"].clone()
    with pytest.raises(ValueError, match=f"^{re.escape(f'{op}: {text}')}$"):
        getattr(ops, op)(**arguments)
    assert torch.equal(arguments["state"], state)
    assert not arguments["events"].any()


@pytest.mark.parametrize("rule", RULES)
def test_metadata_rule_of_the_fake(rule):
    """Tracing meets the same rules, in the same words, without a call of the public function."""
    (op, arguments), text = RULES[rule]
    with FakeTensorMode() as mode:
        fakes = {
            name: mode.from_tensor(value) if isinstance(value, torch.Tensor) else value
            for name, value in arguments.items()
        }
        with pytest.raises(ValueError, match=f"^{re.escape(f'{op}: {text}')}$"):
            native_op(op)(*fakes.values())


@pytest.mark.smoke
@pytest.mark.parametrize("make", CLASS_MAKERS + LABEL_MAKERS)
def test_the_calls_that_the_rules_change_are_fine(make):
    op, arguments = make()
    getattr(ops, op)(**arguments)
    assert arguments["state"].any()
    with FakeTensorMode(allow_non_fake_inputs=True):
        native_op(op)(*arguments.values())


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (stat_scores, {"preds": torch.zeros(5, 4)}),
        (stat_scores, {"target": ints(7)}),
        (stat_scores, {"preds": torch.zeros(6, 5)}),
        (stat_scores, {"state": ints(3, 4)}),
        (stat_scores, {"state": ints(5, 4, 4)}),
        (stat_scores, {"state": ints(4, 3)}),
        (stat_scores, {"state": torch.zeros(4, 4)}),
        (stat_scores, {"state": ints(4, 8)[:, ::2]}),
        (stat_scores, {"events": ints(2)}),
        (stat_scores, {"events": torch.zeros(3)}),
        (stat_scores, {"state": torch.zeros(4, 4).double(), "weight": torch.ones(5)}),
        (confusion, {"state": ints(4, 3)}),
        (confusion, {"state": ints(4, 4, 4)}),
        (confusion, {"preds": torch.zeros(6, 5)}),
        (confusion, {"state": torch.zeros(4, 4).double(), "weight": torch.ones(5)}),
        (exact_match, {"state": ints(3)}),
        (exact_match, {"state": ints(5, 2)}),
        (exact_match, {"state": torch.zeros(2).double(), "weight": torch.ones(5)}),
        (label_confusion, {"preds": torch.zeros(6, 4)}),
        (label_confusion, {"target": ints(5, 3)}),
        (label_confusion, {"state": ints(2, 4, 2, 2)}),
        (label_confusion, {"state": ints(3, 3, 2, 2)}),
        (label_confusion, {"state": ints(5, 2, 3, 2, 2)}),
        (label_confusion, {"groups": ints(5)}),
        (label_confusion, {"state": torch.zeros(2, 3, 2, 2).double(), "weight": torch.ones(5)}),
        (label_exact_match, {"num_labels": 4}),
        (label_exact_match, {"num_labels": 0}),
        (label_exact_match, {"state": ints(3, 2)}),
        (label_exact_match, {"state": ints(5, 2, 2)}),
        (label_exact_match, {"state": torch.zeros(2, 2).double(), "weight": torch.ones(5)}),
    ],
)
def test_kernels_guard_their_memory(native, make, changes):
    """Called directly, past the metadata check, a kernel refuses what would leave its memory."""
    op, arguments = make(**changes)
    state, events = arguments["state"].clone(), arguments["events"].clone()
    with pytest.raises(ValueError):
        native_op(op)(*arguments.values())
    assert torch.equal(arguments["state"], state)
    assert torch.equal(arguments["events"], events)
