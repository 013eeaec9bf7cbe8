"""Inputs of the workloads; the same numbers whenever they are made."""

import random
from collections.abc import Callable, Sequence

import torch

from benchmarks.calls import Inputs
from tests.every import MAKERS
from tests.text.lines import corpus


def _generator(device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)


def scores(*shape: int, num_classes: int) -> Callable[[torch.device], Inputs]:
    """Logits ``[N, C, ...]`` and targets in which every class occurs if N allows it."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        preds = torch.randn(shape[0], num_classes, *shape[1:], generator=generator, device=device)
        return preds, _every_class(shape, num_classes, generator, device)

    return make


def tokens(
    texts: int, length: int, words: int, dtype: torch.dtype = torch.float32
) -> Callable[[torch.device], Inputs]:
    """Logits ``[B, T, V]`` of a language model, and the words that came, which it half expects."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        preds = torch.randn(texts, length, words, generator=generator, device=device).mul_(3)
        target = torch.randint(words, (texts, length), generator=generator, device=device)
        own = target.unsqueeze(-1)
        preds.scatter_(-1, own, preds.gather(-1, own) + 14)
        return preds.to(dtype), target

    return make


def labels(*shape: int, num_classes: int) -> Callable[[torch.device], Inputs]:
    """Predicted and true labels, int64; about one in three predictions is right."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        target = _every_class(shape, num_classes, generator, device)
        preds = torch.randint(num_classes, shape, generator=generator, device=device)
        right = torch.rand(shape, generator=generator, device=device) < 0.3
        return torch.where(right, target, preds), target

    return make


def scenes(images: int, boxes: int, classes: int) -> Callable[[torch.device], Inputs]:
    """Dictionaries of images with about so many ground truths each, and detections near them."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(torch.device("cpu"))
        preds, target = [], []
        for _ in range(images):
            found, truths = torch.randint(1, 2 * boxes, (2,), generator=generator).tolist()
            corners = torch.rand(truths, 2, generator=generator) * 400
            sides = torch.rand(truths, 2, generator=generator) * 150 + 4
            labels = torch.randint(classes, (truths,), generator=generator)
            truth = torch.cat((corners, corners + sides), 1)
            of = torch.randint(truths, (found,), generator=generator)
            near = truth[of] + torch.randn(found, 4, generator=generator) * 4
            near[:, 2:] = near[:, 2:].maximum(near[:, :2])
            scores = torch.rand(found, generator=generator)
            preds.append({"boxes": near, "scores": scores, "labels": labels[of]})
            target.append({"boxes": truth, "labels": labels})
        return tuple(
            [{key: x.to(device) for key, x in image.items()} for image in side]
            for side in (preds, target)
        )

    return make


def probabilities(*shape: int) -> Callable[[torch.device], Inputs]:
    """Scores in [0, 1] and labels 0 and 1."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        preds = torch.rand(shape, generator=generator, device=device)
        return preds, torch.randint(2, shape, generator=generator, device=device)

    return make


def _every_class(
    shape: tuple[int, ...], num_classes: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=generator, device=device)
    return (order % num_classes).view(shape)


def positive_numbers(*shape: int) -> Callable[[torch.device], Inputs]:
    """Positive predictions and targets."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        preds, target = (
            torch.rand(shape, generator=generator, device=device) + 0.1 for _ in range(2)
        )
        return preds, target

    return make


def with_members(count: int, members: int) -> Callable[[torch.device], Inputs]:
    """Ensembles ``[N, members]`` and targets."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        preds = torch.randn(count, members, generator=generator, device=device)
        return preds, torch.randn(count, generator=generator, device=device)

    return make


def numbers(*shapes: tuple[int, ...]) -> Callable[[torch.device], Inputs]:
    """Normally distributed float32 numbers, one tensor per shape."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        return tuple(torch.randn(shape, generator=generator, device=device) for shape in shapes)

    return make


def distributions(*shape: int) -> Callable[[torch.device], Inputs]:
    """Two matrices of probabilities, one distribution a row."""

    def make(device: torch.device) -> Inputs:
        pair = torch.rand((2, *shape), generator=_generator(device), device=device)
        p, q = (pair / pair.sum(-1, keepdim=True)).unbind()
        return p, q

    return make


def ranked(*shape: int, num_classes: int | None = None) -> Callable[[torch.device], Inputs]:
    """Probabilities that rank labels better than chance.

    They are ``[N, C]`` with a class for each sample if there are ``num_classes``, else they have
    the shape of the labels 0 and 1.
    """

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        if num_classes is None:
            target = torch.randint(2, shape, generator=generator, device=device)
            logits = torch.randn(shape, generator=generator, device=device)
            return logits.add_(target).sigmoid_(), target
        target = _every_class(shape, num_classes, generator, device)
        logits = torch.randn(*shape, num_classes, generator=generator, device=device)
        logits.scatter_add_(1, target.unsqueeze(1), torch.ones_like(logits))
        return logits.softmax(1), target

    return make


def pairs(*shape: int) -> Callable[[torch.device], Inputs]:
    """Predictions and targets that correlate."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        target = torch.randn(shape, generator=generator, device=device)
        return target + torch.randn(shape, generator=generator, device=device), target

    return make


def with_groups(count: int, num_groups: int) -> Callable[[torch.device], Inputs]:
    """Scores and labels 0 and 1, and the group of each sample."""

    def make(device: torch.device) -> Inputs:
        groups = torch.arange(count, device=device) % num_groups
        return *ranked(count)(device), groups

    return make


def of_kind(kind: str, size: int) -> Callable[[torch.device], Inputs]:
    """Inputs of a kind that the tables of the tests know; on the CPU."""

    def make(device: torch.device) -> Inputs:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return MAKERS[kind](size)

    return make


def references(size: int, marks: bool = True) -> Callable[[torch.device], Inputs]:
    """Sentences of up to 25 words, and one reference for each that shares most of them."""

    def make(device: torch.device) -> Inputs:
        return corpus(size, references=1, marks=marks)

    return make


def edited_texts(
    pairs: int, length: int, symbols: Sequence[str], joined: str
) -> Callable[[torch.device], Inputs]:
    """Pairs of texts of so many symbols, of which one in ten is another one or missing."""

    def make(device: torch.device) -> Inputs:
        chosen = random.Random(0)
        preds, target = [], []
        for _ in range(pairs):
            text = chosen.choices(symbols, k=length)
            target.append(joined.join(text))
            other = [each if chosen.random() < 0.9 else chosen.choice(symbols) for each in text]
            preds.append(joined.join(each for each in other if chosen.random() < 0.95))
        return preds, target

    return make


def masks(*shape: int, dtype: torch.dtype = torch.int64) -> Callable[[torch.device], Inputs]:
    """Masks of noise that agree in two of three pixels."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        target = torch.rand(shape, generator=generator, device=device) < 0.3
        right = torch.rand(shape, generator=generator, device=device) < 0.5
        preds = torch.rand(shape, generator=generator, device=device) < 0.3
        return torch.where(right, target, preds).to(dtype), target.to(dtype)

    return make


def bodies(*shape: int) -> Callable[[torch.device], Inputs]:
    """Two smooth masks ``[1, 1, ...]`` of half of an image."""

    def make(device: torch.device) -> Inputs:
        noise = torch.randn(2, 1, *shape, generator=_generator(torch.device("cpu")))
        pool = torch.nn.functional.avg_pool3d if len(shape) > 2 else torch.nn.functional.avg_pool2d
        for _ in range(3):
            noise = pool(noise, 7, 1, 3)
        preds, target = (noise > 0).to(device, torch.uint8).unsqueeze(1).unbind()
        return preds, target

    return make


def silhouettes(
    images: int, boxes: int, classes: int, side: int
) -> Callable[[torch.device], Inputs]:
    """The images of `scenes` with masks of ellipses in place of boxes."""

    def make(device: torch.device) -> Inputs:
        axis = torch.arange(side, device=device) + 0.5
        found = []
        for images_of_side in scenes(images, boxes, classes)(device):
            found.append([])
            for image in images_of_side:
                corners = (image.pop("boxes") * (side / 600))[:, :, None]
                left, top, right, bottom = corners.unbind(1)
                across = (axis - (left + right) / 2) / ((right - left) / 2 + 1)
                down = (axis - (top + bottom) / 2) / ((bottom - top) / 2 + 1)
                inside = across[:, None] ** 2 + down[:, :, None] ** 2 < 1
                found[-1].append({**image, "masks": inside})
        return tuple(found)

    return make


def segments(count: int, height: int, width: int) -> Callable[[torch.device], Inputs]:
    """Panoptic maps of noise in squares of 4 pixels: categories 0 to 3, two instances."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        shape = (count, height // 4, width // 4)

        def one() -> torch.Tensor:
            parts = [
                torch.randint(top, shape, generator=generator, device=device) for top in (4, 2)
            ]
            return torch.stack(parts, -1).repeat_interleave(4, 1).repeat_interleave(4, 2)

        preds, target = one(), one()
        right = torch.rand(preds.shape[:-1], generator=generator, device=device) < 0.7
        return torch.where(right.unsqueeze(-1), target, preds), target

    return make
