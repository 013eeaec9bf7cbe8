"""What is written for TensorBoard is drawn there, as a browser sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from fastmetrics import MetricCollection, TopSamples
from fastmetrics.classification import BinaryAccuracy, BinaryAUROC, BinaryConfusionMatrix
from fastmetrics.integrations.tensorboard import log

STEPS = 5
# Whether something is drawn in each card of a dashboard, by its tag: a picture that has arrived,
# or a line of as many points as there are steps. Cards hide what they show in shadow roots.
LOOK = """{
const inside = (root) => [...root.querySelectorAll("*")].flatMap(
  (each) => each.shadowRoot ? [each, ...inside(each.shadowRoot)] : [each]);
const drawn = (each) =>
  each.naturalWidth > 0 || (each.getAttribute("d") ?? "").split("L").length >= STEPS;
Object.fromEntries(inside(document).filter((each) => each.localName === "CARD").map(
  (card) => [card.tag, inside(card.shadowRoot).some(drawn)]));
}""".replace("STEPS", str(STEPS))


class Browser:
    """Chromium without a window, which is asked through pipes."""

    def __init__(self, folder: Path) -> None:
        asked, self.questions = os.pipe()
        answers, answering = os.pipe()
        options = "--headless --no-sandbox --disable-gpu --window-size=1400,3000"
        command = f"chromium {options} --user-data-dir='{folder}' --remote-debugging-pipe"
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command} 3<&{asked} 4>&{answering}"],
            pass_fds=(asked, answering),
            stderr=subprocess.DEVNULL,
        )
        os.close(asked), os.close(answering)
        self.answers = os.fdopen(answers, "rb")

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        question = {"id": 1, "method": method, "params": params}
        question |= {"sessionId": session} if session else {}
        os.write(self.questions, json.dumps(question).encode() + b"\0")
        while True:  # what is no answer tells of events
            answer = json.loads(b"".join(iter(lambda: self.answers.read(1), b"\0")))
            if "id" in answer:
                return answer["result"]

    def cards(self, url: str, kind: str, wanted: dict[str, bool]) -> dict[str, bool]:
        """Return the cards that are seen once they are as wanted, or after half a minute."""
        page = self.ask("Target.createTarget", url=url)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        look = {"expression": LOOK.replace("CARD", kind), "returnByValue": True}
        for attempt in range(60):
            time.sleep(0.5)
            found = self.ask("Runtime.evaluate", session, **look)["result"].get("value", {})
            if found == wanted:
                break
            if attempt % 10 == 9:  # the server may not have read all of it before
                self.ask("Page.reload", session)
        return found


@pytest.mark.exhaustive
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_every_dashboard_draws(tmp_path):
    metrics = {"auroc": BinaryAUROC(thresholds=50), "confusion": BinaryConfusionMatrix()}
    metrics = MetricCollection({"accuracy": BinaryAccuracy(), "samples": TopSamples(2), **metrics})
    with SummaryWriter(tmp_path / "runs") as writer:
        for step in range(STEPS):
            preds = torch.rand(200)
            metrics.update(preds=preds, target=torch.rand(200) < preds, scores=preds)
            log(writer, metrics, step, images=lambda ids: torch.rand(len(ids), 1, 8, 8))
    command = ["-m", "tensorboard.main", "--load_fast=false", "--port=0", "--logdir"]
    server = subprocess.Popen(
        [sys.executable, *command, tmp_path / "runs"], stderr=subprocess.PIPE, text=True
    )
    browser = Browser(tmp_path / "profile")
    try:
        url = next(word for line in server.stderr for word in line.split() if "http://" in word)
        for dashboard, kind, *tags in (
            ("scalars", "tf-scalar-card", "accuracy", "auroc"),
            ("images", "tf-image-loader", "confusion", "samples/best", "samples/worst"),
            ("pr_curves", "tf-pr-curve-card", "auroc/pr_curve"),
            ("histograms", "tf-histogram-loader", "auroc/scores"),
        ):
            wanted = dict.fromkeys(tags, True)
            assert browser.cards(f"{url}#{dashboard}", kind, wanted) == wanted, dashboard
    finally:
        server.kill(), browser.process.terminate()
        server.wait(), browser.process.wait()
