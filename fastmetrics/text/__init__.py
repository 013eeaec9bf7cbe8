"""Text metrics."""

from typing import TYPE_CHECKING

from fastmetrics.text.bleu import *
from fastmetrics.text.cer import *
from fastmetrics.text.chrf import *
from fastmetrics.text.edit import *
from fastmetrics.text.eed import *
from fastmetrics.text.mer import *
from fastmetrics.text.perplexity import *
from fastmetrics.text.rouge import *
from fastmetrics.text.sacre_bleu import *
from fastmetrics.text.squad import *
from fastmetrics.text.ter import *
from fastmetrics.text.wer import *
from fastmetrics.text.wil import *
from fastmetrics.text.wip import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
