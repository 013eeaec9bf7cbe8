"""Metrics around metrics."""

# Written by tools/torchmetrics_names.py.

from fastmetrics.wrappers.transformations import BinaryTargetTransformer as BinaryTargetTransformer
from fastmetrics.wrappers.bootstrapping import BootStrapper as BootStrapper
from fastmetrics.wrappers.classwise import ClasswiseWrapper as ClasswiseWrapper
from fastmetrics.wrappers.feature_share import FeatureShare as FeatureShare
from fastmetrics.wrappers.transformations import LambdaInputTransformer as LambdaInputTransformer
from fastmetrics.wrappers.transformations import MetricInputTransformer as MetricInputTransformer
from fastmetrics.wrappers.tracker import MetricTracker as MetricTracker
from fastmetrics.wrappers.minmax import MinMaxMetric as MinMaxMetric
from fastmetrics.wrappers.multioutput import MultioutputWrapper as MultioutputWrapper
from fastmetrics.wrappers.multitask import MultitaskWrapper as MultitaskWrapper
from fastmetrics.wrappers.running import Running as Running
from fastmetrics.wrappers import abstract as abstract
from fastmetrics.wrappers import bootstrapping as bootstrapping
from fastmetrics.wrappers import classwise as classwise
from fastmetrics.wrappers import feature_share as feature_share
from fastmetrics.wrappers import minmax as minmax
from fastmetrics.wrappers import multioutput as multioutput
from fastmetrics.wrappers import multitask as multitask
from fastmetrics.wrappers import running as running
from fastmetrics.wrappers import tracker as tracker
from fastmetrics.wrappers import transformations as transformations
