"""Many runs as the few rows that a picture needs: by layer, by epoch, by depth.

A line is a variant at one depth, the columns `variant` and `depth`; what else is known of a variant
stands once, in the frame of `with_variants`. A line's value at a place is the mean over seeds, the
geometric one of what spans decades, and `low` and `high` are the least and the greatest seed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas
from pandas import DataFrame

from normlab.analysis.cells import best_first, cells_of, training_numbers, usual_diagnosis
from normlab.analysis.keys import DEPTH, NORM, RESIDUAL, rank
from normlab.analysis.variants import variant_keys, variants_of, with_looks
from normlab.config import PROBES
from normlab.errors import ConfigError, RecordError
from normlab.measurement import by_block, has_blocks, unit_of
from normlab.runs import read_summary, read_table
from normlab.vocabulary import DIAGNOSES, FINAL, METRICS

Progress = Callable[[int, int], None]  # hears how many of how many tables are read


class Line(NamedTuple):
    """Which of a picture's lines a run belongs to, as columns of its table."""

    variant: str
    depth: int


def with_variants(frame: DataFrame, apart: Sequence[str] = ()) -> DataFrame:
    """The finished and diverged runs, each with its variant in further columns.

    The columns are those of `with_looks`. The keys `apart`, which a picture has on its axes, set no
    variant apart. Norm and skips are always named unless they are such, so that a variant has one
    name, and colour, everywhere. Runs of one training, with other probes each, share a
    `training_number`: a line counts them once. Raises ConfigError where there is no run.
    """
    frame = frame[frame["status"].isin(FINAL)].drop_duplicates("run_id")
    if frame.empty:
        raise ConfigError("no finished run is there to draw; normlab ls shows what is")
    named = dict.fromkeys([NORM, RESIDUAL, *variant_keys(frame)])
    keys = [key for key in named if key not in apart]
    frame = frame.assign(training_number=training_numbers(frame)).iloc[best_first(frame)]
    frame = frame.sort_values([*keys, DEPTH, "seed"], key=lambda c: c.map(rank), kind="stable")
    return with_looks(frame, variants_of(frame, keys), apart)


def profiles(
    runs: DataFrame,
    probe: str,
    progress: Progress | None = None,
    *,
    by: Literal["place", "step"] = "place",
) -> DataFrame:
    """A probe by layer: variant, depth, hidden, layer, unit, and value, low, high, n over seeds.

    By `place`, at init and at the end, whenever a run's end is, or by every `step` that more than
    half of a net's runs have. `hidden` is the number of hidden layers; the output layer is left
    out, and of a network with blocks a layer is a block, as `unit` says where any has. `zeros` and
    `broken` count the seeds whose value is 0 or not finite, which have no logarithm and are left
    out of a geometric mean. Raises ConfigError where no run has the probe.
    """
    parts: list[DataFrame] = []
    lines: list[Line] = []
    for line, _, layers in tables_of(runs, "layers", progress, needed=probe):
        unit, layers = unit_of(layers), by_block(layers)
        parts.append(layers[["step", "layer", probe]].assign(run=len(lines), unit=unit))
        lines.append(line)
    found = pandas.concat(parts, ignore_index=True) if parts else DataFrame({probe: []})
    if not found[probe].notna().any():
        where = f"measured in none of the {len(runs)} runs" if len(runs) > 1 else "not measured"
        hint = _measuring(probe, Path(str(runs["folder"].iloc[0])))
        raise ConfigError(f"{probe}: was {where}; {hint}")
    measured = found[probe].notna().groupby([found["run"], found["step"]]).transform("any")
    found = found.assign(hidden=found.groupby("run")["layer"].transform("max") - 1)
    found = found[measured & (found["layer"] <= found["hidden"])].rename(columns={probe: "value"})
    steps = found.groupby("run")["step"]
    first = found["step"] == steps.transform("min")
    last = found["step"] == steps.transform("max")
    place = np.where(first, "init", np.where(last, "end", "between"))
    about = DataFrame(lines).iloc[found["run"]].reset_index(drop=True)
    found = pandas.concat([found.reset_index(drop=True), about], axis=1).assign(place=place)
    if by == "place":
        found = found[found["place"] != "between"]
    measure = PROBES.get(probe)
    table = over_seeds(
        found,
        ["hidden", by, "layer", *_units(found)],
        log=measure is not None and measure.logarithmic,
    )
    if by == "place":
        return table
    seeds = table[["n", "zeros", "broken"]].sum(axis=1)
    most = seeds.groupby([table["variant"], table["depth"]]).transform("max")
    common: DataFrame = table[2 * seeds > most]
    return common


def _units(found: DataFrame) -> list[str]:
    """The column that tells blocks from layers, where there are blocks."""
    return ["unit"] if (found["unit"] == "block").any() else []


def _measuring(probe: str, folder: Path) -> str:
    """Which setting measures a probe beside what a run measures already, as half a sentence."""
    measure = PROBES.get(probe)
    key = measure.key if measure else "probes.measure"
    group, _, field = key.partition(".")
    summary = read_summary(folder)
    settings = (summary.config if summary else None) or {}
    probes = dict.fromkeys([*(settings.get(group) or {}).get(field, ()), probe])
    of = " of model=encoder" if key == "probes.tokens" else ""
    return f"'{key}=[{','.join(probes)}]' measures it{of}"


def curves(runs: DataFrame, metric: str, progress: Progress | None = None) -> DataFrame:
    """A metric by epoch: variant, depth, epoch, value, low, high, n, and the `runs` of the line.

    A run that diverged ends early, so that n falls. An epoch has a row where all of a line's runs
    that come so far were evaluated: what one of them alone has, such as the broken weights that end
    a diverged run, is no mean of the line.
    """
    parts = [
        metrics[["epoch", metric]]
        .rename(columns={metric: "value"})
        .assign(**line._asdict(), run=index)
        for index, (line, _, metrics) in enumerate(tables_of(runs, "metrics", progress))
    ]
    found = pandas.concat(parts, ignore_index=True)
    ends = found.groupby([*Line._fields, "run"], sort=False)["epoch"].max()
    lasts = {line: np.sort(last) for line, last in ends.groupby([*Line._fields], sort=False)}
    kept = []
    for line, group in over_seeds(found, ["epoch"], log=False).groupby([*Line._fields]):
        last = lasts[line]
        lasting = len(last) - np.searchsorted(last, group["epoch"].to_numpy())
        kept.append(group.assign(runs=len(last))[group["n"] + group["broken"] == lasting])
    return pandas.concat(kept).sort_index()


def finals(runs: DataFrame, metric: str, key: str = DEPTH) -> DataFrame:
    """A metric of whole runs by a key: variant, depth, `x`, value, low, high, n; zeros and broken.

    Runs that lack the key or the figure are left out.
    """
    runs = runs.drop_duplicates("training_number")
    found = runs[["variant", DEPTH]].rename(columns={DEPTH: "depth"})
    found = found.assign(x=runs[key], value=runs[metric])[runs[key].notna()]
    found = found.sort_values("x", key=lambda c: c.map(rank), kind="stable")
    return over_seeds(found, ["x"], log=METRICS[metric].logarithmic)


def phases(runs: DataFrame, keys: Sequence[str]) -> DataFrame:
    """What became of the nets at two keys' values: variant, x, y, verdict, agree, n, depth.

    The verdict is the most frequent one of a place's runs, of equally frequent ones the worst, and
    `agree` how many of the n runs have it. `depth` is the greatest at which most nets train, NaN
    where they do at none; where depth is one of the keys, the greatest at the other key's value.
    """
    runs = runs.drop_duplicates("training_number")
    where = ["variant", *keys]
    by_depth = list(dict.fromkeys([*where, DEPTH]))
    cells = cells_of(runs, by_depth)
    usual = usual_diagnosis(runs["verdict"], cells)
    seen = (
        runs[by_depth]
        .iloc[cells.first]
        .assign(sound=[name is not None and DIAGNOSES[name].sound for name in usual])
    )
    beside = ["variant", *(key for key in keys if key != DEPTH)]
    deepest = seen[seen["sound"]].groupby(beside, dropna=False, sort=False)[DEPTH].max()
    cells = cells_of(runs, where)
    usual = usual_diagnosis(runs["verdict"], cells)
    table = runs[where].iloc[cells.first].reset_index(drop=True)
    table = table.merge(deepest.rename("depth").reset_index(), "left", on=beside)
    table = table.rename(columns=dict(zip(keys, ("x", "y"), strict=True))).assign(
        verdict=usual,
        agree=cells.count(runs["verdict"].to_numpy(dtype=object) == usual[cells.number]),
        n=cells.count(slice(None)),
    )
    # In the order of the runs, in which a variant without norm is the first.
    places = {variant: place for place, variant in enumerate(runs["variant"].unique())}
    return table.sort_values("variant", key=lambda names: names.map(places), kind="stable")


def history(folder: Path, probe: str) -> DataFrame:
    """One run's whole history of a probe, by layer or block: step, layer, name, value, unit; the
    output layer left out.

    Raises ConfigError where it was not measured.
    """
    layers = read_table(folder, "layers")
    if probe not in layers or layers[probe].isna().all():
        raise ConfigError(f"{probe}: was not measured in {folder}; {_measuring(probe, folder)}")
    units = {"unit": "block"} if has_blocks(layers) else {}
    layers = by_block(layers[layers["step"].isin(layers.loc[layers[probe].notna(), "step"])])
    hidden = layers["layer"] < layers["layer"].max()
    found: DataFrame = layers.loc[hidden, ["step", "layer", "name", probe]]
    return found.rename(columns={probe: "value"}).assign(**units)


def tables_of(
    runs: DataFrame, name: Any, progress: Progress | None, needed: str = "step"
) -> Iterator[tuple[Line, Path, DataFrame]]:
    """Each training's line, folder and one of its tables, of the first run that has the needed
    column; damaged ones are left out."""
    columns = ("variant", DEPTH, "folder", "training_number")
    rows = list(zip(*(runs[key].tolist() for key in columns), strict=True))
    read = 0
    yielded: set[int] = set()
    for index, (variant, depth, folder, training) in enumerate(rows):
        if progress:
            progress(index, len(rows))
        if training in yielded:
            continue
        try:
            table = read_table(Path(folder), name)
        except RecordError:
            continue
        if table.empty:
            continue
        read += 1
        if needed in table:
            yielded.add(training)
            yield Line(variant, depth), Path(folder), table
    if not read:
        raise ConfigError(f"no {name}.parquet of {len(rows)} runs can be read")


def over_seeds(found: DataFrame, keys: Sequence[str], *, log: bool) -> DataFrame:
    """The mean, least and greatest value of a line's runs at every place that the keys name."""
    values = found["value"].to_numpy(dtype=np.float64)
    zeros = (values == 0) if log else np.zeros(len(values), dtype=bool)
    usable = np.isfinite(values) & ~zeros
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(usable, np.log(values) if log else values, math.nan)
    groups = found.assign(
        scaled=scaled, zeros=zeros, broken=~np.isfinite(values), n=usable
    ).groupby([*Line._fields, *keys], sort=False, dropna=False)
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
