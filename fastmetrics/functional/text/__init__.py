"""The stateless API of the text metrics, and their formulas."""

from typing import TYPE_CHECKING

from fastmetrics.functional.text.bleu import *
from fastmetrics.functional.text.cer import *
from fastmetrics.functional.text.chrf import *
from fastmetrics.functional.text.edit import *
from fastmetrics.functional.text.edit_operations import *
from fastmetrics.functional.text.eed import *
from fastmetrics.functional.text.mer import *
from fastmetrics.functional.text.perplexity import *
from fastmetrics.functional.text.rouge import *
from fastmetrics.functional.text.sacre_bleu import *
from fastmetrics.functional.text.squad import *
from fastmetrics.functional.text.ter import *
from fastmetrics.functional.text.wer import *
from fastmetrics.functional.text.wil import *
from fastmetrics.functional.text.wip import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
