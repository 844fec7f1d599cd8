"""normlab run and normlab show"""

import json
import re
from pathlib import Path

import pytest
from pandas import read_parquet
from pandas.testing import assert_frame_equal

from normlab import api
from normlab.cli.commands import run as run_command
from normlab.errors import InterruptedRunError
from normlab.runs import folder as run_files
from tests.cli.invoking import normlab
from tests.conftest import TINY

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def test_run_then_show_then_run_again(tmp_path: Path) -> None:
    first = normlab("run", *TINY, cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert not CONTROL.search(first.stdout)
    assert "step      8" in first.stdout
    (summary_file,) = tmp_path.glob("results/runs/*/summary.json")
    folder = summary_file.parent.relative_to(tmp_path)
    assert str(folder) in first.stdout
    report = first.stdout[first.stdout.index("δ at step 0") :]

    shown = normlab("show", folder.name[:7], cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, report)
    assert normlab("show", str(folder), cwd=tmp_path).stdout == report

    before = summary_file.stat().st_mtime_ns
    again = normlab("run", *TINY, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout.startswith("Finished before")
    assert again.stdout.endswith(report)
    assert summary_file.stat().st_mtime_ns == before

    # Made again, every number is the same.
    tables = [read_parquet(summary_file.with_name(f"{n}.parquet")) for n in ("layers", "metrics")]
    forced = normlab("run", *TINY, "--force", cwd=tmp_path)
    assert forced.returncode == 0
    assert summary_file.stat().st_mtime_ns > before
    for name, table in zip(("layers", "metrics"), tables, strict=True):
        again_table = read_parquet(summary_file.with_name(f"{name}.parquet"))
        timeless = [column for column in table if column != "seconds"]
        assert_frame_equal(table[timeless], again_table[timeless], check_exact=True)


def test_what_is_finished_in_another_experiment_is_told_and_made_anew(tmp_path: Path) -> None:
    words = (*TINY, "output.experiment=one")
    assert "finished in" not in normlab("run", *words, cwd=tmp_path).stdout
    (folder,) = tmp_path.glob("results/one/*")
    second = normlab("run", *TINY, "output.experiment=two", cwd=tmp_path)
    line = f"finished in results/one/{folder.name} too, made anew for two"
    assert second.stdout.splitlines()[0] == line
    assert (tmp_path / "results" / "two" / folder.name / "summary.json").is_file()
    quiet = normlab("run", *TINY, "output.experiment=three", "--format", "json", cwd=tmp_path)
    assert json.loads(quiet.stdout)["run_id"] == folder.name
    assert "finished in" not in normlab("run", *words, "--force", cwd=tmp_path).stdout


def test_json_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    first = normlab("run", *TINY, "--format", "json", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    summary = json.loads(first.stdout)
    (file,) = tmp_path.glob("results/runs/*/summary.json")
    assert summary == json.loads(file.read_text(encoding="utf-8"))
    assert summary["status"] == "finished"
    again = normlab("run", *TINY, "--format", "json", cwd=tmp_path)
    assert again.stdout == first.stdout
    shown = normlab("show", summary["run_id"], "--format", "json", cwd=tmp_path)
    assert shown.stdout == first.stdout


def test_cfg_prints_the_config_and_writes_nothing(tmp_path: Path) -> None:
    done = normlab("run", "norm=ln", "model.depth=56", "--cfg", cwd=tmp_path)
    assert done.returncode == 0
    assert "depth: 56" in done.stdout
    assert "name: ln" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ([], "24 runs, and normlab run makes one of them"),
        (["model.depth=14"], "8 runs, and normlab run makes one of them"),
        (["norm=bn", "model=cnn", "model.depth=8", "seed=0"], ""),
        (["seed=7", "norm=ln", "--config-dir", "."], "6 runs, and"),
    ],
)
def test_a_sweep_that_is_run_is_told(tmp_path: Path, settings: list[str], told: str) -> None:
    done = normlab("run", "experiment=quickstart", *settings, "--cfg", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("seed: ")
    assert told in done.stderr
    command = " ".join(["normlab sweep experiment=quickstart", *settings])
    assert done.stderr.endswith(f"{command}\n" if told else "")
    assert bool(done.stderr) == bool(told)


def test_a_run_may_be_none_of_its_sweep() -> None:
    named = api.compose("norm=ln", "model=resnet")
    assert api.sweep_around(named, "experiment=quickstart") == (24, False)
    assert api.sweep_around(named, "norm=ln", "model=resnet") == (1, True)


def test_diverged_is_a_result(tmp_path: Path) -> None:
    done = normlab("run", *TINY, "norm=none", "optimizer.lr=1e30", cwd=tmp_path)
    assert done.returncode == 0
    assert "verdict  diverged." in done.stdout


def test_config_dir(tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    text = "defaults:\n  - mlp\n  - _self_\nwidth: 5\n"
    (tmp_path / "own" / "model" / "mine.yaml").write_text(text, encoding="utf-8")
    done = normlab("run", "model=mine", "--config-dir", "own", "--cfg", cwd=tmp_path)
    assert done.returncode == 0
    assert "width: 5" in done.stdout


def test_a_run_that_ends_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(run_files, "read_any_run", unread)
    monkeypatch.setattr("normlab.runs.read_any_run", unread)
    assert normlab("run", *TINY, cwd=tmp_path).returncode == 0
    with pytest.raises(AssertionError, match="read again"):
        normlab("--debug", "show", cwd=tmp_path)


@pytest.mark.parametrize("force", [False, True])
def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    config = api.compose(*TINY)

    def interrupted(*_: object, **__: object) -> None:
        folder = tmp_path / "results" / "runs" / config_id
        folder.mkdir(parents=True)
        (folder / "checkpoint.pt").touch()
        raise KeyboardInterrupt

    config_id = run_files.run_folder(config).name
    monkeypatch.setattr(api, "run_config", interrupted)
    with pytest.raises(InterruptedRunError) as told:
        run_command.make_run(config, "rich", force=force)
    same = "the same command without --force" if force else "the same command"
    assert str(told.value) == f"interrupted; {same} goes on from there"


def test_theory_beside_the_measurement(tmp_path: Path) -> None:
    page = normlab("run", *TINY, "norm=none", "model.depth=8", cwd=tmp_path, COLUMNS="120").stdout
    assert re.search(
        r"theory\s+δ ×1 per layer towards the input predicted at init, ×[\d.]+ meas", page
    )


def test_a_finished_run_of_other_data_says_so(tmp_path: Path) -> None:
    words = ("run", "model=mlp", "model.depth=2", "training.steps=1", "probes=none")
    assert normlab(*words, cwd=tmp_path).returncode == 0
    assert normlab(*words, cwd=tmp_path).stderr == ""
    (file,) = tmp_path.glob("results/runs/*/summary.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data_sha256": "0" * 16}))
    shown = normlab(*words, "--format", "json", cwd=tmp_path)
    assert shown.stderr.startswith("this run was made of other data than are there now; --force")
    assert json.loads(shown.stdout)["data_sha256"] == "0" * 16
