"""Metrics around metrics."""

# Written by tools/torchmetrics_names.py.

from torchmetrics.wrappers.transformations import BinaryTargetTransformer as BinaryTargetTransformer
from torchmetrics.wrappers.bootstrapping import BootStrapper as BootStrapper
from torchmetrics.wrappers.classwise import ClasswiseWrapper as ClasswiseWrapper
from torchmetrics.wrappers.feature_share import FeatureShare as FeatureShare
from torchmetrics.wrappers.transformations import LambdaInputTransformer as LambdaInputTransformer
from torchmetrics.wrappers.transformations import MetricInputTransformer as MetricInputTransformer
from torchmetrics.wrappers.tracker import MetricTracker as MetricTracker
from torchmetrics.wrappers.minmax import MinMaxMetric as MinMaxMetric
from torchmetrics.wrappers.multioutput import MultioutputWrapper as MultioutputWrapper
from torchmetrics.wrappers.multitask import MultitaskWrapper as MultitaskWrapper
from fastmetrics.wrappers.running import Running as Running
from fastmetrics.wrappers import abstract as abstract
from torchmetrics.wrappers import bootstrapping as bootstrapping
from torchmetrics.wrappers import classwise as classwise
from torchmetrics.wrappers import feature_share as feature_share
from torchmetrics.wrappers import minmax as minmax
from torchmetrics.wrappers import multioutput as multioutput
from torchmetrics.wrappers import multitask as multitask
from fastmetrics.wrappers import running as running
from torchmetrics.wrappers import tracker as tracker
from torchmetrics.wrappers import transformations as transformations
