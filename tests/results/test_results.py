import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame
from scipy import stats

from normlab.config import compose, to_yaml
from normlab.errors import ConfigError, RecordError
from normlab.results import (
    counts,
    export,
    findings,
    layout,
    paired,
    pooled,
    read_results,
    summarize,
    where,
)
from normlab.results.frames import degraded, t_quantile, t_within, to_frame, varying
from normlab.runs.locks import RunLock
from tests.tools.synthetic_results import write_runs

COUNT = 300


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataFrame]:
    root = tmp_path_factory.mktemp("many")
    write_runs(COUNT, root)
    frame, problems = read_results([root])
    assert problems == []
    return root, frame


CONFIGS: dict[tuple[str, ...], dict[str, Any]] = {}


def row(*overrides: str, **summary: Any) -> tuple[str, dict[str, Any]]:
    """One run's folder and summary."""
    if overrides not in CONFIGS:
        CONFIGS[overrides] = compose(overrides).model_dump(mode="json")
    config = CONFIGS[overrides] | {"seed": summary.pop("seed", 0)}
    identity = json.dumps(config, sort_keys=True)
    content = {
        "run_id": identity,
        "name": "net",
        "status": "finished",
        "verdict": "trains",
        "train_acc": 1.0,
        "gradient_ratio_end": 1.0,
        **summary,
        "config": config,
    }
    return f"results/runs/{abs(hash(identity))}", content


def one_cell(metric: str, values: Sequence[float | None], **more: Any) -> dict[str, Any]:
    runs = [row("norm=bn", seed=i, **{metric: v}, **more) for i, v in enumerate(values)]
    summary = summarize(to_frame(runs), ["norm"], [], [metric])
    assert len(summary) == 1
    return {str(k): v for k, v in summary.iloc[0].to_dict().items()}


# ----------------------------------------------------------------------------- reading


def test_every_run_is_a_row(many: tuple[Path, DataFrame]) -> None:
    _, frame = many
    assert len(frame) == COUNT
    assert set(frame["norm"]) == {"none", "ln", "bn"}
    assert frame["experiment"].unique().tolist() == ["synthetic"]
    one = frame.iloc[17]
    raw = json.loads((Path(one["folder"]) / "summary.json").read_text())
    assert one["run_id"] == raw["run_id"] == Path(one["folder"]).name
    assert one["model.depth"] == raw["config"]["model"]["depth"]
    assert one["optimizer.lr"] == raw["config"]["optimizer"]["lr"]
    assert one["train_acc"] == raw["train_acc"]
    assert one["schedule"] == "cosine"
    assert one["probes.measure"].startswith("[grad_norm,delta_rms")
    assert not any(column.startswith("output") for column in frame)
    assert frame["folder"].is_monotonic_increasing


def test_any_folder_will_do_and_none_counts_twice(many: tuple[Path, DataFrame]) -> None:
    root, frame = many
    folder = Path(frame["folder"].iloc[0])
    assert len(read_results([folder])[0]) == 1
    assert len(read_results([root / "synthetic"])[0]) == COUNT
    assert len(read_results([root, root / "synthetic", folder])[0]) == COUNT


def test_the_working_folder_names_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_runs(1, tmp_path)[0]
    for here, path in ((tmp_path, "."), (folder, "."), (folder.parent, folder.name)):
        monkeypatch.chdir(here)
        assert read_results([Path(path)])[0]["experiment"].tolist() == ["synthetic"]


def test_no_folder_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such folder"):
        read_results([tmp_path / "nowhere"])
    frame, problems = read_results([tmp_path])
    assert frame.empty
    assert problems == []
    assert {"run_id", "status", "verdict", "seed", "folder"} <= set(frame)
    assert counts(frame) == {}
    assert findings(frame) == []


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "cut": '{"status": "finished", "run',
    "list": "[1, 2]",
    "other": '{"status": "ok"}',
    "no config": '{"status": "finished", "run_id": "a", "config": [1]}',
    "no seed": '{"status": "finished", "run_id": "a", "config": {}}',
    "bytes": b"\xff\xfe\x00",
    "deep": "[" * 50_000,
    "large": '{"status": "finished", "x": "' + "y" * 100_000 + '"}',
    "text": '{"status":"finished","run_id":"a","train_acc":"high","config":{"seed":0}}',
    "bool": '{"status":"finished","run_id":"a","steps":true,"config":{"seed":0}}',
    "digits": '{"status": "finished", "run_id": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_damaged_is_skipped_and_named(tmp_path: Path, kind: str) -> None:
    write_runs(3, tmp_path)
    bad = tmp_path / "synthetic" / "bad"
    bad.mkdir()
    text = BROKEN[kind]
    (bad / "summary.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    frame, problems = read_results([tmp_path])
    assert len(frame) == 3
    assert len(problems) == 1
    assert problems[0].startswith(f"{bad}: ")
    assert "\n" not in problems[0]


def test_foreign_folders_links_and_pipes(tmp_path: Path) -> None:
    outside = write_runs(2, tmp_path / "outside")[0]
    root = tmp_path / "results"
    folder = write_runs(1, root)[0].parent
    (root / "README.md").write_text("mine")
    (root / ".hidden").mkdir()
    (folder / "pictures").mkdir()
    (folder / "linked").symlink_to(outside)
    (folder / "link").mkdir()
    (folder / "link" / "summary.json").symlink_to(outside / "summary.json")
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "summary.json")
    (folder / "folder" / "summary.json").mkdir(parents=True)
    (folder / "yaml").mkdir()
    (folder / "yaml" / "config.yaml").write_text("{a: [")
    frame, problems = read_results([root])
    assert len(frame) == 1
    names = sorted(Path(problem.split(": ")[0]).name for problem in problems)
    assert names == ["folder", "link", "pictures", "pipe", "yaml"]


def test_unfinished_and_running(tmp_path: Path) -> None:
    for name, overrides in (("one", []), ("two", ["seed=1"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(to_yaml(compose(overrides)))
    lock = RunLock(tmp_path / "two")
    try:
        frame, problems = read_results([tmp_path])
    finally:
        lock.release()
    assert problems == []
    assert frame["status"].tolist() == ["unfinished", "running"]
    assert frame["seed"].tolist() == [0, 1]
    assert counts(frame) == {"running": 1, "unfinished": 1}
    cell = summarize(frame, ["norm"], [], ["train_acc", "gradient_ratio_end"])
    assert cell["n"].tolist() == [0, 0]
    assert cell["left_out"].tolist() == [2, 2]


def test_a_summary_without_config_falls_back_to_yaml(tmp_path: Path) -> None:
    folder = write_runs(1, tmp_path)[0]
    content = json.loads((folder / "summary.json").read_text())
    config = content.pop("config")
    (folder / "summary.json").write_text(json.dumps(content))
    frame, problems = read_results([tmp_path])
    assert problems == []
    assert frame["norm"].tolist() == [config["norm"]["name"]]
    assert frame["model.depth"].tolist() == [config["model"]["depth"]]


def test_columns_of_unlike_types_become_text(tmp_path: Path) -> None:
    runs = [row(seed=0), row(seed=1), row("norm=bn", seed=2)]
    runs[0][1]["device"], runs[1][1]["device"], runs[2][1]["device"] = "cpu", 3, True
    frame = to_frame(runs)
    assert frame["device"].tolist() == ["cpu", "3", "true"]
    export(frame, tmp_path / "all.parquet")


def test_the_generator_writes_what_runs_write(tmp_path: Path) -> None:
    from normlab.measurement import diagnose

    keys = diagnose(
        compose(), DataFrame(), DataFrame(), status="failed", step=0, classes=10, steps_per_epoch=1
    )
    folder = write_runs(1, tmp_path)[0]
    assert set(keys) <= set(json.loads((folder / "summary.json").read_text()))
    from normlab.config import from_yaml, run_id

    assert run_id(from_yaml((folder / "config.yaml").read_text())) == folder.name


def test_reading_needs_neither_torch_nor_scipy() -> None:
    doors = "from normlab.results import read_results; from normlab.show import comparison"
    code = f"import sys; {doors}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert not {"torch", "scipy", "hydra", "sklearn"} & set(loaded.split())


@pytest.mark.parametrize("group", ["data", "model", "norm", "optimizer", "training"])
@pytest.mark.parametrize("value", [None, "bn"])
def test_a_config_without_one_of_its_groups_is_no_run(group: str, value: str | None) -> None:
    folder, summary = row("norm=bn")
    problems: list[str] = []
    broken = summary | {"config": {**summary["config"], group: value}}
    frame = to_frame([(folder, broken), row("norm=bn", seed=1)], problems)
    assert frame["seed"].tolist() == [1]
    assert problems == [f"{folder}: summary.json is not normlab's, its config has no {group}"]


# ------------------------------------------------------------------------------ layout


def test_what_varies_is_laid_out(many: tuple[Path, DataFrame]) -> None:
    _, frame = many
    assert varying(frame) == ["norm", "model.residual", "model.depth", "optimizer.lr"]
    assert layout(frame) == (["norm", "model.residual", "optimizer.lr"], ["model.depth"])
    assert layout(frame, ["norm.name"], []) == (["norm"], [])
    assert pooled(frame, ["norm", "model.depth"]) == ["model.residual", "optimizer.lr"]
    assert pooled(frame, layout(frame)[0] + layout(frame)[1]) == []


def test_consequences_of_a_choice_do_not_vary() -> None:
    frame = to_frame([row("optimizer=sgd"), row("optimizer=adam"), row("optimizer=adam", seed=1)])
    assert frame["optimizer.lr"].nunique() == 2
    assert varying(frame) == ["optimizer"]
    frame = to_frame([row("optimizer.lr=0.1"), row("optimizer.lr=0.2")])
    assert varying(frame) == ["optimizer.lr"]


def test_what_goes_along_with_depth_needs_no_rows() -> None:
    frame = to_frame(
        [
            row(f"norm={norm}", f"model.depth={depth}", f"training.epochs={epochs}")
            for norm in ("none", "bn")
            for depth, epochs in ((8, 10), (20, 20))
        ]
    )
    assert layout(frame) == (["norm"], ["model.depth"])
    assert layout(where(frame, ["norm=bn"])) == (["model.depth"], [])
    assert layout(where(frame, ["norm=bn", "model.depth=8"])) == (["name"], [])


@pytest.mark.parametrize(
    ("key", "hint"),
    [("depth", "model.depth"), ("modle.depth", "model.depth"), ("x", "some are")],
)
def test_unknown_keys(many: tuple[Path, DataFrame], key: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: no such key.*{hint}"):
        layout(many[1], [key], None)
    with pytest.raises(ConfigError, match="among the rows already"):
        layout(many[1], ["norm"], ["norm"])
    with pytest.raises(ConfigError, match=r"train_ac: no such metric; .*did you mean train_acc"):
        summarize(many[1], ["norm"], [], ["train_ac"])


@pytest.mark.parametrize(
    ("expressions", "condition"),
    [
        (["norm=bn"], lambda f: f["norm"] == "bn"),
        (["norm.name==bn,ln"], lambda f: f["norm"].isin(["bn", "ln"])),
        (["norm!=bn"], lambda f: f["norm"] != "bn"),
        (["norm=none"], lambda f: f["norm"] == "none"),
        (["model.depth>=20", "model.depth<110"], lambda f: f["model.depth"].isin([20, 56])),
        (["model.depth = 8, 20"], lambda f: f["model.depth"] < 50),
        (["model.residual=true"], lambda f: f["model.residual"]),
        (["norm.affine=true"], lambda f: f["norm"] != "none"),
        (["norm.affine=null"], lambda f: f["norm"] == "none"),
        (["training.steps=null", "train_acc>0.5"], lambda f: f["train_acc"] > 0.5),
        (["verdict!=trains"], lambda f: f["verdict"] == "vanishing"),
        (["optimizer.lr=1e-2"], lambda f: f["optimizer.lr"] == 0.01),
    ],
)
def test_where(many: tuple[Path, DataFrame], expressions: list[str], condition: Any) -> None:
    found = where(many[1], expressions)
    assert 0 < len(found) < COUNT
    assert found["run_id"].tolist() == many[1][condition(many[1])]["run_id"].tolist()


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("norm", "must be KEY=VALUE"),
        ("=bn", "must be KEY=VALUE"),
        ("nrom=bn", "did you mean norm"),
        ("norm>bn", "not a number; use = or !="),
        ("model.residual>0", "not a number; use = or !="),
        ("model.residual=1", "must be true or false"),
        ("model.depth=deep", "model.depth must be a number"),
        ("model.depth>x", "model.depth must be a number"),
        ("norm=bnn", "no run has it; norm has bn, ln, none; did you mean bn"),
        ("model.depth>1000", "no run has it; model.depth has"),
    ],
)
def test_where_in_clear_words(many: tuple[Path, DataFrame], expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        where(many[1], [expression])
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------- statistics


@given(freedom=st.integers(1, 3000), t=st.floats(0, 1e4))
def test_students_t(freedom: int, t: float) -> None:
    expected = stats.t.cdf(t, freedom) - stats.t.cdf(-t, freedom)
    assert t_within(t, freedom) == pytest.approx(expected, abs=1e-12)
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-11)


def test_students_t_at_its_ends() -> None:
    assert t_within(math.inf, 3) == 1
    assert t_within(math.inf, 4) == 1
    assert t_within(0, 1) == 0
    assert t_within(1, 1) == pytest.approx(0.5)  # Cauchy's quartile


figures = st.floats(-1e3, 1e3).map(lambda x: round(x, 6))


@given(st.lists(figures, min_size=2, max_size=8))
def test_the_interval_is_students(values: list[float]) -> None:
    cell = one_cell("train_loss", values)
    mean, error = np.mean(values), stats.sem(values)
    half = stats.t.ppf(0.975, len(values) - 1) * error
    assert cell["mean"] == pytest.approx(mean, rel=1e-9, abs=1e-9)
    assert cell["low"] == pytest.approx(mean - half, rel=1e-9, abs=1e-9)
    assert cell["high"] == pytest.approx(mean + half, rel=1e-9, abs=1e-9)
    assert cell["n"] == len(values)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6))
def test_ratios_are_averaged_in_log_space(logs: list[float]) -> None:
    cell = one_cell("gradient_ratio_end", [math.exp(x) for x in logs])
    half = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs)
    assert math.log(cell["mean"]) == pytest.approx(np.mean(logs), abs=1e-9)
    if half < 600:
        assert math.log(cell["high"] / cell["mean"]) == pytest.approx(half, abs=1e-8)
        assert math.log(cell["mean"] / cell["low"]) == pytest.approx(half, abs=1e-8)


def test_one_run_has_no_interval() -> None:
    cell = one_cell("train_acc", [0.5])
    assert (cell["mean"], cell["n"]) == (0.5, 1)
    assert math.isnan(cell["low"])
    assert math.isnan(cell["high"])


def test_a_very_wide_interval_reaches_infinity() -> None:
    cell = one_cell("gradient_ratio_end", [1e-200, 1.0])
    assert (cell["low"], cell["high"]) == (0, math.inf)
    assert cell["mean"] == pytest.approx(1e-100)
    assert math.isnan(one_cell("train_loss", [1e300, -1e300, 1e308])["low"]) is False


def test_intervals_are_not_clipped() -> None:
    assert one_cell("train_acc", [0.9, 1.0])["high"] > 1


@pytest.mark.parametrize(
    ("values", "mean", "n", "zeros", "missing"),
    [
        ([0.0, 0.01, 1.0], 0.1, 2, 1, 0),
        ([0.0, 0.0], 0.0, 0, 2, 0),
        ([None, 4.0], 4.0, 1, 0, 1),
        ([None, None], math.nan, 0, 0, 2),
    ],
)
def test_what_has_no_logarithm_is_counted(
    values: list[float | None], mean: float, n: int, zeros: int, missing: int
) -> None:
    cell = one_cell("gradient_ratio_end", values)
    assert cell["mean"] == pytest.approx(mean, nan_ok=True)
    assert (cell["n"], cell["zeros"], cell["missing"]) == (n, zeros, missing)


def test_what_is_not_finite_is_missing_as_it_is_in_a_file() -> None:
    for metric in ("gradient_ratio_end", "train_loss"):
        cell = one_cell(metric, [math.inf, 4.0, None])
        assert (cell["mean"], cell["n"], cell["missing"]) == (4.0, 1, 2)
        assert "infinite" not in cell


def test_a_zero_loss_is_a_figure() -> None:
    cell = one_cell("train_loss", [0.0, 1.0])
    assert (cell["mean"], cell["n"], cell["zeros"]) == (0.5, 2, 0)


def test_only_results_enter_the_means_and_all_are_counted() -> None:
    states = ["finished", "diverged", "failed", "interrupted", "running", "unfinished"]
    runs = [
        row(seed=i, status=status, train_acc=float(i), verdict=None)
        for i, status in enumerate(states)
    ]
    frame = to_frame(runs)
    cell = summarize(frame, ["norm"], [], ["train_acc"]).iloc[0]
    assert (cell["mean"], cell["n"], cell["diverged"], cell["left_out"]) == (0.5, 2, 1, 4)
    assert counts(frame) == dict.fromkeys(states, 1)
    pending = summarize(frame[frame["status"] == "running"], ["norm"], [], ["train_acc"])
    assert (pending["n"].iloc[0], pending["left_out"].iloc[0]) == (0, 1)


def test_a_copy_of_a_run_counts_once() -> None:
    (folder, content), other = row("norm=bn", seed=0), row("norm=bn", seed=1, train_acc=0.0)
    copy = {**content, "status": "interrupted", "train_acc": 0.3}
    frame = to_frame([("a/other/x", copy), (folder, content), other])
    assert counts(frame)["repeated"] == 1
    cell = summarize(frame, ["norm"], [], ["train_acc"]).iloc[0]
    assert (cell["mean"], cell["n"], cell["left_out"]) == (0.5, 2, 0)
    assert len(summarize(frame, ["experiment"], [], ["train_acc"])) == 2


def test_the_majority_gives_the_verdict_and_the_worse_one_wins_a_tie() -> None:
    for verdicts, expected in (
        (["trains", "trains", "vanishing"], "trains"),
        (["trains", "vanishing"], "vanishing"),
        (["exploding", "undertrained"], "exploding"),
        ([None, "collapsed"], "collapsed"),
        ([None], None),
    ):
        runs = [row(seed=i, verdict=verdict) for i, verdict in enumerate(verdicts)]
        assert summarize(to_frame(runs), ["norm"], [], ["train_acc"])["verdict"][0] == expected


def test_cells_agree_with_pandas(many: tuple[Path, DataFrame]) -> None:
    _, frame = many
    keys = ["norm", "model.residual", "model.depth"]
    summary = summarize(frame, keys[:2], keys[2:], ["train_acc", "seconds"])
    for metric in ("train_acc", "seconds"):
        expected = frame.groupby(keys)[metric].agg(["mean", "count"])
        ours = summary[summary["metric"] == metric].set_index(keys)
        assert ours["mean"].to_dict() == pytest.approx(expected["mean"].to_dict())
        assert ours["n"].to_dict() == expected["count"].to_dict()
    assert list(dict.fromkeys(summary["norm"])) == ["none", "bn", "ln"]
    assert summary["model.depth"].iloc[:8:2].tolist() == [8, 20, 56, 110]


def test_sorting() -> None:
    runs = [
        row(f"norm={norm}", train_acc=value)
        for norm, value in (("none", 0.5), ("bn", 0.9), ("ln", 0.1))
    ]
    frame = to_frame(runs)
    for sort, expected in (
        ("train_acc", ["ln", "none", "bn"]),
        ("-train_acc", ["bn", "none", "ln"]),
        ("norm", ["none", "bn", "ln"]),
        ("-norm", ["ln", "bn", "none"]),
    ):
        assert summarize(frame, ["norm"], [], ["train_acc"], sort)["norm"].tolist() == expected
    with pytest.raises(ConfigError, match=r"--sort norn: .* did you mean norm"):
        summarize(frame, ["norm"], [], ["train_acc"], "norn")


@given(st.lists(st.tuples(figures, figures), min_size=2, max_size=7))
def test_paired_is_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    runs = [
        row(f"norm={norm}", seed=i, train_loss=pair[which])
        for i, pair in enumerate(pairs)
        for which, norm in enumerate(("none", "bn"))
    ]
    found = paired(to_frame(runs), "norm=none", ["train_loss"], ["norm"], [])
    assert found["norm"].tolist() == ["bn"]
    ours = found.iloc[0]
    difference = np.array([b - a for a, b in pairs])
    assert ours["mean"] == pytest.approx(difference.mean(), abs=1e-9)
    assert ours["n"] == len(pairs)
    if difference.std() > 1e-6:
        test = stats.ttest_1samp(difference, 0)
        assert ours["p"] == pytest.approx(test.pvalue, abs=1e-9)
        interval = test.confidence_interval(0.95)
        assert (ours["low"], ours["high"]) == pytest.approx(tuple(interval), abs=1e-6)


def test_pairs_agree_in_seed_and_all_else() -> None:
    runs = [
        row("norm=none", f"optimizer.lr={lr}", seed=seed, train_acc=lr)
        for lr in (0.1, 0.2)
        for seed in (0, 1)
    ] + [row("norm=bn", "optimizer.lr=0.2", seed=seed, train_acc=0.7) for seed in (1, 2)]
    found = paired(to_frame(runs), "norm=none", ["train_acc"], ["norm"], []).iloc[0]
    assert (found["n"], found["mean"]) == (1, pytest.approx(0.5))
    assert math.isnan(found["low"])
    assert math.isnan(found["p"])


def test_a_baseline_of_two_keys_and_ratios() -> None:
    runs = [
        row(model, f"norm={norm}", seed=seed, gradient_ratio_end=ratio * (1 + seed))
        for model, norm, ratio in (
            ("model=cnn", "none", 1e-4),
            ("model=cnn", "bn", 1e-2),
            ("model=resnet", "bn", 1.0),
        )
        for seed in (0, 1)
    ]
    keys = ["norm", "model.residual"]
    found = paired(
        to_frame(runs), "norm=none, model.residual=false", ["gradient_ratio_end"], keys, []
    )
    assert found["mean"].tolist() == pytest.approx([1e2, 1e4])
    assert found["low"].tolist() == pytest.approx([1e2, 1e4])
    # With one key the residual net has no twin: it stays, without pairs.
    found = paired(to_frame(runs), "norm=none", ["gradient_ratio_end"], keys, [])
    assert found["n"].tolist() == [2, 0]


def test_the_normalizations_own_keys_do_not_hinder_pairs() -> None:
    runs = [row("norm=none", seed=0)] + [
        row("norm=bn", f"norm.eps={eps}", seed=0, train_acc=0.5) for eps in (1e-5, 1e-3)
    ]
    found = paired(to_frame(runs), "norm=none", ["train_acc"], ["norm", "norm.eps"], [])
    assert found["n"].tolist() == [1, 1]


def test_a_baseline_of_a_group_still_pairs_by_the_keys_that_both_sides_have() -> None:
    runs = [
        row(f"optimizer={name}", f"optimizer.lr={lr}", seed=0, train_acc=acc)
        for name, lr, acc in (
            *(("sgd", 0.1, 0.9), ("sgd", 0.01, 0.5)),
            *(("adam", 0.1, 0.2), ("adam", 0.01, 0.6), ("adam", 0.001, 0.8)),
        )
    ]
    keys = ["optimizer", "optimizer.lr"]
    found = paired(to_frame(runs), "optimizer=sgd", ["train_acc"], keys, [])
    assert found["optimizer.lr"].tolist() == [0.001, 0.01, 0.1]
    assert found["n"].tolist() == [0, 1, 1]
    assert found["mean"].tolist()[1:] == pytest.approx([0.1, -0.7])
    assert found["unpaired"].tolist() == [1, 0, 0]


def test_a_key_that_one_side_has_nowhere_need_not_agree() -> None:
    runs = [
        row("optimizer=sgd", f"optimizer.momentum={momentum}", seed=0, train_acc=acc)
        for momentum, acc in ((0.0, 0.4), (0.9, 0.6))
    ] + [row("optimizer=adam", seed=0, train_acc=0.9)]
    found = paired(to_frame(runs), "optimizer=sgd", ["train_acc"], ["optimizer"], [])
    assert (found["n"][0], found["mean"][0]) == (1, pytest.approx(0.4))


def test_a_baseline_model_is_compared_depth_by_depth() -> None:
    runs = [
        row(f"model={model}", f"model.depth={depth}", seed=0, train_acc=acc)
        for model, depth, acc in (
            *(("mlp", 8, 0.9), ("mlp", 20, 0.3)),
            *(("cnn", 8, 0.8), ("cnn", 20, 0.7)),
        )
    ]
    found = paired(to_frame(runs), "model=mlp", ["train_acc"], ["model"], ["model.depth"])
    assert found["model.depth"].tolist() == [8, 20]
    assert found["mean"].tolist() == pytest.approx([-0.1, 0.4])


def test_pairs_that_are_lost_are_counted_with_the_reason() -> None:
    runs = [
        row(f"norm={norm}", seed=seed, gradient_ratio_end=ratio)
        for norm, ratios in (("none", [1.0, 0.0, 1.0, 1.0]), ("bn", [2.0, 2.0, None, 0.0, 2.0]))
        for seed, ratio in enumerate(ratios)
    ]
    found = paired(to_frame(runs), "norm=none", ["gradient_ratio_end"], ["norm"], []).iloc[0]
    assert (found["n"], found["mean"]) == (1, pytest.approx(2.0))
    assert (found["unpaired"], found["zeros"], found["missing"]) == (1, 2, 1)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [("model=cnn", "every run is of the baseline; .*model.residual=false"), ("seed=0", "baseline")],
)
def test_a_baseline_of_every_run(baseline: str, message: str) -> None:
    frame = to_frame([row(f"model={model}", seed=0) for model in ("cnn", "resnet")])
    with pytest.raises(ConfigError, match=message):
        paired(frame, baseline, ["train_acc"], ["model"], [])
    with pytest.raises(ConfigError, match="no run has ended"):
        paired(frame[:0], baseline, ["train_acc"], ["model"], [])


@pytest.mark.parametrize(
    ("baseline", "message"),
    [("norm", "KEY=VALUE"), ("norm>3", "KEY=VALUE"), ("norm=gn", "--baseline .*no run has it")],
)
def test_a_baseline_in_clear_words(
    many: tuple[Path, DataFrame], baseline: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        paired(many[1], baseline, ["train_acc"], ["norm"], [])


# ---------------------------------------------------------------------------- findings


def net(norm: str, depth: int, acc: float, init: str, end: str, ratio: float) -> list[Any]:
    verdict = "trains" if acc > 0.9 else "undertrained" if end == "healthy" else end
    return [
        row(
            f"norm={norm}",
            f"model.depth={depth}",
            seed=seed,
            train_acc=acc,
            verdict=verdict,
            verdict_init=init,
            verdict_end=end,
            gradient_ratio_init=500.0 if init == "exploding" else ratio,
            gradient_ratio_end=ratio,
        )
        for seed in (0, 1)
    ]


def test_findings_say_where_and_how_much() -> None:
    runs = [
        *net("none", 8, 0.98, "healthy", "healthy", 2.0),
        *net("none", 56, 0.1, "vanishing", "vanishing", 1e-6),
        *net("bn", 8, 1.0, "healthy", "healthy", 1.0),
        *net("bn", 56, 0.5, "exploding", "healthy", 0.05),
        *net("ln", 8, 1.0, "healthy", "healthy", 1.0),
        *net("ln", 56, 0.98, "healthy", "healthy", 1.0),
    ]
    gradients, depths = findings(to_frame(runs))
    assert "vanished in no-norm at depth 56 (1e-06)" in gradients
    assert "exploded at init in bn at depth 56 (500) and settled" in gradients
    assert "bn from 0.0% at depth 8 to 50.0% at 56; not in ln" in depths
    assert "speed" in depths
    assert "confounded: no-norm at 56 (vanishing)" in depths


def test_findings_say_where_seeds_disagree() -> None:
    vanished, healthy = (
        net("none", 56, 0.1, end, end, 1e-3)[0] for end in ("vanishing", "healthy")
    )
    other = row("norm=none", "model.depth=56", seed=1, **{
        key: healthy[1][key] for key in ("verdict", "verdict_init", "verdict_end", "train_acc")
    }, gradient_ratio_init=1.0, gradient_ratio_end=1.0)  # fmt: skip
    gradients, *_ = findings(to_frame([vanished, other]))
    assert "vanished in every net at depth 56 in 1 of 2 runs" in gradients


def test_findings_where_nothing_is_wrong() -> None:
    runs = [*net("bn", 8, 1.0, "healthy", "healthy", 1.0)]
    assert findings(to_frame(runs)) == ["No gradient vanished or exploded, at init or at the end."]
    assert (
        "no train error"
        in findings(to_frame([*runs, *net("bn", 20, 1.0, "healthy", "healthy", 1.0)]))[1]
    )
    collapsed = [*runs, *net("bn", 20, 0.1, "healthy", "collapsed", 1.0)]
    assert "confounded: every net at 20 (collapsed)" in findings(to_frame(collapsed))[1]


def test_findings_without_measurements() -> None:
    assert findings(to_frame([row(seed=0)])) == ["No gradient was measured."]


def test_degraded_is_beyond_the_claims_gap() -> None:
    assert not degraded(0.0, 0.05)
    assert degraded(0.0, 0.051)
    assert degraded(0.0, 0.016, full_schedule=True)


# ------------------------------------------------------------------------------ export


def test_the_whole_frame_is_exported(many: tuple[Path, DataFrame], tmp_path: Path) -> None:
    _, frame = many
    for name, read in (("all.parquet", pandas.read_parquet), ("all.csv", pandas.read_csv)):
        export(frame, tmp_path / name)
        back = read(tmp_path / name, **({"keep_default_na": False} if "csv" in name else {}))
        assert list(back.columns) == list(frame.columns)
        for column in ("run_id", "norm", "model.depth"):
            assert back[column].tolist() == frame[column].tolist()
        assert back["train_acc"].astype(float).tolist() == frame["train_acc"].tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "all.parquet"]


def test_export_in_clear_words(many: tuple[Path, DataFrame], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"choices: FILE.parquet, FILE.csv"):
        export(many[1], tmp_path / "all.xlsx")
    for name in ("all.csv", "all.parquet"):
        with pytest.raises(RecordError, match="cannot be written"):
            export(many[1], tmp_path / "nowhere" / name)
