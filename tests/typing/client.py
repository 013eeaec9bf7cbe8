"""What a user writes: type checkers object to the lines marked `wrong`, and to no other."""

import torch
from torch import Tensor
from typing_extensions import assert_type

import fastmetrics
import fastmetrics as torchmetrics
from fastmetrics import Accuracy, MeanSquaredError, Metric, MetricCollection, R2Score, functional
from fastmetrics.classification import BinaryAUROC, BinaryStatScores, MulticlassAccuracy
from fastmetrics.classification.accuracy import MultilabelAccuracy
from fastmetrics.functional import binary_accuracy, mean_squared_error, multiclass_auroc
from fastmetrics.functional.classification.accuracy import accuracy
from fastmetrics.utilities import dim_zero_cat, rank_zero_warn
from fastmetrics.utilities.distributed import gather_all_tensors
from fastmetrics.wrappers import Running

preds, target = torch.rand(8), torch.randint(2, (8,))

# Functions
assert_type(binary_accuracy(preds, target), Tensor)
assert_type(binary_accuracy(preds, target, threshold=0.3, ignore_index=-1, weight=preds), Tensor)
assert_type(multiclass_auroc(preds, target, 3, "macro", thresholds="auto"), Tensor)
assert_type(accuracy(preds, target, task="multiclass", num_classes=3), Tensor)
assert_type(mean_squared_error(preds, preds, squared=False), Tensor)
assert_type(functional.binary_f1_score(preds, target), Tensor)
assert_type(fastmetrics.functional.classification.binary_recall(preds, target), Tensor)
binary_accuracy(preds)  # wrong: no target
binary_accuracy(preds, target, treshold=0.3)  # wrong: no such argument
binary_accuracy(preds, target, threshold="0.3")  # wrong: not a number
binary_accuracy(preds, target, 0.5, "global", None, True, preds)  # wrong: keyword only
multiclass_auroc(preds, target)  # wrong: no number of classes
accuracy(preds, target)  # wrong: no task
mean_squared_error(preds, preds, num_outputs=1.5)  # wrong: not an integer
functional.no_such_function  # wrong: no such name

# Classes
metric = MulticlassAccuracy(num_classes=3, average="macro", top_k=2)
metric.update(preds, target)
metric.update(preds, target, weight=preds)
assert_type(metric.compute(), Tensor)
assert_type(metric.clone(), MulticlassAccuracy)
assert_type(Accuracy(task="binary"), Metric)
both = MetricCollection({"error": MeanSquaredError(), "score": R2Score()})
both.update(preds, preds)
later: Metric = MeanSquaredError() + R2Score()
Running(BinaryAUROC(thresholds=20), window=3)
fastmetrics.Metric, fastmetrics.classification.BinaryEER, torchmetrics.regression.MeanSquaredError
MulticlassAccuracy(num_classes="3")  # wrong: not an integer
MultilabelAccuracy()  # wrong: no number of labels
BinaryStatScores(threshold="high")  # wrong: not a number
metric.update(preds)  # wrong: no target
fastmetrics.NoSuchMetric  # wrong: no such name
fastmetrics.BinaryAccuracy  # wrong: found in its domain only
fastmetrics.BLEUScore(n_gram=2)
fastmetrics.text.ROUGEScore()
functional.bleu_score(["a"], [["a"]])

# Helpers
assert_type(dim_zero_cat([preds, preds]), Tensor)
assert_type(gather_all_tensors(preds), list[Tensor])
rank_zero_warn("a warning")
fastmetrics.show_config()
dim_zero_cat(3)  # wrong: not a tensor
