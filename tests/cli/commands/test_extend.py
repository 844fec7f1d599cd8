"""normlab extend"""

import json
from pathlib import Path

import pytest

from tests.cli.invoking import normlab
from tests.conftest import TINY

KEPT = (*TINY, "output.keep=true")


def made(cwd: Path, *settings: str) -> str:
    """The id of a run that kept its state."""
    done = normlab("run", *KEPT, *settings, "--format", "json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    identity: str = json.loads(done.stdout)["run_id"]
    return identity


def test_a_run_is_made_longer_and_shown_and_is_the_run_of_that_length(tmp_path: Path) -> None:
    short = made(tmp_path, "schedule=constant")
    done = normlab("extend", short[:6], "training.epochs=4", cwd=tmp_path, COLUMNS="200")
    assert (done.returncode, done.stderr) == (0, "")
    assert "16 steps on cpu, going on from step 8" in done.stdout
    assert f"; the first 8 steps are those of {short}" in done.stdout
    again = normlab("extend", short, "training.epochs=4", cwd=tmp_path)
    assert again.stdout.startswith("Finished before, shown from its files.")
    words = ("schedule=constant", "training.epochs=4", "--format", "json")
    whole = normlab("run", *(w for w in KEPT if "epochs" not in w), *words, cwd=tmp_path)
    summary = json.loads(whole.stdout)
    assert (summary["extended_from"], summary["steps"]) == (short, 16)
    assert len(list(tmp_path.glob("results/runs/*"))) == 2


def test_a_schedule_of_the_length_is_stretched_where_it_is_asked_for(tmp_path: Path) -> None:
    short = made(tmp_path)
    words = ("extend", short, "training.steps=12", "--format", "json")
    refused = normlab(*words, cwd=tmp_path)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "schedule=cosine: depends on the length, at step 1 the rate is" in refused.stderr
    done = normlab(*words, "--stretch", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert summary["config"]["training"]["extends"] == short
    assert (summary["status"], summary["steps"]) == ("finished", 12)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("{run}",), "training.steps: is not given, and {run} has 8 already; name more, as in"),
        (("{run}", "norm=ln"), "norm=ln: a run that is made longer keeps all but training.epochs"),
        (("ffffff", "training.epochs=4"), "ffffff: no such run"),
        (("training.epochs=4",), "training.epochs=4: no such run"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    short = made(tmp_path, "schedule=constant")
    refused = normlab("extend", *(word.format(run=short) for word in words), cwd=tmp_path)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert told.format(run=short) in refused.stderr
