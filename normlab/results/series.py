"""Many runs as the few rows that a picture needs: by layer, by epoch, by depth.

A line is a variant; its value at a place is the mean over seeds, the geometric one of what spans
decades, and `low` and `high` are the least and the greatest seed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas
from pandas import DataFrame

from normlab.config import from_plain
from normlab.errors import ConfigError, RecordError
from normlab.measurement import predict
from normlab.results.frames import DEPTH, rank, variant_keys, variant_name
from normlab.runs import FINAL, read_summary, read_table

# Probes that span decades and cannot be negative.
LOG_PROBES = ("grad_norm", "delta_rms", "mean_delta", "update_ratio", "weight_norm", "act_std")
CURVES = ("train_acc", "test_acc", "train_loss", "test_loss")

Tell = Callable[[int, int], None]


def with_variants(frame: DataFrame) -> DataFrame:
    """The finished and diverged runs, each with the name of its variant.

    Norm and skips are always named, so that a variant has one name, and colour, everywhere. Raises
    ConfigError where there is none.
    """
    frame = frame[frame["status"].isin(FINAL)].drop_duplicates("run_id")
    if frame.empty:
        raise ConfigError("no finished run is there to draw; normlab ls shows what is")
    keys = list(dict.fromkeys(["norm", "model.residual", *variant_keys(frame)]))
    frame = frame.sort_values([*keys, DEPTH, "seed"], key=lambda c: c.map(rank), kind="stable")
    rows = [{key: row[key] for key in keys} for row in frame[keys].to_dict("records")]
    names = [variant_name(row, keys) for row in rows]
    return frame.assign(variant=names)


def profiles(
    runs: DataFrame, probe: str, tell: Tell | None = None, *, by: Literal["place", "step"] = "place"
) -> DataFrame:
    """A probe by layer: variant, depth, hidden, layer, and value, low, high, n over the seeds.

    By `place`, at init and at the end, whenever a run's end is, or by every `step` that more than
    half of a net's runs have. `hidden` is the number of hidden layers; the output layer is left
    out. `zeros` and `broken` count the seeds whose value is 0 or not finite, which have no
    logarithm and are left out of a geometric mean. Raises ConfigError where no run has the probe.
    """
    parts: list[DataFrame] = []
    rows: list[dict[str, Any]] = []
    for row, layers in _tables(runs, "layers", tell):
        if probe in layers:
            parts.append(layers[["step", "layer", probe]].assign(run=len(rows)))
            rows.append({"variant": row["variant"], "depth": row[DEPTH]})
    found = pandas.concat(parts, ignore_index=True) if parts else DataFrame({probe: []})
    if not found[probe].notna().any():
        raise ConfigError(
            f"{probe}: was measured in none of the {len(runs)} runs; probes=all measures it"
        )
    measured = found[probe].notna().groupby([found["run"], found["step"]]).transform("any")
    found = found.assign(hidden=found.groupby("run")["layer"].transform("max") - 1)
    found = found[measured & (found["layer"] <= found["hidden"])].rename(columns={probe: "value"})
    steps = found.groupby("run")["step"]
    first = found["step"] == steps.transform("min")
    last = found["step"] == steps.transform("max")
    place = np.where(first, "init", np.where(last, "end", "between"))
    about = DataFrame(rows).iloc[found["run"]].reset_index(drop=True)
    found = pandas.concat([found.reset_index(drop=True), about], axis=1).assign(place=place)
    if by == "place":
        found = found[found["place"] != "between"]
    table = _over_seeds(found, ["variant", "depth", "hidden", by, "layer"], log=probe in LOG_PROBES)
    if by == "place":
        return table
    seeds = table[["n", "zeros", "broken"]].sum(axis=1)
    most = seeds.groupby([table["variant"], table["depth"]]).transform("max")
    common: DataFrame = table[2 * seeds > most]
    return common


def curves(runs: DataFrame, metric: str, tell: Tell | None = None) -> DataFrame:
    """A metric by epoch: variant, depth, epoch, value, low, high, n."""
    parts = []
    for row, metrics in _tables(runs, "metrics", tell):
        about = {"variant": row["variant"], "depth": row[DEPTH]}
        parts.append(metrics[["epoch", metric]].rename(columns={metric: "value"}).assign(**about))
    found = pandas.concat(parts, ignore_index=True)
    return _over_seeds(found, ["variant", "depth", "epoch"], log=False)


def errors(runs: DataFrame) -> DataFrame:
    """The final train error by depth: variant, depth, value, low, high, n."""
    found = runs[["variant", DEPTH]].rename(columns={DEPTH: "depth"})
    found = found.assign(value=1 - runs["train_acc"])
    return _over_seeds(found, ["variant", "depth"], log=False)


def history(folder: Path, probe: str) -> DataFrame:
    """One run's whole history of a probe: step, layer, name, value; the output layer left out.

    Raises ConfigError where it was not measured.
    """
    layers = read_table(folder, "layers")
    if probe not in layers or layers[probe].isna().all():
        raise ConfigError(f"{probe}: was not measured in {folder}; probes=all measures it")
    layers = layers[layers["step"].isin(layers.loc[layers[probe].notna(), "step"])]
    hidden = layers["layer"] < layers["layer"].max()
    found: DataFrame = layers.loc[hidden, ["step", "layer", "name", probe]]
    return found.rename(columns={probe: "value"})


def predicted(runs: DataFrame, tell: Tell | None = None) -> DataFrame:
    """Measured and predicted factor of δ from each hidden layer to the one before, at init.

    variant, depth, layer, value, low, high, n, predicted. Raises ConfigError where theory covers
    none of the runs.
    """
    parts = []
    for row, layers in _tables(runs, "layers", tell):
        summary = read_summary(Path(row["folder"]))
        try:
            prediction = predict(from_plain(summary.config if summary else None))
        except ConfigError:
            continue
        if prediction is None or "delta_rms" not in layers:
            continue
        start = layers[layers["step"] == 0].sort_values("layer")["delta_rms"].to_numpy()[:-1]
        if len(start) != len(prediction.factors) + 1 or not (start > 0).all():
            continue
        parts.append(
            DataFrame(
                {
                    "variant": row["variant"],
                    "depth": row[DEPTH],
                    "layer": np.arange(1, len(start)),
                    "value": start[:-1] / start[1:],
                    "predicted": prediction.factors,
                }
            )
        )
    if not parts:
        raise ConfigError(
            "theory covers none of these runs; it covers MLPs without norm, and BatchNorm with ReLU"
        )
    found = pandas.concat(parts, ignore_index=True)
    return _over_seeds(found, ["variant", "depth", "layer", "predicted"], log=True)


def _tables(
    runs: DataFrame, name: Any, tell: Tell | None
) -> Iterator[tuple[dict[str, Any], DataFrame]]:
    """Each run with one of its tables; damaged ones are left out, `tell` hears how far it is."""
    rows = runs.to_dict("records")
    read = 0
    for index, row in enumerate(rows):
        if tell:
            tell(index, len(rows))
        try:
            table = read_table(Path(str(row["folder"])), name)
        except RecordError:
            continue
        read += 1
        yield {str(key): value for key, value in row.items()}, table
    if not read:
        raise ConfigError(f"no {name}.parquet of {len(rows)} runs can be read")


def _over_seeds(found: DataFrame, keys: Sequence[str], *, log: bool) -> DataFrame:
    values = found["value"].to_numpy(dtype=np.float64)
    zeros = (values == 0) if log else np.zeros(len(values), dtype=bool)
    usable = np.isfinite(values) & ~zeros
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(usable, np.log(values) if log else values, math.nan)
    groups = found.assign(
        scaled=scaled, zeros=zeros, broken=~np.isfinite(values), n=usable
    ).groupby(list(keys), sort=False, dropna=False)
    table = groups.agg(
        value=("scaled", "mean"),
        low=("scaled", "min"),
        high=("scaled", "max"),
        n=("n", "sum"),
        zeros=("zeros", "sum"),
        broken=("broken", "sum"),
    ).reset_index()
    if log:
        table[["value", "low", "high"]] = np.exp(table[["value", "low", "high"]])
    return table
