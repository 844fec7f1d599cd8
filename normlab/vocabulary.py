"""The words of a run's outcome and its figures: label, colour, scale, and which way is better."""

import math
from dataclasses import dataclass
from typing import Literal

# ------------------------------------------------------------------------------- statuses


@dataclass(frozen=True)
class Status:
    """How far a run has come."""

    name: str
    final: bool = False  # a result, which need not be made again
    style: str = ""  # rich's


STATUSES: dict[str, Status] = {
    status.name: status
    for status in (
        Status("finished", final=True),
        Status("diverged", final=True, style="red"),
        Status("stopped", final=True),  # early, at training.stop_value
        Status("timeout", style="yellow"),  # at training.max_seconds
        Status("failed", style="red"),
        Status("interrupted", style="yellow"),
        Status("running", style="cyan"),
        Status("unfinished"),
    )
}
FINAL = tuple(name for name, status in STATUSES.items() if status.final)

# ------------------------------------------------------------------------------ diagnoses


@dataclass(frozen=True)
class Diagnosis:
    """What became of a network, as the `verdict` of a run's summary says it."""

    name: str
    mark: str  # after a cell's figures, as colour alone would not reach a pipe
    style: str  # rich's
    colour: str  # in pictures, for the colour-blind too
    meaning: str  # what was seen, in a few words
    sound: bool = False  # nothing is wrong with the network


# From the best to the worst; where two are equally frequent, the worse one is shown.
DIAGNOSES: dict[str, Diagnosis] = {
    diagnosis.name: diagnosis
    for diagnosis in (
        Diagnosis(
            *("trains", "", "green", "#66C2A5"),
            "train accuracy came 90% of the way from chance to 1",
            sound=True,
        ),
        Diagnosis(
            *("learns", "", "green", "#8ED2B8"),
            "of a watched network: the probe batch's loss fell by a fifth or more",
            sound=True,
        ),
        Diagnosis(
            *("healthy", "", "green", "#B8E3D6"),
            "the gradient reaches every layer; not trained, or how far it learns is not known",
            sound=True,
        ),
        Diagnosis("undertrained", "u", "yellow", "#F0E442", "the gradient is alive"),
        Diagnosis(
            *("collapsed", "c", "magenta", "#CC79A7"),
            "all samples look alike to the last hidden layer",
        ),
        Diagnosis(
            *("vanishing", "v", "blue", "#5B9BD5"),
            "layer 1 gets under 1% of the last hidden layer's gradient",
        ),
        Diagnosis(
            *("exploding", "e", "red", "#E69F00"),
            "layer 1 gets over 100 times the last hidden layer's gradient",
        ),
        Diagnosis("diverged", "d", "red", "#D55E00", "the loss or a gradient was not finite"),
    )
}

# --------------------------------------------------------------------------------- causes


@dataclass(frozen=True)
class Cause:
    """Why a network did not train: the `cause` of a run's summary."""

    name: str
    meaning: str  # half a sentence
    state_at_init: str | None = None  # the diagnosis of the initial state that it is


CAUSES: dict[str, Cause] = {
    cause.name: cause
    for cause in (
        Cause("none", "nothing is wrong"),
        Cause("memorizes", "what it learned is true of the training samples alone"),
        Cause("label_noise", "the labels that it did not learn are noise"),
        Cause("zero_init", "weights that begin at zero, or nearly so, let nothing pass"),
        Cause("exploding_at_init", "gradients or activations explode at init", "exploding"),
        Cause("vanishing_at_init", "gradients vanish at init", "vanishing"),
        Cause("collapsed", "the layers forget the input at init", "collapsed"),
        Cause("rate_too_small", "the learning rate is too small"),
        Cause("rate_too_large", "the learning rate is too large"),
        Cause("clipping", "clipping leaves steps that are too small"),
        Cause("too_short", "the training is too short"),
        Cause("weight_decay", "weight decay shrinks the weights"),
        Cause("stale_statistics", "BatchNorm's running statistics do not keep up with the weights"),
        Cause("batch_too_small", "BatchNorm's batch is too small"),
        Cause("data_settings", "the data's settings leave too little to learn from"),
        Cause("capacity", "the network lacks capacity"),
        Cause("depth", "so many plain layers train badly though the gradient is alive"),
        Cause("unknown", "the cause is unknown"),
    )
}

# -------------------------------------------------------------------------------- metrics

Better = Literal["higher", "lower", "nearest 1"]
# What is shown beside a mean: its 95 % confidence interval, or the runs' standard deviation.
Spread = Literal["interval", "std"]


@dataclass(frozen=True)
class Metric:
    """A figure of a whole run, which can be averaged over seeds."""

    name: str  # a column of a frame of runs, most of them fields of summary.json
    label: str
    short: str  # where room is scarce
    better: Better | None = None  # None: neither way
    logarithmic: bool = False  # spans decades: averaged as logarithms, a geometric mean
    share: bool = False  # a fraction in [0, 1]
    percent: bool = False  # a share that is written in percent
    by_epoch: bool = False  # a column of metrics.parquet too
    whole: bool = False  # a count
    # Of a figure that the probes measure: the key of the gradient's state at the same time.
    state: str | None = None

    def distance(self, value: float) -> float:
        """How far a value is from the best there could be: less is better, NaN where neither is."""
        if self.better == "nearest 1":
            return abs(math.log(value)) if 0 < value < math.inf else math.inf
        return {"higher": -value, "lower": value}.get(self.better or "", math.nan)


# What an accuracy leaves to 1, a column of every frame of runs, and the accuracy.
ERRORS = {"train_error": "train_acc", "test_error": "test_acc"}


def _metrics() -> list[Metric]:
    found = []
    for part in ("train", "test"):
        accuracy, loss = f"{part}_acc", f"{part}_loss"
        found.append(
            Metric(accuracy, f"{part} accuracy", accuracy, "higher", share=True, by_epoch=True)
        )
        found.append(Metric(loss, f"{part} loss", loss, "lower", by_epoch=True))
    for error in ERRORS:
        label = error.replace("_", " ")
        found.append(Metric(error, label, f"{label} %", "lower", share=True, percent=True))
    for when, words in (
        ("init", "at init"),
        ("first_epoch", "after the first epoch"),
        ("end", "at the end"),
        ("theory", "predicted at init"),
    ):
        short = when.replace("_", " ")
        state = None if when == "theory" else f"verdict_{when}"
        if when != "theory":
            found.append(
                Metric(
                    f"gradient_ratio_{when}",
                    f"first over last layer's gradient {words}",
                    f"ratio {short}",
                    "nearest 1",
                    logarithmic=True,
                    state=state,
                )
            )
            found.append(
                Metric(
                    f"sample_cosine_{when}",
                    f"cosine between samples {words}",
                    f"sample_cosine_{when}",
                    state=state,
                )
            )
        found.append(
            Metric(
                f"gradient_factor_{when}",
                f"gradient's factor per layer {words}",
                f"factor {short}",
                "nearest 1",
                logarithmic=True,
                state=state,
            )
        )
    found.append(Metric("seconds", "seconds", "seconds", "lower"))
    counts = ("steps", "parameters", "layers", "classes")
    return found + [Metric(name, name, name, whole=True) for name in counts]


METRICS: dict[str, Metric] = {metric.name: metric for metric in _metrics()}
COMMON_METRICS = (
    *("train_acc", "train_loss", "test_acc", "test_loss"),
    *("gradient_ratio_init", "gradient_ratio_end", "gradient_factor_init", "seconds"),
)
