"""The stateless API: one call from predictions and targets to a value."""

from typing import TYPE_CHECKING

from fastmetrics.functional.classification import *
from fastmetrics.functional.detection import *
from fastmetrics.functional.regression import *
from fastmetrics.functional.segmentation import *
from fastmetrics.functional.text import *
from fastmetrics.utilities.lazy import names_beside

if TYPE_CHECKING:
    from fastmetrics.functional import classification as classification
    from fastmetrics.functional import detection as detection
    from fastmetrics.functional import regression as regression
    from fastmetrics.functional import segmentation as segmentation
    from fastmetrics.functional import text as text
else:
    __getattr__, __dir__ = names_beside(__name__)
