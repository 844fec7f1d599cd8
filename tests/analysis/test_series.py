"""The rows that pictures are made of, against figures by hand."""

import functools
import math
import shutil
from pathlib import Path

import pandas
import pytest
from pandas import DataFrame, read_parquet

from normlab.analysis import read_results, series
from normlab.errors import ConfigError
from tests.analysis import sample
from tests.measurement.layer_tables import blocks
from tests.tools.synthetic_results import SNAPSHOTS, write_runs


@pytest.fixture(scope="module")
def runs_in(tmp_path_factory):
    """Reads the first of the synthetic runs from a folder of one's own; they are written once."""

    @functools.cache
    def written(count):
        root = tmp_path_factory.mktemp("written")
        write_runs(count, root, with_tables=True)
        return root

    def copied(root, count=80):
        shutil.copytree(written(count), root, dirs_exist_ok=True)
        frame, problems = read_results([root])
        assert problems == []
        return series.with_variants(frame[frame["optimizer.lr"] == 0.1])

    return copied


def test_a_variant_names_norm_and_skips_whatever_varies(tmp_path, runs_in):
    runs = runs_in(tmp_path)
    assert list(dict.fromkeys(runs["variant"])) == [
        "no-norm plain",
        "bn plain",
        "bn residual",
        "ln plain",
        "ln residual",
    ]
    alone = series.with_variants(runs[(runs["norm"] == "bn") & ~runs["model.residual"]].iloc[:1])
    assert list(alone["variant"]) == ["bn plain"]


def test_a_runs_row_says_what_its_variant_is(tmp_path, runs_in):
    runs = runs_in(tmp_path)
    looks = {
        "no-norm plain": ("none", False),
        "bn plain": ("bn", False),
        "bn residual": ("bn", True),
        "ln plain": ("ln", False),
        "ln residual": ("ln", True),
    }
    found = runs[["variant", "hue", "residual"]].drop_duplicates().to_dict("split")["data"]
    assert {name: (norm, residual) for name, norm, residual in found} == looks
    assert set(runs["rest"]) == {0}
    tables = (
        series.profiles(runs, "delta_rms"),
        series.profiles(runs, "delta_rms", by="step"),
        series.curves(runs, "test_loss"),
        series.finals(runs, "test_error"),
    )
    for table in tables:
        assert set(table["variant"]) == set(looks)


def test_what_else_sets_variants_apart_is_counted_in_its_order(tmp_path):
    write_runs(80, tmp_path)
    frame = read_results([tmp_path])[0]  # two learning rates
    runs = series.with_variants(frame)
    assert runs["variant"].nunique() == 10
    places = runs[["rest", "optimizer.lr"]].drop_duplicates().sort_values("rest")
    assert places.to_numpy().tolist() == [[0, 0.01], [1, 0.1]]
    assert runs["ordered"].all()
    words = frame.assign(**{"model.init": frame["optimizer.lr"].map(str), "optimizer.lr": 0.1})
    assert not series.with_variants(words)["ordered"].any()


def test_keys_on_an_axis_set_no_variant_apart(tmp_path):
    write_runs(80, tmp_path)
    frame = read_results([tmp_path])[0]
    rates = series.with_variants(frame, ["optimizer.lr"])
    assert rates["variant"].nunique() == 5
    norms = series.with_variants(frame, ["norm", "optimizer.lr"])
    assert set(norms["variant"]) == {"plain", "residual"}
    assert norms["hue"].isna().all()


def test_the_largest_depth_that_trains_is_where_most_nets_do():
    runs = DataFrame(
        [
            (variant, depth, rate, verdict)
            for variant, rate, depth, verdicts in [
                ("a", 0.1, 8, ["trains", "trains", "vanishing"]),
                ("a", 0.1, 20, ["trains", "vanishing", "vanishing"]),
                ("a", 1.0, 8, ["diverged", None]),
                ("a", 1.0, 20, ["diverged", "diverged"]),
                ("b", 0.1, 8, ["trains", "collapsed"]),  # a tie is not most
                ("b", 0.1, 20, ["healthy"]),
                ("b", 1.0, 8, ["trains"]),
                ("b", 1.0, 20, ["trains"]),
            ]
            for verdict in verdicts
        ],
        columns=["variant", "model.depth", "optimizer.lr", "verdict"],
    ).assign(norm="none", training_number=range(15))
    by_depth = series.phases(runs, ["model.depth", "optimizer.lr"])
    assert by_depth[["variant", "x", "y", "verdict", "agree", "n"]].to_numpy().tolist() == [
        ["a", 8, 0.1, "trains", 2, 3],
        ["a", 8, 1.0, "diverged", 1, 2],
        ["a", 20, 0.1, "vanishing", 2, 3],
        ["a", 20, 1.0, "diverged", 2, 2],
        ["b", 8, 0.1, "collapsed", 1, 2],
        ["b", 8, 1.0, "trains", 1, 1],
        ["b", 20, 0.1, "healthy", 1, 1],
        ["b", 20, 1.0, "trains", 1, 1],
    ]
    deepest = {("a", 0.1): 8, ("a", 1.0): math.nan, ("b", 0.1): 20, ("b", 1.0): 20}
    for table, rate in ((by_depth, "y"), (series.phases(runs, ["norm", "optimizer.lr"]), "y")):
        for row in table.to_dict("records"):
            assert row["depth"] == pytest.approx(deepest[row["variant"], row[rate]], nan_ok=True)


def test_profiles_are_geometric_means_with_the_least_and_greatest_seed(tmp_path, runs_in):
    runs = runs_in(tmp_path)
    table = series.profiles(runs, "delta_rms", by="step")
    mine = runs[(runs["variant"] == "bn residual") & (runs["model.depth"] == 20)]
    assert len(mine) == 2
    values = [
        read_parquet(f"{folder}/layers.parquet").query("step == 5 and layer == 7")["delta_rms"]
        for folder in mine["folder"]
    ]
    a, b = (float(v.iloc[0]) for v in values)
    chosen = table.query("variant == 'bn residual' and depth == 20 and step == 5 and layer == 7")
    (row,) = chosen.to_dict("records")
    assert row["value"] == pytest.approx(math.sqrt(a * b))
    assert (row["low"], row["high"]) == (pytest.approx(min(a, b)), pytest.approx(max(a, b)))
    assert (row["n"], row["zeros"], row["broken"]) == (2, 0, 0)
    assert set(table["step"]) == set(SNAPSHOTS)
    assert table.query("depth == 20")["layer"].max() == 19  # the output layer is left out


def test_a_cosine_is_averaged_as_it_is(tmp_path, runs_in):
    table = series.profiles(runs_in(tmp_path, 40), "sample_cosine")
    assert table.query("layer == 2")["value"].unique() == pytest.approx(0.75)


def spoil(folder, layer, value):
    file = f"{folder}/layers.parquet"
    layers = read_parquet(file)
    layers.loc[layers["layer"] == layer, "delta_rms"] = value
    layers.to_parquet(file)


def test_zeros_and_infinities_are_counted_and_left_out(tmp_path, runs_in):
    runs = runs_in(tmp_path)
    mine = runs[(runs["variant"] == "bn plain") & (runs["model.depth"] == 8)]
    spoil(mine["folder"].iloc[0], 3, 0.0)
    spoil(mine["folder"].iloc[0], 4, math.inf)
    for folder in mine["folder"]:
        spoil(folder, 5, 0.0)
    table = series.profiles(runs, "delta_rms")
    assert set(table["place"]) == {"init", "end"}
    rows = table.query("variant == 'bn plain' and depth == 8 and place == 'init'").set_index(
        "layer"
    )
    assert rows.loc[3, ["n", "zeros", "broken"]].tolist() == [1, 1, 0]
    assert rows.loc[4, ["n", "zeros", "broken"]].tolist() == [1, 0, 1]
    assert rows.loc[5, ["n", "zeros", "broken"]].tolist() == [0, 2, 0]
    assert math.isnan(rows.loc[5, "value"])
    assert rows.loc[3, "value"] > 0


def test_a_run_that_ended_early_has_its_end_among_the_ends(tmp_path, runs_in):
    runs = runs_in(tmp_path, 120)  # three seeds
    mine = runs[(runs["variant"] == "bn plain") & (runs["model.depth"] == 8)]
    file = f"{mine['folder'].iloc[0]}/layers.parquet"
    layers = read_parquet(file)
    layers[layers["step"] <= 5].replace({"step": {5: 3}}).to_parquet(file)  # it diverged at step 3
    chosen = "variant == 'bn plain' and depth == 8"
    ends = series.profiles(runs, "delta_rms").query(f"{chosen} and place == 'end'")
    assert ends["layer"].tolist() == list(range(1, 8))
    assert set(ends["n"]) == {3}
    steps = series.profiles(runs, "delta_rms", by="step").query(chosen)
    assert set(steps["step"]) == set(SNAPSHOTS)  # not its own last step


def test_an_encoders_layers_are_its_blocks(tmp_path, runs_in):
    runs = runs_in(tmp_path, 120)
    mine = runs[(runs["variant"] == "bn plain") & (runs["model.depth"] == 8)]
    for folder in mine["folder"]:
        table = blocks(0, [0.5, 2.0], [0.5, 0.25])
        to_parquet = pandas.concat([table, table.assign(step=7)], ignore_index=True)
        to_parquet.to_parquet(f"{folder}/layers.parquet")
    found = series.profiles(mine, "rank_one_distance")
    assert found["layer"].tolist() == [1, 2, 1, 2]
    assert set(found["unit"]) == {"block"}
    assert found["value"].tolist() == pytest.approx([0.5, 0.25, 0.5, 0.25])
    assert set(series.history(Path(mine["folder"].iloc[0]), "token_cosine")["unit"]) == {"block"}
    both = series.profiles(runs, "delta_rms")
    assert set(both["unit"]) == {"block", "layer"}
    assert "unit" not in series.profiles(runs.drop(mine.index), "delta_rms")
    with pytest.raises(ConfigError, match=r"'probes.tokens=\[.*logit_std.*\]' measures it of "):
        series.profiles(runs, "logit_std")


def test_data_drawn_with_the_seed_are_no_variant(tmp_path, runs_in):
    runs = runs_in(tmp_path).assign(**{"data.seed": lambda t: t["seed"]})
    assert len(set(series.with_variants(runs)["variant"])) == 5


def test_a_training_that_was_measured_twice_is_drawn_once(tmp_path, runs_in):
    runs = runs_in(tmp_path)
    again = runs.assign(**{"probes.measure": "[]"}, run_id="b" + runs["run_id"])
    both = series.with_variants(pandas.concat([again, runs], ignore_index=True))
    for one, two in (
        (series.profiles(runs, "delta_rms"), series.profiles(both, "delta_rms")),
        (series.curves(runs, "test_loss"), series.curves(both, "test_loss")),
        (series.finals(runs, "test_error"), series.finals(both, "test_error")),
    ):
        assert one["n"].tolist() == two["n"].tolist()


def test_damaged_tables_are_left_out_and_none_at_all_is_said(tmp_path, runs_in):
    runs = runs_in(tmp_path, 40)
    whole = series.profiles(runs, "delta_rms")
    for folder in runs["folder"].iloc[1:]:
        Path(f"{folder}/layers.parquet").write_bytes(b"PAR1 not a table")
    assert 0 < len(series.profiles(runs, "delta_rms")) < len(whole)
    nothing = r"grad_norm: was measured in none of the 20 runs; 'probes.measure=\[grad_norm,.*\]' m"
    with pytest.raises(ConfigError, match=nothing):
        series.profiles(runs, "grad_norm")
    with pytest.raises(ConfigError, match=r"^grad_norm: was not measured; "):
        series.profiles(runs[:1], "grad_norm")
    Path(f"{runs['folder'].iloc[0]}/layers.parquet").unlink()
    with pytest.raises(ConfigError, match=r"no layers.parquet of 20 runs can be read"):
        series.profiles(runs, "delta_rms")


def test_errors_and_curves_are_means(tmp_path, runs_in):
    runs = runs_in(tmp_path)
    errors = series.finals(runs, "train_error")
    error = errors.query("variant == 'ln plain' and depth == 56").iloc[0]
    mine = runs[(runs["variant"] == "ln plain") & (runs["model.depth"] == 56)]
    assert error["value"] == pytest.approx(1 - mine["train_acc"].mean())
    assert error["low"] == pytest.approx(1 - mine["train_acc"].max())
    perfect = series.finals(runs.assign(train_error=0.0), "train_error")
    assert set(perfect["value"]) == {0.0}  # a figure as any, where no logarithm is taken
    assert not perfect[["zeros", "broken"]].any(axis=None)
    curve = series.curves(runs, "train_acc").query("variant == 'ln plain' and depth == 56")
    assert curve.query("epoch == 15")["value"].iloc[0] == pytest.approx(mine["train_acc"].mean())
    assert len(curve) == 16


def test_a_diverged_seed_leaves_the_curves_and_is_counted(tmp_path, runs_in):
    runs = runs_in(tmp_path)
    line = "variant == 'ln plain' and depth == 56"
    before = series.curves(runs, "train_acc").query(line)
    mine = runs[(runs["variant"] == "ln plain") & (runs["model.depth"] == 56)]
    file = Path(mine["folder"].iloc[0]) / "metrics.parquet"
    metrics = read_parquet(file)
    # It diverges within its fifth epoch, and was evaluated with broken weights.
    broken = metrics[metrics["epoch"] == 5].assign(epoch=4.4, train_acc=0.0)
    pandas.concat([metrics[metrics["epoch"] < 5], broken]).to_parquet(file)
    after = series.curves(runs, "train_acc").query(line)
    # No row of the broken weights alone.
    assert after["epoch"].tolist() == before["epoch"].tolist()
    assert set(before["n"]) == set(after["runs"]) == {len(mine)}
    left = [len(mine)] * 5 + [len(mine) - 1] * 11
    assert after["n"].tolist() == left
    ends = [read_parquet(f"{f}/metrics.parquet")["train_acc"].iloc[-1] for f in mine["folder"][1:]]
    assert after["value"].iloc[-1] == pytest.approx(sum(ends) / len(ends))


def test_a_hint_keeps_what_a_run_measures_already(tmp_path: Path) -> None:
    folder, _ = sample.measured(tmp_path, {0: [0.1, 0.2]})
    tokens = "token_cosine,rank_one_distance,logit_std,attention_entropy,padding_leak"
    with pytest.raises(ConfigError, match=rf"'probes.tokens=\[{tokens}\]' .*model=encoder$"):
        series.history(Path(folder), "padding_leak")


def test_a_history_has_the_hidden_layers_at_the_steps_that_were_measured(tmp_path: Path) -> None:
    folder, _ = sample.measured(tmp_path, {0: [0.1, 0.2, 0.3], 1: [None] * 3, 4: [0.4, 0.5, 0.6]})
    assert series.history(Path(folder), "delta_rms").to_dict("list") == {
        "step": [0, 0, 4, 4],
        "layer": [1, 2, 1, 2],
        "name": ["l1", "l2", "l1", "l2"],
        "value": [0.1, 0.2, 0.4, 0.5],
    }
    with pytest.raises(ConfigError, match=r"act_std: was not measured .*measure=\[.*act_std.*\]"):
        series.history(Path(folder), "act_std")


def test_nothing_to_draw_is_said():
    frame = DataFrame({"status": ["failed"], "run_id": ["a"]})
    with pytest.raises(ConfigError, match="no finished run is there to draw"):
        series.with_variants(frame)
