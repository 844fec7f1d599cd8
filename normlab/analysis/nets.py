"""The nets of a sweep, a variant at a depth each, over their seeds: what findings are about."""

from typing import Any, NamedTuple

from pandas import DataFrame

from normlab.analysis.cells import cells_of, distinct_runs, usual_cause, usual_diagnosis
from normlab.analysis.comparing import summarize
from normlab.analysis.keys import DEPTH, label, varying
from normlab.analysis.variants import brief_names, variant_keys, variants_of
from normlab.vocabulary import CAUSES, FINAL

NOT_RECORDED = "cause not recorded: made by an older version"


class Seen(NamedTuple):
    """The gradient of one net at init or at the end."""

    diagnosis: str | None  # the most frequent one of its runs
    agree: int  # runs of that diagnosis
    ratio: float


class Net(NamedTuple):
    """One variant at one depth, over its seeds."""

    variant: str  # its name
    depth: float
    diagnosis: str | None  # of the whole training, the most frequent one of its runs
    cause: str | None  # the most frequent one of its runs of that diagnosis; None in older ones
    init: Seen
    end: Seen
    error: float
    folders: tuple[str, ...]  # its runs
    beside: dict[str, str]  # the values of keys that vary with depth alone

    @property
    def runs(self) -> int:
        """How many runs there are of it."""
        return len(self.folders)

    @property
    def cause_in_words(self) -> str:
        """Its cause as half a sentence, or that its runs are older than causes."""
        return CAUSES[self.cause].meaning if self.cause else NOT_RECORDED


def nets_of(frame: DataFrame) -> list[Net]:
    """The nets of a frame's results, by variant and depth.

    Over seeds, diagnoses are the most frequent ones, ratios the geometric means of the runs with
    that diagnosis, and errors arithmetic means of all.
    """
    ended = frame[frame["status"].isin(FINAL)]
    if ended.empty:
        return []
    variants = variant_keys(frame)
    keys = [*variants, DEPTH]
    frame = distinct_runs(ended, keys)
    cells = cells_of(frame, keys)
    usual, agree, ratios = {}, {}, {}
    for when in ("init", "end"):
        diagnoses = frame[f"verdict_{when}"].to_numpy(dtype=object)
        usual[when] = usual_diagnosis(diagnoses, cells)
        agree[when] = diagnoses == usual[when][cells.number]
        ratio = f"gradient_ratio_{when}"
        # A mean with those of sound gradients would be none of a gradient that vanished.
        ratios[ratio] = frame[ratio].where(agree[when])
    summary = summarize(frame.assign(**ratios), variants, [DEPTH], ["train_acc", *ratios])
    means = {metric: values.to_numpy() for metric, values in summary.groupby("metric")["mean"]}
    seen = {
        when: list(map(Seen, usual[when], cells.count(agree[when]), means[ratio]))
        for when, ratio in zip(usual, ratios, strict=True)
    }
    first = frame.iloc[cells.first]
    found = variants_of(first, variants)
    names = brief_names(found)
    folders: list[list[str]] = [[] for _ in range(cells.size)]
    for number, folder in zip(cells.number.tolist(), frame["folder"].tolist(), strict=True):
        folders[number].append(folder)
    return [
        Net(*values)
        for values in zip(
            [names[variant] for variant in found],
            first[DEPTH].tolist(),
            usual_diagnosis(frame["verdict"], cells),
            usual_cause(frame, cells),
            seen["init"],
            seen["end"],
            1 - means["train_acc"],
            map(tuple, folders),
            _values_beside(frame, first, keys),
            strict=True,
        )
    ]


def _values_beside(frame: DataFrame, first: DataFrame, keys: list[str]) -> list[dict[str, str]]:
    """Of each net the keys that vary but set no variant apart: depth decides them."""
    beside = [key for key in varying(frame) if key not in keys]
    records: list[dict[Any, Any]] = first[beside].to_dict("records")
    return [{key: label(key, value) for key, value in record.items()} for record in records]
