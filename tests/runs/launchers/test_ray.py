import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from normlab.config import Config, compose, from_yaml, run_id
from normlab.errors import ConfigError, RecordError
from normlab.runs import (
    CHECKPOINT_FILE,
    LOCK_FILE,
    Outcome,
    execute,
    is_final,
    read_lock,
    read_run,
    run_folder,
)
from normlab.runs.launchers import launch
from normlab.runs.launchers import ray as ray_launcher
from normlab.runs.launchers.ray import Claimed, RayLauncher
from normlab.runs.locks import RunLock
from normlab.training import Ended
from tests.conftest import TINY
from tests.runs.support import status_kept, write_run
from tests.tools.processes import NEVER_SECONDS, wait_for

# Before Ray is imported: it would otherwise use, and perhaps make, a token in the home folder.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

ray = pytest.importorskip("ray", reason="needs the package ray")

# Ray opens log files and sockets and leaves their closing to the garbage collector.
pytestmark = [
    pytest.mark.first,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LONG = ("training.epochs=null", "training.steps=1000", "training.evaluate_every_epochs=100")


def configs_in(root: Path, count: int, *overrides: str) -> list[Config]:
    one = compose([*TINY, f"output.root='{root}'", *overrides])
    return [one.model_copy(update={"seed": seed}) for seed in range(count)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_node(*options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    quick = {
        "RAY_health_check_initial_delay_ms": "500",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_failure_threshold": "2",
    }
    return subprocess.Popen(
        [*command, "--object-store-memory=100000000", "--disable-usage-stats", *options],
        env={**os.environ, **quick},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def is_reachable(address: str) -> bool:
    with contextlib.suppress(OSError):
        ray_launcher.check_reachable(address)
        return True
    return False


def kill(node: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


@pytest.fixture
def two_nodes() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A cluster of two `ray start` processes: its address, and the second of them."""
    ray.shutdown()  # where tests run in another order; the launcher then makes its own again
    # Not tmp_path: the names of sockets are short.
    folder = tempfile.mkdtemp(prefix="nl")
    address = f"127.0.0.1:{free_port()}"
    nodes = []
    try:
        nodes.append(
            start_node(
                "--head",
                "--node-ip-address=127.0.0.1",
                f"--port={address.split(':')[1]}",
                "--include-dashboard=false",
                f"--temp-dir={folder}",
            )
        )
        wait_for(lambda: is_reachable(address))
        # Another address, or the sweep's process could choose this node for its own.
        nodes.append(start_node(f"--address={address}", "--node-ip-address=127.0.0.2"))
        yield address, nodes[1]
    finally:
        for node in nodes:
            kill(node)
        shutil.rmtree(folder, ignore_errors=True)


def test_rays_news_are_silenced_by_a_switch_that_it_has() -> None:
    worker = ray._private.worker
    assert isinstance(getattr(worker, "_worker_logs_enabled", None), bool), (
        "Ray's private switch is gone: look in ray._private.worker for what prints "
        "`raylet` and `autoscaler` messages now, and set that in silence_news of "
        "normlab/runs/launchers/ray.py; test_a_lost_node_costs_no_run says whether it works"
    )


@pytest.mark.slow
def test_a_lost_node_costs_no_run(
    two_nodes: tuple[str, "subprocess.Popen[bytes]"],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, second = two_nodes
    configs = configs_in(tmp_path, 4, "launcher=ray", f"launcher.address={address}", *LONG)
    launcher = configs[0].launcher
    assert isinstance(launcher, RayLauncher)
    with launcher.connection(ray):
        wait_for(lambda: ray_launcher.count_slots(ray, 1, 0) == 2)
        outcomes = []
        for outcome in launch(configs, force=False):
            outcomes.append(outcome)
            if len(outcomes) == 1:
                kill(second)
        assert ray_launcher.count_slots(ray, 1, 0) == 1
    assert [outcome.status for outcome in outcomes] == ["finished"] * 4
    assert {outcome.run_id for outcome in outcomes} == {run_id(config) for config in configs}
    for config in configs:
        assert read_run(run_folder(config)).summary.status == "finished"
    assert capfd.readouterr() == ("", "")


def test_a_run_lost_after_all_its_tries_is_recorded_as_failed(tmp_path: Path) -> None:
    (config,) = configs_in(tmp_path, 1, "launcher=ray")
    assert isinstance(config.launcher, RayLauncher)

    def get(_: object) -> None:
        raise ray.exceptions.WorkerCrashedError

    lost = cast(ModuleType, SimpleNamespace(get=get, exceptions=ray.exceptions))
    claimed = ray_launcher.claim(config, force=False)
    assert isinstance(claimed, Claimed)
    outcome = config.launcher.receive(lost, "job", claimed)
    summary = read_run(run_folder(config)).summary
    assert (outcome.status, summary.status) == ("failed", "failed")
    assert summary.reason == outcome.reason
    assert not list(run_folder(config).glob("*lock.json*"))


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A local Ray of two worker CPUs, as the launcher makes it."""
    launcher = compose(["launcher=ray", "launcher.local_cpus=2"]).launcher
    assert isinstance(launcher, RayLauncher)
    with launcher.connection(ray):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_three_launchers_give_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs the package submitit")
    launchers = {
        "local": ("launcher=local", "launcher.workers=1"),
        "ray": ("launcher=ray",),
        "slurm": (
            "launcher=slurm",
            "launcher.cluster=local",
            "launcher.jobs=1",
            "launcher.cpus_per_job=2",
        ),
    }
    frames: dict[str, list[tuple[pd.DataFrame, pd.DataFrame]]] = {}
    for name, overrides in launchers.items():
        configs = configs_in(tmp_path / name, 4, *overrides)
        outcomes = {outcome.run_id: outcome for outcome in launch(configs, force=False)}
        assert [outcomes[run_id(c)].status for c in configs] == ["finished"] * 4
        runs = [read_run(run_folder(config)) for config in configs]
        assert [run.config.output for run in runs] == [config.output for config in configs]
        frames[name] = [(run.metrics.drop(columns="seconds"), run.layers) for run in runs]
    for name in ("ray", "slurm"):
        for ours, theirs in zip(frames["local"], frames[name], strict=True):
            for one, other in zip(ours, theirs, strict=True):
                pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_files_name_the_sweep_and_its_folder(tmp_path: Path) -> None:
    [config] = configs_in(tmp_path, 1, "launcher=ray")
    list(launch([config], force=False))
    folder = run_folder(config)
    assert from_yaml((folder / "config.yaml").read_text()) == config
    assert read_run(folder).summary.config == json.loads(config.model_dump_json())
    assert read_run(folder).environment["command"][0] == Path(sys.argv[0]).name
    assert not [file for file in folder.iterdir() if file.name.startswith((".", LOCK_FILE))]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_finished_busy_and_failed_runs(tmp_path: Path) -> None:
    configs = configs_in(tmp_path, 3, "launcher=ray")
    done, busy, _ = configs
    [first] = launch([done], force=False)
    stamp = (run_folder(done) / "summary.json").stat().st_mtime_ns
    run_folder(busy).mkdir()
    lock = RunLock(run_folder(busy))
    bad = compose(
        ["launcher=ray", f"output.root='{tmp_path}'", "data=mnist", "data.root=/nowhere/at/all"]
    )
    outcomes = {outcome.run_id: outcome for outcome in launch([*configs, bad], force=False)}
    lock.release()
    assert outcomes[run_id(done)].status == first.status == "finished"
    assert (run_folder(done) / "summary.json").stat().st_mtime_ns == stamp
    assert outcomes[run_id(busy)].status == "busy"
    assert outcomes[run_id(bad)].status == "failed"
    assert "\n" not in outcomes[run_id(bad)].reason
    [again] = launch([done], force=True)
    assert again.status == "finished"
    assert (run_folder(done) / "summary.json").stat().st_mtime_ns > stamp


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_checkpoint_of_another_launcher_does_not_outlive_the_run(tmp_path: Path) -> None:
    """A node has no checkpoint to go on from: the run starts over, and what it was is gone."""
    [config] = configs_in(tmp_path, 1, "launcher=ray", *LONG)
    folder = run_folder(config)
    asked = iter(range(100))
    for event in execute(config, stop=lambda: next(asked) == 0):
        assert not isinstance(event, Ended)
    assert (folder / CHECKPOINT_FILE).exists()
    [outcome] = launch([config], force=False)
    assert outcome.status == "finished"
    assert read_run(folder).metrics["step"].tolist() == [0, 400, 800, 1000]
    assert not (folder / CHECKPOINT_FILE).exists()


def test_force_takes_a_checkpoint_away_before_the_run(tmp_path: Path) -> None:
    """Even where the run is then lost, the next start must not go on from what was refused."""
    [config] = configs_in(tmp_path, 1, "launcher=ray")
    folder = run_folder(config)
    folder.mkdir(parents=True)
    for force in (False, True):
        (folder / CHECKPOINT_FILE).touch()
        claimed = ray_launcher.claim(config, force=force)
        assert isinstance(claimed, Claimed)
        claimed.lock.release()
        assert (folder / CHECKPOINT_FILE).exists() is not force


def test_a_finished_run_stays_until_the_files_of_the_new_one_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the disk fills as the last of them is written."""
    [config] = configs_in(tmp_path, 1)
    folder = write_run(config)
    old = (folder / "metrics.parquet").read_bytes()
    write_run(config.model_copy(update={"seed": 7}))  # another's files stand for the new ones
    other = run_folder(config.model_copy(update={"seed": 7}))
    new = {file.name: file.read_bytes() for file in other.iterdir()}
    new["metrics.parquet"] = new["layers.parquet"]
    write_whole = ray_launcher.write_whole

    def full(file: Path, write: Any) -> None:
        if file.name == "summary.json":
            raise RecordError("no space left")
        write_whole(file, write)

    monkeypatch.setattr(ray_launcher, "write_whole", full)
    with pytest.raises(RecordError):
        ray_launcher._store(folder, new)
    assert is_final(folder)
    assert (folder / "metrics.parquet").read_bytes() == old
    monkeypatch.undo()
    ray_launcher._store(folder, new)
    assert is_final(folder)
    assert (folder / "metrics.parquet").read_bytes() == new["metrics.parquet"]
    assert not list(folder.glob(".*"))


def test_a_run_folder_that_leads_out_of_the_results_is_not_written(tmp_path: Path) -> None:
    [config] = configs_in(tmp_path / "results", 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_folder(config).parent.mkdir(parents=True)
    run_folder(config).symlink_to(elsewhere)
    claimed = ray_launcher.claim(config, force=False)
    assert isinstance(claimed, Outcome)
    assert claimed.status == "failed"
    assert "a link that leads out" in claimed.reason
    assert not list(elsewhere.iterdir())


def at_work(config: Config) -> bool:
    """Whether a run has got past its first step, in a task's own folder on this machine."""
    folders = Path(tempfile.gettempdir()).glob(f"normlab-*/*/{run_id(config)}")
    return any((read_lock(folder) or {}).get("progress", {}).get("step") for folder in folders)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_closing_marks_runs_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_launcher, "STOP_SECONDS", NEVER_SECONDS)
    configs = configs_in(tmp_path, 5, "launcher=ray", *LONG[:1], "training.steps=100000")
    # The first ends at once, so that the generator is under way.
    first = configs_in(tmp_path, 1, "launcher=ray")[0]
    with contextlib.closing(launch([first, *configs], force=False)) as outcomes:
        assert next(outcomes).status == "finished"
        wait_for(lambda: any(map(at_work, configs)))
    states = [status_kept(config) for config in configs]
    assert set(states) == {"interrupted", None}
    assert not list(tmp_path.rglob(LOCK_FILE))
    # Those that never began leave nothing.
    assert len(list((tmp_path / "runs").iterdir())) == 1 + states.count("interrupted")


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_run_that_fits_no_node(tmp_path: Path) -> None:
    configs = configs_in(tmp_path, 1, "launcher=ray", "launcher.cpus_per_run=64")
    with pytest.raises(ConfigError, match="no node of the cluster has 64 CPUs and 0 GPUs"):
        list(launch(configs, force=False))


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "nonsense"])
def test_no_cluster_at_the_address(address: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    address = address.format(port=free_port())
    configs = configs_in(tmp_path, 1, "launcher=ray", f"launcher.address='{address}'")
    with pytest.raises(
        ConfigError, match=rf"^launcher.address={address}: no connection.*"
    ) as error:
        list(launch(configs, force=False))
    assert "\n" not in str(error.value)


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    with pytest.raises(ConfigError) as error:
        list(launch(configs_in(tmp_path, 1, "launcher=ray"), force=False))
    message = "launcher=ray: needs the package ray; pip install 'normlab[ray]'"
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["launcher.gpus_per_run=1.5"], "launcher.gpus_per_run=1.5: above 1 it must be a whole"),
        (["launcher.address=auto", "launcher.local_cpus=2"], "only a local Ray has one"),
        (["launcher.max_retries=-1"], "launcher.max_retries=-1: must be at least 0"),
    ],
)
def test_options_that_cannot_be(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(["launcher=ray", *overrides])
