"""What a workload is, and the libraries that it is timed against."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from benchmarks import calls
from benchmarks.calls import Call, Inputs, find

tm = find("torchmetrics")
for part in ("detection", "segmentation"):  # which it does not import itself
    find(f"torchmetrics.{part}")
te = find("torcheval.metrics")
te_functional = find("torcheval.metrics.functional")
sk = find("sklearn.metrics")
stats = find("scipy.stats")
rec = find("torchrec.metrics.auc")
sacrebleu = find("sacrebleu")
sacrebleu_mojo = find("sacrebleu_mojo")
rouge_scorer = find("rouge_score.rouge_scorer")
blaze = find("blazemetrics")
jiwer = find("jiwer")
rapidfuzz = find("rapidfuzz.distance")
pycocotools = find("pycocotools.cocoeval")
faster_coco_eval = find("faster_coco_eval")
hotcoco = find("hotcoco")
ultrafast_pycocotools = find("ultrafast_pycocotools")
monai = find("monai.metrics")
exacta = find("exacta.functional.surface")

# What somebody writes who has no library.
PLAIN_TORCH = "plain torch"
PEERS = {
    PLAIN_TORCH: torch,
    "torchmetrics": tm,
    "torcheval": te,
    "scikit-learn": sk,
    "SciPy": stats,
    "torchrec": rec,
    "sacrebleu": sacrebleu,
    "sacrebleu-mojo": sacrebleu_mojo,
    "rouge-score": rouge_scorer,
    "blazemetrics": blaze,
    "jiwer": jiwer,
    "rapidfuzz": rapidfuzz,
    "pycocotools": pycocotools,
    "faster-coco-eval": faster_coco_eval,
    "hotcoco": hotcoco,
    "ultrafast-pycocotools": ultrafast_pycocotools,
    "MONAI": monai,
    "exacta": exacta,
}
CPU_ONLY = PEERS.keys() - {PLAIN_TORCH, "torchmetrics", "torcheval", "torchrec"}
OURS, FLOOR, OP, REFERENCE = "fastmetrics", "floor", "bare op", "reference"
BINNED = "own binned"
# The metric of a collection that takes longest by itself.
MEMBER = "one member"

# Limits on our time divided by theirs.
NEVER_SLOWER = dict.fromkeys(PEERS, 1.0)

# By the name of a metric in small letters, without its task and without underscores.
AREAS = {
    "counts per class": (
        "accuracy precision recall f1score fbetascore specificity negativepredictivevalue "
        "hammingdistance statscores exactmatch groupstatrates fairness"
    ),
    "confusion matrix": "confusionmatrix cohenkappa matthewscorrcoef jaccardindex",
    "curves": (
        "auroc averageprecision eer logauc precisionrecallcurve roc precisionatfixedrecall "
        "recallatfixedprecision sensitivityatspecificity specificityatsensitivity"
    ),
    "calibration": "calibrationerror",
    "hinge loss": "hingeloss",
    "perplexity": "perplexity",
    "label ranking": "coverageerror rankingaverageprecision rankingloss",
    "error sums": (
        "meansquarederror meanabsoluteerror meansquaredlogerror meanabsolutepercentageerror "
        "symmetricmeanabsolutepercentageerror weightedmeanabsolutepercentageerror logcosherror "
        "minkowskidistance tweediedeviancescore criticalsuccessindex "
        "continuousrankedprobabilityscore"
    ),
    "co-moments": (
        "r2score explainedvariance pearsoncorrcoef concordancecorrcoef relativesquarederror "
        "normalizedrootmeansquarederror"
    ),
    "rank correlation": "spearmancorrcoef kendallrankcorrcoef",
    "row similarity": "cosinesimilarity kldivergence jensenshannondivergence",
    "n-grams of texts": "bleuscore sacrebleuscore chrfscore rougescore",
    "segments": "dicescore generalizeddicescore meaniou panopticquality modifiedpanopticquality",
    "boxes": (
        "intersectionoverunion generalizedintersectionoverunion distanceintersectionoverunion "
        "completeintersectionoverunion meanaverageprecision"
    ),
    "surfaces": "hausdorffdistance averagesurfacedistance normalizedsurfacedice",
    "aggregation": "meanmetric summetric maxmetric minmetric catmetric runningmean runningsum",
    "edits of texts": (
        "worderrorrate charerrorrate matcherrorrate wordinfolost wordinfopreserved editdistance "
        "translationeditrate extendededitdistance squad editsofcharacters editsofwords"
    ),
    "diagnostics": "gradientstats topsamples",
    "collections": "collectionofonestatistic collectionofmany collectionoferrors",
}
AREA_OF = {metric: area for area, metrics in AREAS.items() for metric in metrics.split()}
# Kinds of calls that are areas by themselves, whatever the metric.
AREA_OF_KIND = {"small": "functional small"} | {
    kind: kind for kind in ("forward", "compute", "life", "compiled")
}


@dataclass(frozen=True)
class Workload:
    """One row of the report.

    Attributes:
        name: ``kind/metric/size``; what ``--only`` chooses by.
        inputs: makes them on a device.
        calls: by library.
        limits: the largest allowed ratio of our time to that of a library.
        tolerance: how far a value may be from ours, beyond a relative 1e-5.
        series: the line of a plot that this is a point of, and its place on the x axis.
        note: why the size is unusual or a library that has the metric is left out.
    """

    name: str
    inputs: Callable[[torch.device], Inputs]
    calls: dict[str, Call]
    limits: dict[str, float] = field(default_factory=lambda: NEVER_SLOWER)
    tolerance: float = 1e-6
    series: tuple[str, int] | None = None
    note: str = ""

    @property
    def metric(self) -> str:
        """The name of the metric in small letters, without its task."""
        bare = self.name.split("/")[1].replace("_", "").lower()
        for task in ("binary", "multiclass", "multilabel"):
            bare = bare.removeprefix(task)
        return bare

    @property
    def area(self) -> str:
        """The family of statistics that it belongs to, or the kind of call."""
        return AREA_OF_KIND.get(self.name.partition("/")[0]) or AREA_OF[self.metric]

    def available(self, device: torch.device) -> dict[str, Call]:
        """Return the floor and the calls of the libraries that are there and know the device."""
        missing = {name for name, module in PEERS.items() if module is None}
        if device.type != "cpu":
            missing |= CPU_ONLY
        present = {name: call for name, call in self.calls.items() if name not in missing}
        return {**present, FLOOR: calls.floor}
