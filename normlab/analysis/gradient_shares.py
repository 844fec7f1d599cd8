"""Which share of the last hidden layer's gradient reaches each layer, by arm."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
from pandas import DataFrame

from normlab.analysis.cells import cells_of, distinct_runs
from normlab.analysis.keys import DEPTH
from normlab.analysis.variants import variant_keys, variants_of, with_looks
from normlab.errors import RecordError
from normlab.measurement import by_block, unit_of
from normlab.runs import read_table
from normlab.vocabulary import FINAL

_LOOKS = ("variant", "residual", "hue", "rest", "ordered")
_COLUMNS = (*_LOOKS, "place", "unit", "layer", "share")


def gradient_shares(frame: DataFrame, depth: Any) -> DataFrame:
    """δ of every hidden layer, or block, over δ of the last one, of the arms at one depth.

    A row for each variant, `place` (init or end), `unit` and layer; `share` is the geometric mean
    over the runs in which neither is 0. Without rows where no run's tables hold a gradient.
    """
    frame = frame[frame["status"].isin(FINAL)]
    keys = variant_keys(frame)
    frame = distinct_runs(frame, [*keys, DEPTH])
    # In the order of a comparison's rows.
    frame = frame.iloc[cells_of(frame, keys).number.argsort(kind="stable")]
    parts = []
    frame = with_looks(frame, variants_of(frame, keys))
    for run in frame[frame[DEPTH] == depth].to_dict("records"):
        parts += _of_run({name: run[name] for name in _LOOKS}, Path(run["folder"]))
    found = pandas.concat(parts) if parts else DataFrame(columns=list(_COLUMNS))
    found["share"] = np.log(found["share"].astype(float))
    by = found.groupby(list(_COLUMNS[:-1]), sort=False, dropna=False)
    means: DataFrame = by["share"].mean().reset_index()
    # A layer that the first run has none of came late.
    arm = pandas.factorize(means["variant"])[0]
    order = np.lexsort((means["layer"], arm))
    return means.assign(share=np.exp(means["share"])).iloc[order].reset_index(drop=True)


def _of_run(looks: dict[str, Any], folder: Path) -> list[DataFrame]:
    """The rows of one run, at init and at the end; none where its tables cannot be read."""
    try:
        table = read_table(folder, "layers")
        unit = unit_of(table)
        measured = by_block(table.dropna(subset=["delta_rms"]))
    except (RecordError, KeyError):
        return []
    hidden = measured[measured["layer"] < measured["layer"].max()]
    parts = []
    for place, step in (("init", hidden["step"].min()), ("end", hidden["step"].max())):
        rows = hidden[hidden["step"] == step].sort_values("layer")
        delta = rows["delta_rms"].to_numpy(dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = delta / delta[-1] if len(delta) else delta
        sound = np.isfinite(share) & (share > 0)
        part = DataFrame({"layer": rows["layer"].to_numpy()[sound], "share": share[sound]})
        parts.append(part.assign(**looks, place=place, unit=unit))
    return parts
