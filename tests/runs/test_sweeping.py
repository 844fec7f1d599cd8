import json
import math
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import read_parquet
from pandas.testing import assert_frame_equal
from rich.console import Console, RenderableType

from normlab.config import Config, compose, compose_grids, grids, run_id, size
from normlab.errors import ConfigError
from normlab.results import counts, read_results
from normlab.runs import (
    CHECKPOINT_FILE,
    Plan,
    execute,
    labels,
    plan,
    read_lock,
    read_run,
    read_summary,
    run_folder,
    sweep,
)
from normlab.runs.launchers.local import LocalLauncher
from normlab.runs.locks import RunLock
from normlab.runs.recorder import record_failure
from normlab.show import run_report
from tests import conftest

TINY = (*conftest.TINY, "launcher.workers=2")
ENDLESS = "training.epochs=1000000"


def planned(root: Path, *overrides: str, **options: bool) -> Plan:
    return plan(grids([*TINY, f"output.root='{root}'", *overrides]), **options)


# ---------------------------------------------------------------------------------- grids

AXES = {
    "model": ["mlp", "cnn", "resnet"],
    "norm": ["none", "bn", "ln", "gn"],
    "model.depth": ["8", "20", "56"],
    "model.activation": ["tanh", "'relu'"],
    "optimizer.lr": ["0.1", "1", "1e-3"],
    "data.train_size": ["null", "100"],
    "data.root": ["'a b'", "x"],
    "training.steps": ["null", "5"],
    "probes.measure": ["[delta_rms]", "[act_std,delta_rms]"],
    "seed": ["0", "3"],
}


@settings(max_examples=15)
@given(st.data())
def test_patched_points_equal_hydras_own(data: st.DataObject) -> None:
    """Composing once per group choices and patching gives what composing each point gives."""
    keys = data.draw(st.lists(st.sampled_from(list(AXES)), min_size=1, max_size=3, unique=True))
    chosen = {
        key: data.draw(st.lists(st.sampled_from(AXES[key]), min_size=1, unique=True))
        for key in keys
    }
    swept = list(compose_grids(grids([f"{k}={','.join(v)}" for k, v in chosen.items()])))
    points: list[list[str]] = [[]]
    for key, values in chosen.items():
        points = [[*point, f"{key}={value}"] for point in points for value in values]
    assert swept == [compose(point) for point in points]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["seed=range(3)"], [(20, 0), (20, 1), (20, 2)]),
        (["seed=choice(4,5)"], [(20, 4), (20, 5)]),
        (["zip(model.depth=8,20; seed=1,2)"], [(8, 1), (20, 2)]),
        (["zip(model.depth=8,20;seed=range(2))", "norm=bn"], [(8, 0), (20, 1)]),
        (["model.depth=8,20", "seed=1,2"], [(8, 1), (8, 2), (20, 1), (20, 2)]),
    ],
)
def test_grammar(overrides: list[str], expected: list[tuple[int, int]]) -> None:
    found = grids(overrides)
    assert size(found) == len(expected)
    assert [(c.model.depth, c.seed) for c in compose_grids(found)] == expected


def test_glob() -> None:
    assert [c.norm.name for c in compose_grids(grids(["norm=glob(*n)"]))] == [
        "bn",
        "gn",
        "in",
        "ln",
        "wn",
    ]


def test_an_experiment_brings_its_grids_and_gives_way_to_overrides() -> None:
    found = list(compose_grids(grids(["experiment=quickstart"])))
    assert len(found) == 24
    assert {c.output.experiment for c in found} == {"quickstart"}
    variants = {(c.norm.name, c.model.residual) for c in found}
    assert variants == {("none", False), ("ln", False), ("bn", False), ("bn", True)}
    fewer = list(compose_grids(grids(["experiment=quickstart", "model.depth=8", "seed=7"])))
    assert len(fewer) == 4
    assert {(c.model.depth, c.seed) for c in fewer} == {(8, 7)}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.depth=8,21"], r"run 2 of 2 \(model.depth=21\): .*nearest are 20 and 26"),
        (["norm=bn,gn", "norm.groups=2"], r"run 1 of 2 \(norm=bn\): norm.groups=2: no such key"),
        (["zip(seed=1,2;model.depth=8)"], "its lists have 2, 1 values"),
        (["norm=bn,bx"], "norm=bx: no such choice"),
        (["norm=glob(zz*)"], "no value, so the sweep is empty; choices: bn"),
        (["optimizer.lr=interval(0,1)"], "has no list of values"),
        (["experiment=quickstart,quickstart"], "takes one experiment"),
        (["experiment=quick"], "no such choice; choices: C06, .*quickstart"),
        (["seed=range(3"], "not an override"),
    ],
)
def test_bad_grids(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(compose_grids(grids(overrides)))


def test_planning_ten_thousand_is_done_without_composing_each() -> None:
    found = grids(["model=cnn,resnet", "model.depth=8,20,56", "norm=none,bn,ln", "seed=range(556)"])
    assert size(found) == 10_008
    began = time.monotonic()
    ids = {run_id(config) for config in compose_grids(found)}
    assert len(ids) == 10_008
    assert time.monotonic() - began < 20  # the goal; Hydra alone would take ten minutes


# ----------------------------------------------------------------------------- local sweeps


def test_a_sweep_makes_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    first = planned(tmp_path, "seed=range(3)")
    assert (len(first.pending), first.finished) == (3, 0)
    assert math.isnan(first.seconds)
    outcomes = list(sweep(first))
    assert {o.status for o in outcomes} == {"finished"}
    assert {o.run_id for o in outcomes} == {run_id(c) for c in first.configs}
    times = {c.seed: (run_folder(c) / "summary.json").stat().st_mtime_ns for c in first.configs}

    more = planned(tmp_path, "seed=range(5)")
    assert (len(more.pending), more.finished) == (2, 3)
    assert more.seconds > 0
    assert len(list(sweep(more))) == 2
    for config in first.configs:
        assert (run_folder(config) / "summary.json").stat().st_mtime_ns == times[config.seed]
    assert not planned(tmp_path, "seed=range(5)").pending
    assert len(planned(tmp_path, "seed=range(5)", force=True).pending) == 5


@pytest.mark.parametrize(
    "damage", [{"seconds": None}, {"seconds": "long"}, {"config": 3}, {"status": ["finished"]}]
)
def test_a_damaged_summary_is_no_estimate(tmp_path: Path, damage: dict[str, object]) -> None:
    (config,) = planned(tmp_path).configs
    list(execute(config))
    file = run_folder(config) / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    if "status" in damage:
        assert planned(tmp_path).pending == (config,)
    assert math.isnan(planned(tmp_path, "seed=1").seconds)


def test_a_summary_that_is_taken_away_meanwhile_is_no_estimate(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "gone"
    folder.mkdir(parents=True)
    (folder / "summary.json").symlink_to(tmp_path / "nowhere")
    assert math.isnan(planned(tmp_path).seconds)


def test_points_that_are_the_same_run_are_counted(tmp_path: Path) -> None:
    merged = planned(tmp_path, "seed=1,2", "output.experiment=a,b", "runtime.threads=1,2")
    assert (len(merged.configs), merged.merged) == (2, 6)
    assert planned(tmp_path, "seed=1,2").merged == 0


def test_a_sweep_gives_the_numbers_of_single_runs(tmp_path: Path) -> None:
    several = planned(tmp_path / "sweep", "norm=none,bn", "seed=1,2")
    assert all(o.status == "finished" for o in sweep(several))
    for config in several.configs:
        alone = config.model_copy(
            update={"output": config.output.model_copy(update={"root": str(tmp_path / "alone")})}
        )
        list(execute(alone))
        for name in ("metrics", "layers"):
            one, two = (
                read_parquet(run_folder(c) / f"{name}.parquet").drop(
                    columns="seconds", errors="ignore"
                )
                for c in (config, alone)
            )
            assert_frame_equal(one, two, check_exact=True)


def test_one_failure_costs_no_other_run(tmp_path: Path) -> None:
    overrides = ["zip(seed=1,2,3; model.width=8,10000000,8)", "data.size=1"]
    found = {o.run_id: o for o in sweep(planned(tmp_path, *overrides))}
    configs = planned(tmp_path, *overrides).configs
    assert [found[run_id(c)].status for c in configs] == ["finished", "failed", "finished"]
    assert "out of memory" in found[run_id(configs[1])].reason
    run = read_run(run_folder(configs[1]))  # though it failed before its network stood
    assert run.config == configs[1]
    assert run.summary.status == "failed"
    assert "out of memory" in run.summary.reason
    assert "out of memory" in printed(run_report(run, 80))
    frame, problems = read_results([tmp_path])
    assert counts(frame) == {"finished": 2, "failed": 1}
    assert not problems

    assert planned(tmp_path, *overrides).failed == 1
    assert not planned(tmp_path, *overrides).pending
    assert len(planned(tmp_path, *overrides, retry_failed=True).pending) == 1


def printed(renderable: RenderableType) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(renderable)
    return " ".join(capture.get().split())


def test_a_failure_is_not_recorded_over_a_result_or_a_live_run(tmp_path: Path) -> None:
    (config,) = planned(tmp_path).configs
    run_folder(config).mkdir(parents=True)
    lock = RunLock(run_folder(config))
    record_failure(config, "lost", 1.0)
    lock.release()
    assert read_summary(run_folder(config)) is None
    list(execute(config))
    record_failure(config, "lost", 1.0)
    assert read_run(run_folder(config)).summary.status == "finished"


def test_a_recorded_failure_keeps_what_was_measured(tmp_path: Path) -> None:
    (config,) = planned(tmp_path).configs
    list(execute(config))
    before = read_run(run_folder(config))
    (before.folder / "summary.json").unlink()
    record_failure(config, "lost", 1.0)
    after = read_run(run_folder(config))
    assert (after.summary.status, after.summary.reason) == ("failed", "lost")
    assert_frame_equal(after.layers, before.layers)
    assert_frame_equal(after.metrics, before.metrics)


def running(configs: tuple[Config, ...]) -> list[int]:
    """The process numbers of the workers that have got past the first step."""
    locks = [read_lock(run_folder(config)) for config in configs]
    return [lock["pid"] for lock in locks if lock and lock["progress"].get("step", 0) > 0]


def wait_for(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_worker_costs_its_own_run_only(tmp_path: Path) -> None:
    several = planned(tmp_path, "zip(seed=1,2,3;training.epochs=1000000,2,2)", "launcher.workers=2")
    outcomes = sweep(several)
    found = [next(outcomes), next(outcomes)]
    assert {o.status for o in found} == {"finished"}
    wait_for(lambda: running(several.configs[:1]))
    os.kill(running(several.configs[:1])[0], signal.SIGKILL)
    last = next(outcomes)
    assert (last.run_id, last.status) == (run_id(several.configs[0]), "failed")
    assert "SIGKILL" in last.reason
    assert next(outcomes, None) is None
    run = read_run(run_folder(several.configs[0]))
    assert (run.summary.status, run.summary.reason) == ("failed", last.reason)
    assert run.summary.steps > 0
    assert not list(run.folder.glob("*lock.json*"))
    again = planned(tmp_path, "zip(seed=1,2,3;training.epochs=1000000,2,2)")
    assert (again.failed, again.pending) == (1, ())


def test_a_worker_that_is_asked_to_end_leaves_a_checkpoint(tmp_path: Path) -> None:
    """As a cluster asks every process of a job."""
    several = planned(tmp_path, "zip(seed=1,2;training.epochs=1000000,2)", "launcher.workers=2")
    outcomes = sweep(several)
    assert next(outcomes).status == "finished"
    wait_for(lambda: running(several.configs[:1]))
    os.kill(running(several.configs[:1])[0], signal.SIGTERM)
    last = next(outcomes)
    assert (last.run_id, last.status) == (run_id(several.configs[0]), "interrupted")
    assert "goes on from step" in last.reason
    assert next(outcomes, None) is None
    folder = run_folder(several.configs[0])
    assert (folder / CHECKPOINT_FILE).exists()
    assert not list(folder.glob("*lock.json*"))
    assert planned(tmp_path, "seed=1", "training.epochs=1000000").pending == several.configs[:1]


def test_a_worker_that_is_asked_to_end_before_its_first_step_costs_nothing(
    tmp_path: Path,
) -> None:
    several = planned(tmp_path, "seed=1,2", "model.depth=300", "launcher.workers=1")
    outcomes = sweep(several)
    workers: list[int] = []

    def ask_to_end() -> None:
        def holders() -> list[int]:
            return [lock["pid"] for c in several.configs if (lock := read_lock(run_folder(c)))]

        wait_for(holders)
        workers.extend(holders())
        os.kill(workers[0], signal.SIGTERM)

    asker = threading.Thread(target=ask_to_end)
    asker.start()
    first, second = outcomes
    asker.join()
    assert first.status == "interrupted"
    assert second.status in ("finished", "diverged")
    (left,) = planned(tmp_path, "seed=1,2", "model.depth=300").pending
    assert run_id(left) == first.run_id


def test_closing_a_sweep_interrupts_what_runs(tmp_path: Path) -> None:
    several = planned(tmp_path, "zip(seed=1,2;training.epochs=2,1000000)", "launcher.workers=2")
    outcomes = sweep(several)
    assert next(outcomes).status == "finished"
    wait_for(lambda: running(several.configs[1:]))
    outcomes.close()
    run = read_run(run_folder(several.configs[1]))
    assert run.summary.status == "interrupted"
    assert len(run.layers) > 0


def test_failed_runs_are_left_alone_until_they_are_asked_for(tmp_path: Path) -> None:
    (config,) = planned(tmp_path).configs
    run_folder(config).mkdir(parents=True)
    text = json.dumps({"run_id": run_id(config), "status": "failed"})
    (run_folder(config) / "summary.json").write_text(text)
    left = planned(tmp_path)
    assert (left.pending, left.failed) == ((), 1)
    assert planned(tmp_path, retry_failed=True).pending == (config,)
    assert planned(tmp_path, force=True).pending == (config,)


@pytest.mark.parametrize(
    ("device", "gpus", "overrides", "expected"),
    [
        ("auto", 2, ["launcher.runs_per_device=2"], ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ("cuda", 2, ["launcher.workers=3"], ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", 2, ["launcher.runs_per_device=3"], ["cuda:1"] * 3),
        ("cpu", 2, ["launcher.workers=2"], ["cpu", "cpu"]),
        ("auto", 0, ["launcher.workers=1"], ["auto"]),
    ],
)
def test_workers_are_pinned_to_devices(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    gpus: int,
    overrides: list[str],
    expected: list[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    config = compose([f"runtime.device='{device}'", *overrides])
    assert isinstance(config.launcher, LocalLauncher)
    assert sorted(config.launcher.worker_devices(config)) == sorted(expected)


def test_fail_fast(tmp_path: Path) -> None:
    overrides = [
        "zip(seed=1,2,3,4; model.width=10000000,8,8,8)",
        "data.size=1",
        "launcher.workers=1",
    ]
    outcomes = list(sweep(planned(tmp_path, *overrides), fail_fast=True))
    assert [o.status for o in outcomes] == ["failed"]


def test_a_time_limit(tmp_path: Path) -> None:
    limited = planned(tmp_path, ENDLESS, "launcher.timeout_seconds=8")
    (outcome,) = sweep(limited)
    assert outcome.status == "failed"
    assert "launcher.timeout_seconds=8" in outcome.reason
    run = read_run(run_folder(limited.configs[0]))
    assert (run.summary.status, run.summary.reason) == ("failed", outcome.reason)
    assert run.summary.steps > 0


def test_labels_say_what_varies() -> None:
    configs = list(compose_grids(grids(["norm=none,bn", "model.depth=8,20"])))
    assert set(labels(configs).values()) == {
        f"depth={depth} norm={norm}" for depth in (8, 20) for norm in ("none", "bn")
    }
    (alone,) = labels(configs[:1]).values()
    assert alone == run_id(configs[0])


def test_labels_of_several_experiments_name_them() -> None:
    several = [
        *compose_grids(grids(["norm=none,bn", "output.experiment=a"])),
        *compose_grids(grids(["model.depth=8", "seed=1,2", "output.experiment=b"])),
        *compose_grids(grids(["model.depth=26", "output.experiment=c"])),
    ]
    assert set(labels(several).values()) == {
        "a norm=none",
        "a norm=bn",
        "b seed=1",
        "b seed=2",
        "c",
    }
