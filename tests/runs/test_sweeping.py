import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from normlab.config import DATA_SETS, Config, DataSet, compose, compose_grids, grids, run_id
from normlab.errors import BusyError, ConfigError, DataError
from normlab.runs import (
    Outcome,
    Summary,
    execute,
    execute_in_worker,
    labels,
    lacks_kept,
    read_run,
    read_summary,
    read_weights,
    run_folder,
    sweep,
    sweeping,
    without_data,
)
from normlab.runs.launchers.ray import Claimed, claim
from normlab.runs.locks import RunLock, is_held
from tests.runs.support import config_in, make, planned, write_run

# ----------------------------------------------------------------------------- local sweeps


def test_a_sweep_makes_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    first = planned(tmp_path, "seed=range(3)", "launcher.workers=1")
    assert (len(first.pending), first.finished) == (3, 0)
    assert math.isnan(first.seconds)
    outcomes = list(sweep(first))
    assert {o.status for o in outcomes} == {"finished"}
    assert {o.run_id for o in outcomes} == {run_id(c) for c in first.configs}
    times = {c.seed: (run_folder(c) / "summary.json").stat().st_mtime_ns for c in first.configs}

    more = planned(tmp_path, "seed=range(5)", "launcher.workers=1")
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


def test_data_are_looked_for_once_and_only_for_runs_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def missing(data: DataSet) -> None:
        asked.append(data.name)
        raise DataError("it is not there")

    monkeypatch.setattr(DATA_SETS["digits"], "fetch", missing)
    configs = list(compose_grids(grids(["data=digits,gaussian", "model=mlp", "seed=range(3)"])))
    found = without_data(configs)
    assert set(found) == {run_id(config) for config in configs if config.data.name == "digits"}
    assert (asked, {str(error) for error in found.values()}) == (["digits"], {"it is not there"})
    assert without_data([compose(["launcher=slurm"])]) == {}


def test_a_finished_run_is_made_again_for_weights_that_it_did_not_keep(tmp_path: Path) -> None:
    (without,) = planned(tmp_path).configs
    before = make(without)[-1].run
    asking = planned(tmp_path, "output.weights=true", "seed=0,1")
    assert (len(asking.pending), asking.finished, asking.weightless) == (2, 0, 1)
    config = asking.pending[0]
    claimed = claim(config, force=False)  # as Ray's driver asks before it sends a run away
    assert isinstance(claimed, Claimed)
    claimed.lock.release()
    outcome = execute_in_worker(config, force=False, stop=lambda: False)
    assert "finished before, and made again to keep its weights or state." in outcome.reason
    again = read_run(before.folder)
    assert again.metrics["train_loss"].equals(before.metrics["train_loss"])
    assert read_weights(before.folder)
    assert not lacks_kept(config)
    for overrides in ([], ["output.weights=true"]):  # and from then on it is finished
        assert planned(tmp_path, *overrides).pending == ()
    with pytest.raises(BusyError, match="finished already"):
        make(config)


def test_finished_runs_of_other_data_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["data=digits", "model=mlp", f"output.root='{tmp_path}'", "seed=range(3)"]
    several = grids(overrides)
    contents = [compose(["data=digits"]).data.content(), "0" * 16, None]
    for config, content in zip(compose_grids(several), contents, strict=True):
        summary = Summary.pending(config, "finished", data_sha256=content)
        run_folder(config).mkdir(parents=True)
        (run_folder(config) / "summary.json").write_text(json.dumps(summary.to_plain()))
    found = sweeping.plan(several)
    assert (found.finished, found.of_other_data) == (3, 1)
    assert sweeping.plan(several, force=True).of_other_data == 0
    monkeypatch.setattr(DATA_SETS["digits"], "locate", lambda *_: None)
    assert sweeping.plan(several).of_other_data == 0


def test_points_of_equal_values_are_told_apart_from_those(tmp_path: Path) -> None:
    measured = "probes.measure=[grad_norm,delta_rms],[delta_rms,grad_norm]"
    for overrides in ("seed=1,1", "optimizer.lr=0.1,1e-1", measured):
        found = planned(tmp_path, overrides)
        assert (len(found.configs), found.equal, found.merged) == (1, 1, 0)
    both = planned(tmp_path, "seed=1,1", "runtime.threads=1,2")
    assert (len(both.configs), both.equal, both.merged) == (1, 2, 1)


def test_failed_runs_are_left_alone_until_they_are_asked_for(tmp_path: Path) -> None:
    (config,) = planned(tmp_path).configs
    run_folder(config).mkdir(parents=True)
    text = json.dumps({"run_id": run_id(config), "status": "failed"})
    (run_folder(config) / "summary.json").write_text(text)
    left = planned(tmp_path)
    assert (left.pending, left.failed) == ((), 1)
    assert planned(tmp_path, retry_failed=True).pending == (config,)
    assert planned(tmp_path, force=True).pending == (config,)


def test_fail_fast(tmp_path: Path) -> None:
    overrides = [
        "zip(seed=1,2,3,4; model.width=10000000,8,8,8)",
        "data.size=1",
        "launcher.workers=1",
    ]
    outcomes = list(sweep(planned(tmp_path, *overrides), fail_fast=True))
    assert [o.status for o in outcomes] == ["failed"]


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


@pytest.mark.parametrize(
    ("left_behind", "force", "launches", "status"),
    [
        (None, False, 2, "finished"),  # the other process was interrupted, or killed
        ("interrupted", False, 2, "finished"),
        ("diverged", False, 1, "diverged"),
        ("failed", False, 1, "failed"),
        ("diverged", True, 2, "finished"),
    ],
)
def test_a_run_that_another_process_makes_is_launched_once_more_at_most(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left_behind: str | None,
    force: bool,
    launches: int,
    status: str,
) -> None:
    """However long it holds its lock, and whatever it records of the run."""
    plan = planned(tmp_path, "seed=0,1")
    first, second = plan.configs
    run_folder(second).mkdir(parents=True)
    lock = RunLock(run_folder(second))
    rounds: list[list[str]] = []
    slept: list[float] = []

    def launch(configs: Sequence[Config], *, force: bool) -> Iterator[Outcome]:  # noqa: ARG001
        rounds.append([run_id(config) for config in configs])
        for config in configs:
            yield Outcome(run_id(config), "busy" if is_held(run_folder(config)) else "finished")

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            lock.release()
            if left_behind:
                write_run(second, left_behind)

    monkeypatch.setattr(sweeping, "launch", launch)
    monkeypatch.setattr(sweeping.time, "sleep", sleep)
    announced: list[int] = []
    seen = [(o.run_id, o.status) for o in sweep(plan, waiting=announced.append, force=force)]
    assert seen == [(run_id(first), "finished"), (run_id(second), status)]
    assert rounds == [[run_id(first), run_id(second)], [run_id(second)]][:launches]
    assert slept == [sweeping.BUSY_SECONDS] * 5
    assert announced == [1]


@pytest.mark.parametrize(("data", "samples"), [("digits", 1437), ("gaussian", 64)])
def test_a_batch_larger_than_the_data_is_refused_before_a_sweep(
    tmp_path: Path, data: str, samples: int
) -> None:
    words = [f"data={data}", f"output.root='{tmp_path}'", "norm=none,bn"]
    words += ["data.train_size=64"] if data == "gaussian" else []
    assert sweeping.plan(grids([*words, f"training.batch_size={samples}"])).pending
    with pytest.raises(ConfigError, match=f"use at most training.batch_size={samples}$"):
        sweeping.plan(grids([*words, f"training.batch_size={samples + 1}"]))


def test_a_run_of_a_sweep_that_cannot_start_leaves_a_record(tmp_path: Path) -> None:
    """What a sweep tells of it can be looked up afterwards, and is not tried again unasked."""
    config = config_in(tmp_path, "training.batch_size=65")
    outcome = execute_in_worker(config, force=False, stop=lambda: False)
    assert outcome.status == "failed"
    kept = read_summary(run_folder(config))
    assert kept is not None
    assert (kept.status, kept.reason) == ("failed", outcome.reason)
    assert "64 training samples" in kept.reason
    assert not list(run_folder(config).glob("lock.json"))
