"""Draw the digits that a network is surest and least sure of, and where it looks for each.

Run with ``python examples/gradcam_digits.py [PICTURE]``; it writes ``digits.png``, or PICTURE.
``TopSamples`` finds the samples by the probability of their true class, Grad-CAM of captum says
which pixels spoke for it. captum, scikit-learn and matplotlib must be installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import torch
from captum.attr import LayerAttribution, LayerGradCam
from sklearn.datasets import load_digits
from torch import Tensor, nn

from fastmetrics import MetricCollection, TopSamples
from fastmetrics.classification import MulticlassAccuracy

KEPT = 6
EPOCHS = 8


def network() -> nn.Sequential:
    """Return a small network; Grad-CAM looks at its second convolution."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def train(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the accuracy, and the samples with the highest and the lowest true probability."""
    # One place says which output feeds which metric.
    metrics = MetricCollection(
        {"accuracy": MulticlassAccuracy(10), "samples": TopSamples(k=KEPT)}
    ).from_outputs(preds="logits", target="labels", scores="certainty", ids="ids")
    with torch.no_grad():
        for ids in torch.arange(len(images)).split(64):
            logits = model(images[ids])
            certainty = logits.softmax(1)[torch.arange(len(ids)), labels[ids]]
            metrics.update(
                {"logits": logits, "labels": labels[ids], "certainty": certainty, "ids": ids}
            )
    return metrics.compute()


def heat_maps(model: nn.Sequential, images: Tensor, labels: Tensor) -> Tensor:
    """Return how much each pixel speaks for the true class, ``[N, H, W]``, at most 1 each."""
    found = LayerGradCam(model, model[2]).attribute(images, target=labels, relu_attributions=True)
    maps = LayerAttribution.interpolate(found, images.shape[-2:], "bilinear").detach()[:, 0]
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)


def draw(
    model: nn.Sequential, images: Tensor, labels: Tensor, values: dict[str, Tensor], path: Path
) -> None:
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, KEPT, figsize=(1.6 * KEPT, 7), layout="constrained")
    for rows, side in ((axes[:2], "best"), (axes[2:], "worst")):
        ids, scores = values[f"{side}_ids"], values[f"{side}_scores"]
        shown, true = images[ids], labels[ids]
        maps = heat_maps(model, shown, true)
        guesses = model(shown).argmax(1)
        for place, (plain, heated) in enumerate(rows.T):
            plain.imshow(shown[place, 0], cmap="gray_r")
            heated.imshow(shown[place, 0], cmap="gray_r")
            heated.imshow(maps[place], cmap="inferno", alpha=0.6, vmin=0, vmax=1)
            plain.set_title(f"{side}: {scores[place]:.2g}", fontsize=9)
            heated.set_title(f"is {true[place]}, seen as {guesses[place]}", fontsize=9)
            plain.axis("off")
            heated.axis("off")
    figure.savefig(path)
    plt.close(figure)


def main(path: Path) -> dict[str, Tensor]:
    """Train, evaluate on what was not trained on, and draw; return the values."""
    torch.manual_seed(0)
    pixels, classes = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16).float().view(-1, 1, 8, 8)
    labels = torch.tensor(classes)
    model = network()
    train(model, images[:1200], labels[:1200])
    images, labels = images[1200:], labels[1200:]
    values = evaluate(model, images, labels)
    draw(model, images, labels, values, path)
    print(f"accuracy {values['accuracy']:.4f}; {path} shows {2 * KEPT} of {len(images)} digits")
    return values


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "digits.png"))
