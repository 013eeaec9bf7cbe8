"""An engine of ignite that updates metrics of torchmetrics; prints what each epoch logs as JSON."""

import json

import torch
from ignite.engine import Engine, Events
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score, MulticlassPrecision


def main() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    metrics = MetricCollection(
        [MulticlassF1Score(4), MulticlassPrecision(4), MulticlassAUROC(4, thresholds=30)],
        prefix="train_",
    )
    loss = MeanMetric()
    batches = [(torch.randn(32, 6), torch.randint(4, (32,))) for _ in range(6)]
    logged = []

    def step(engine, batch):
        inputs, target = batch
        logits = model(inputs)
        value = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return logits.detach(), target, value.detach()

    trainer = Engine(step)

    @trainer.on(Events.EPOCH_STARTED)
    def reset(engine):
        metrics.reset()
        loss.reset()

    @trainer.on(Events.ITERATION_COMPLETED)
    def update(engine):
        logits, target, value = engine.state.output
        metrics.update(logits, target)
        loss.update(value)

    @trainer.on(Events.EPOCH_COMPLETED)
    def log(engine):
        values = {**metrics.compute(), "loss": loss.compute()}
        logged.append({name: float(value) for name, value in values.items()})

    trainer.run(batches, max_epochs=3)
    print(json.dumps([type(metrics).__module__, logged]))


if __name__ == "__main__":
    main()
