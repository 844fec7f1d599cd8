import contextlib
import itertools
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from normlab.config import Config, compose, run_id
from normlab.errors import ConfigError
from normlab.runs import LOCK_FILE, Outcome, is_running, read_run, run_folder
from normlab.runs.launchers import launch, slurm
from tests.conftest import TINY
from tests.runs.support import status_kept
from tests.tools.processes import wait_for

pytest.importorskip("submitit", reason="needs the package submitit")

LOCAL = ("launcher.cluster=local", "launcher.cpus_per_job=1")


def configs_in(root: Path, count: int, *overrides: str) -> list[Config]:
    one = compose([*TINY, f"output.root='{root}'", "launcher=slurm", *overrides])
    return [one.model_copy(update={"seed": seed}) for seed in range(count)]


@pytest.mark.slow
def test_jobs_make_many_runs_each_until_the_sweep_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside files of a person's own that are called as modules of Python are."""
    for name in ("types", "runpy", "random", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of mine')\n")
    monkeypatch.chdir(tmp_path)
    jobs = (*LOCAL, "launcher.jobs=2")
    short = configs_in(tmp_path, 3, *jobs)
    long = configs_in(tmp_path, 4, *jobs, "training.epochs=null", "training.steps=1000000")
    absent = ("data=mnist", "data.root=/nowhere/at/all", "runtime.device=cpu")
    bad = compose(["launcher=slurm", *jobs, f"output.root='{tmp_path}'", *absent])
    with contextlib.closing(launch([*short, bad, *long], force=False)) as outcomes:
        seen = {outcome.run_id: outcome for outcome in itertools.islice(outcomes, 4)}
        assert [seen[run_id(config)].status for config in short] == ["finished"] * 3
        assert seen[run_id(bad)].status == "failed"
        assert "/nowhere/at/all" in seen[run_id(bad)].reason
        assert read_run(run_folder(short[0])).summary.status == "finished"
        wait_for(lambda: all(is_running(run_folder(config)) for config in long[:2]))
    states = [status_kept(config) for config in long]
    assert states == ["interrupted", "interrupted", None, None]
    assert not list(tmp_path.rglob(LOCK_FILE))
    assert len(list((tmp_path / slurm.LOGS).glob("*_log.out"))) == 2
    assert not list((tmp_path / slurm.LOGS).glob("sweep-*"))


def slurm_programs(folder: Path, monkeypatch: pytest.MonkeyPatch, *, sbatch: str) -> None:
    """Stand-ins for Slurm's programs; every job has timed out."""
    folder.mkdir()
    programs = {
        "srun": "exit 1",
        "scancel": f'echo "$@" >> {folder}/cancelled',
        "sbatch": f'cp "$1" {folder}/script.sh\n{sbatch}',
        "sacct": "echo 'JobID|State|NodeList'\n"
        'for n in 0 1 2; do echo "77_$n|TIMEOUT|node1"; done',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_script_for_sbatch_and_jobs_that_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    slurm_programs(programs, monkeypatch, sbatch="echo Submitted batch job 77")
    monkeypatch.setattr(slurm, "STATE_SECONDS", 0.0)
    configs = configs_in(
        tmp_path / "results",
        7,
        "launcher.partition=gpu",
        "launcher.minutes=90",
        "launcher.jobs=3",
        "launcher.array_parallelism=2",
        "launcher.cpus_per_job=6",
        "launcher.gpus_per_job=2",
        "launcher.memory_gb=12",
        'launcher.options=["account=lab",exclusive]',
    )
    done = configs[3]
    [first] = launch(
        [done.model_copy(update={"launcher": compose().launcher})], force=False
    )  # as though a job had made it before it ended
    outcomes = {outcome.run_id: outcome for outcome in launch(configs, force=False)}
    lines = (programs / "script.sh").read_text().splitlines()
    assert {
        "#SBATCH --partition=gpu",
        "#SBATCH --time=90",
        "#SBATCH --array=0-2%2",
        "#SBATCH --cpus-per-task=6",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --mem=12GB",
        "#SBATCH --job-name=normlab",
        "#SBATCH --account=lab",
        "#SBATCH --exclusive",
    } <= set(lines)
    [srun] = [line for line in lines if line.startswith("srun ")]
    assert "--cpus-per-task=6" in srun
    assert subprocess.run(["bash", "-n", programs / "script.sh"]).returncode == 0
    assert outcomes.pop(run_id(done)).status == first.status == "finished"
    assert {outcome.status for outcome in outcomes.values()} == {"failed"}
    # Dealt in turn: the second run is the second job's.
    reason = outcomes[run_id(configs[1])].reason
    assert reason.startswith("its job 77_1 ended before it (TIMEOUT); see ")
    assert reason.endswith("/.slurm/77_1_0_log.err")


def test_closing_cancels_waiting_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    slurm_programs(programs, monkeypatch, sbatch="echo Submitted batch job 77")
    sacct = programs / "sacct"
    sacct.write_text(sacct.read_text().replace("TIMEOUT", "PENDING"))
    launcher = configs_in(tmp_path, 1)[0].launcher
    assert isinstance(launcher, slurm.SlurmLauncher)
    executor = launcher.executor(tmp_path / "logs")
    jobs = executor.map_array(print, [1, 2])
    slurm.cancel(jobs, tmp_path / "stop")
    assert (programs / "cancelled").read_text().split() == ["77_0", "77_1"]
    assert (tmp_path / "stop").exists()


def test_sbatch_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = "echo 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1"
    slurm_programs(tmp_path / "bin", monkeypatch, sbatch=refusal)
    with pytest.raises(ConfigError) as error:
        list(launch(configs_in(tmp_path, 3), force=False))
    assert str(error.value) == (
        "launcher=slurm: the jobs were not submitted "
        "(sbatch: error: invalid partition specified: gpu)"
    )


def test_no_slurm_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="this machine has no srun"):
        list(launch(configs_in(tmp_path, 1), force=False))


def test_without_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)  # an import of it fails
    with pytest.raises(ConfigError) as error:
        list(launch(configs_in(tmp_path, 1), force=False))
    message = "launcher=slurm: needs the package submitit; pip install 'normlab[slurm]'"
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (['launcher.options=["--account=lab"]'], "'--account=lab' is no option of sbatch"),
        (["launcher.jobs=0"], "launcher.jobs=0: must be at least 1"),
        (["launcher.cluster=pbs"], "launcher.cluster=pbs: no such choice; choices: slurm, local"),
    ],
)
def test_options_that_cannot_be(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(["launcher=slurm", *overrides])


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"runtime.device=cuda: needs a GPU; add launcher.gpus_per_job=1"),
        (
            "cuda:1",
            "runtime.device=cuda:1: launcher=slurm chooses the GPU; use runtime.device=cuda",
        ),
    ],
)
def test_a_device_that_the_cluster_does_not_give(tmp_path: Path, device: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(launch(configs_in(tmp_path, 1, *LOCAL, f"runtime.device={device}"), force=False))


@pytest.mark.parametrize(
    ("told", "status"),
    [(["interrupted"], "interrupted"), (["interrupted", "finished"], "finished"), ([], "failed")],
)
def test_what_a_job_was_made_to_leave_it_may_finish_when_it_starts_again(
    tmp_path: Path, told: list[str], status: str
) -> None:
    config = compose([*TINY, f"output.root='{tmp_path}'"])
    lines = [asdict(Outcome(run_id(config), each, "", None, 0.0)) for each in told]
    (tmp_path / "0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    job = SimpleNamespace(
        done=lambda force_check: True,  # noqa: ARG005
        job_id="1",
        state="PREEMPTED",
        paths=SimpleNamespace(stderr="log"),
    )
    (outcome,) = slurm.collect([job], {0: [config]}, tmp_path)
    assert outcome.status == status
