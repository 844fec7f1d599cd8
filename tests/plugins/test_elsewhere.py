"""Worker processes, Ray and Slurm's jobs load what is loaded here, as it was then."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from normlab import plugins
from normlab.config import Config, compose, run_id
from normlab.errors import ConfigError, RunError
from normlab.runs import Outcome, read_run, run_folder
from normlab.runs.launchers import launch
from tests.conftest import TINY
from tests.plugins.bringing import _without_plugins as _without_plugins
from tests.plugins.bringing import install, unload_all, write_plugin

pytestmark = [pytest.mark.first, pytest.mark.usefixtures("_without_plugins")]

SLURM = ("launcher=slurm", "launcher.cluster=local", "launcher.cpus_per_job=1", "launcher.jobs=1")


def configs_in(root: Path, *overrides: str) -> list[Config]:
    one = compose([*TINY, "norm=centre", f"output.root='{root / 'results'}'", *overrides])
    return [one.model_copy(update={"seed": seed}) for seed in range(2)]


def outcomes_of(configs: list[Config]) -> list[Outcome]:
    with contextlib.closing(launch(configs, force=False)) as outcomes:
        return list(outcomes)


def assert_made(configs: list[Config], outcomes: list[Outcome]) -> None:
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2, outcomes
    assert {outcome.run_id for outcome in outcomes} == set(map(run_id, configs))
    for config in configs:
        assert read_run(run_folder(config)).config.plugins == config.plugins


def folder_plugin(folder: Path) -> Path:
    write_plugin(folder / "parts.py")
    (folder / "__init__.py").write_text("from . import parts\n")
    return folder


def test_workers_have_a_file_as_it_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_plugin(tmp_path / "a folder" / "mine.py")
    plugins.load("a folder/mine.py")
    configs = configs_in(tmp_path, "launcher.workers=1")
    file.write_text("raise SystemExit('changed since')\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert_made(configs, outcomes_of(configs))


@pytest.mark.slow
def test_workers_have_the_same_package_or_none(tmp_path: Path) -> None:
    folder = folder_plugin(tmp_path / "mine")
    plugins.load(folder)
    configs = configs_in(tmp_path, "launcher.workers=1")
    assert_made(configs, outcomes_of(configs))
    write_plugin(folder / "parts.py", "centre", "# changed since")
    with pytest.raises(RunError, match="no worker of the sweep could start") as caught:
        outcomes_of(configs_in(tmp_path, "launcher.workers=1", "training.epochs=1"))
    assert f"plugin mine: {folder} is not what the runs were planned with" in str(caught.value)


@pytest.mark.slow
def test_workers_have_an_installed_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "minepkg", "")
    write_plugin(tmp_path / "site" / "minepkg" / "__init__.py", "centre")
    monkeypatch.syspath_prepend(tmp_path / "site")
    unload_all()
    configs = configs_in(tmp_path, "launcher.workers=1")
    assert configs[0].plugins.keys() == {"minepkg"}
    assert_made(configs, outcomes_of(configs))


@pytest.mark.slow
def test_jobs_of_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="needs the package submitit")
    monkeypatch.chdir(tmp_path)
    file = write_plugin(tmp_path / "a folder" / "mine.py")
    plugins.load(file)
    configs = configs_in(tmp_path, *SLURM)
    file.unlink()
    assert_made(configs, outcomes_of(configs))
    unload_all()
    folder = folder_plugin(tmp_path / "mine")
    plugins.load(folder)
    configs = configs_in(tmp_path, *SLURM)
    shutil.rmtree(folder)
    reasons = {outcome.reason for outcome in outcomes_of(configs)}
    assert reasons == {f"plugin {folder}: neither FILE.py nor a folder with __init__.py"}


@pytest.fixture
def _local_ray() -> Iterator[None]:
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    pytest.importorskip("ray", reason="needs the package ray")
    import ray

    from normlab.runs.launchers.ray import RayLauncher

    launcher = compose(["launcher=ray", "launcher.local_cpus=1"]).launcher
    assert isinstance(launcher, RayLauncher)
    with launcher.connection(ray):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_local_ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tasks_of_ray(tmp_path: Path) -> None:
    file = write_plugin(tmp_path / "mine.py")
    plugins.load(file)
    configs = configs_in(tmp_path, "launcher=ray")
    file.unlink()
    assert_made(configs, outcomes_of(configs))
    unload_all()
    folder = folder_plugin(tmp_path / "other")
    plugins.load(folder)
    configs = configs_in(tmp_path, "launcher=ray", "training.epochs=1")
    write_plugin(folder / "parts.py", "centre", "# changed since")
    outcomes = outcomes_of(configs)
    assert [outcome.status for outcome in outcomes] == ["failed"] * 2
    assert all(
        outcome.reason.startswith(f"plugin other: {folder} is not what the runs were planned with")
        for outcome in outcomes
    )


def test_a_parcel_is_refused_where_it_is_not_the_same(tmp_path: Path) -> None:
    folder = folder_plugin(tmp_path / "mine")
    plugins.load(folder)
    parcels = plugins.parcels()
    unload_all()
    plugins.load_parcels(parcels)
    plugins.load_parcels(parcels)  # once more, as every task does
    assert [plugin.name for plugin in plugins.loaded()] == ["mine"]
    unload_all()
    (folder / "further.py").touch()
    with pytest.raises(ConfigError, match="is not what the runs were planned with"):
        plugins.load_parcels(parcels)
