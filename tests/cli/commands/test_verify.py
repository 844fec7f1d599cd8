"""normlab verify, claims and theory"""

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from normlab import api
from normlab.cli.commands import verify as verify_command
from normlab.config import run_id
from normlab.errors import InterruptedRunError
from normlab.runs import Outcome, Plan
from tests.cli.invoking import normlab
from tests.conftest import TINY

OWN = """
statement: Two layers are as good as three.
experiment: [{tiny}, "model.depth=3,4", "seed=range(2)"]
metric: train_acc("model.depth=3") - train_acc("model.depth=4")
gate: {gate}
"""


def own_claim(folder: Path, gate: str) -> Path:
    file = folder / "mine.yaml"
    tiny = ", ".join(t for t in TINY if not t.startswith("model.depth"))
    file.write_text(OWN.format(tiny=tiny, gate=gate))
    return file


@pytest.mark.slow
def test_verify_makes_what_is_missing(tmp_path: Path) -> None:
    own_claim(tmp_path, "[-1, 1]")
    first = normlab("verify", "mine.yaml", "C05", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "4 runs: 4 to make" in first.stdout
    assert "2 claims: 2 PASS" in first.stdout
    again = normlab("verify", "mine.yaml", cwd=tmp_path)
    assert "4 runs: 0 to make, 4 finished before" in again.stdout


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a claim whose runs are finished."""
    own_claim(tmp_path, "[-1, 1]")
    monkeypatch.chdir(tmp_path)
    planned = api.plan_verification("mine.yaml").plan
    assert planned is not None
    for config in planned.pending:
        api.run_config(config)
    return tmp_path


def test_verify_judges_remembers_and_judges_again(finished: Path) -> None:
    first = normlab("verify", "mine.yaml", "C05", cwd=finished)
    assert first.returncode == 0, first.stderr
    assert "4 runs: 0 to make, 4 finished before" in first.stdout
    assert "2 claims: 2 PASS" in first.stdout
    again = normlab("verify", "mine.yaml", "--format", "json", cwd=finished)
    (row,) = json.loads(again.stdout)
    assert (row["verdict"], row["n"], row["gate"]) == ("PASS", 2, {"metric": [-1, 1]})
    assert "4 finished" in again.stderr
    own_claim(finished, "[2, 3]")
    failed = normlab("verify", "mine.yaml", "--format", "md", cwd=finished)
    assert failed.returncode == 1
    assert "**FAIL**" in failed.stdout
    listed = normlab("verify", cwd=finished)
    assert re.search(r"C05.*PASS", listed.stdout)
    assert len(re.findall(r"^C\d\d ", listed.stdout, re.MULTILINE)) == 32


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = normlab("verify", "C08", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert " to make" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr=0.1/mine.yaml"], "lr=0.1/mine.yaml: cannot be read (No such file or directory)"),
        (["seed=3"], "seed=3: would change what the claim is about"),
        (["runtime.threads=2"], "runtime.threads=2: of which claims? name them, or add --all"),
    ],
)
def test_words_that_name_no_claim_are_no_list(tmp_path: Path, words: list[str], says: str) -> None:
    done = normlab("verify", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_claim_in_a_folder_of_odd_name_is_judged_where_it_is_said(finished: Path) -> None:
    odd = finished / "lr=0.1 é"
    odd.mkdir()
    (finished / "mine.yaml").rename(odd / "mine.yml")
    (finished / "results").rename(odd / "results=1")
    words = ("runtime.device=cpu", f"output.root={odd.name}/results=1")
    done = normlab("verify", f"{odd.name}/mine.yml", *words, cwd=finished)
    assert "4 runs: 0 to make, 4 finished before" in done.stdout
    assert done.returncode == 0


def test_data_that_are_not_there_are_told_once_before_any_run(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "statement: Nine nets learn.\n"
        'experiment: [model=mlp, data=mnist, data.root=nowhere, "seed=range(9)"]\n'
        "metric: train_acc\ngate: [0, 1]\n"
    )
    done = normlab("verify", "mine.yaml", "C05", cwd=tmp_path, COLUMNS="500")
    assert done.returncode == 1
    assert done.stdout.count("data.root=nowhere: there is no such folder") == 1
    assert "9 of 9 runs are missing or failed" in done.stdout
    assert "2 claims: 1 PASS, 1 INCOMPLETE" in done.stdout
    grid = ("model=mlp", "data=mnist", "data.root=nowhere", "seed=range(9)")
    swept = normlab("sweep", *grid, cwd=tmp_path)
    assert (swept.returncode, swept.stderr.count("\n")) == (2, 1)
    assert "data.root=nowhere: there is no such folder" in swept.stderr
    assert not list(tmp_path.glob("**/summary.json"))


def test_a_dry_run_names_the_runs(tmp_path: Path) -> None:
    done = normlab("verify", "C08", "--dry-run", cwd=tmp_path)
    first, *runs = done.stdout.splitlines()
    assert first == "20 runs: 20 to make"
    assert len(set(runs)) == 20


def test_an_interrupted_verification_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    own_claim(tmp_path, "[-1, 1]")
    monkeypatch.setattr(api, "run_plan", interrupted)
    ended = normlab("verify", "mine.yaml", cwd=tmp_path)
    assert ended.returncode == 130
    assert ended.stderr == "normlab: interrupted; the same command goes on from here\n"


def test_a_claim_is_judged_and_kept_when_its_own_runs_have_ended(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though those of another are still to be made when Ctrl-C is struck."""
    told: list[int] = []

    def interrupted(planned: Plan, *, follow: Callable[..., object], **_: object) -> None:
        def outcomes() -> Iterator[Outcome]:
            for config in planned.pending[:2]:
                api.run_config(config)
                yield Outcome(run_id(config), "finished")
                told.append(printed.getvalue().count("PASS"))
            raise KeyboardInterrupt

        follow(outcomes())

    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    for name, seeds in (("one", "seed=7,8"), ("two", "seed=9,10")):
        text = (finished / "mine.yaml").read_text().replace("seed=range(2)", seeds)
        (finished / f"{name}.yaml").write_text(text.replace("model.depth=3,4", "model.depth=3"))
    for name in ("one", "two"):
        text = (finished / f"{name}.yaml").read_text()
        (finished / f"{name}.yaml").write_text(
            re.sub("metric: .*", "metric: train_acc('model.depth=3')", text)
        )
    monkeypatch.setattr(api, "run_plan", interrupted)
    with pytest.raises(InterruptedRunError):
        verify_command.verify(["mine.yaml", "one.yaml", "two.yaml"])
    assert told == [1, 2]  # mine's before the first run, one's with its last
    assert "2 claims: 2 PASS; 1 claim not judged" in printed.getvalue()
    kept = {file.name.split("-")[0] for file in finished.glob("results/.verdicts/*.json")}
    assert kept == {"mine", "one"}


def test_claims_explain(tmp_path: Path) -> None:
    page = normlab("claims", "C14", cwd=tmp_path, COLUMNS="100").stdout
    for part in ("He et al. 2015", "trap", "gate", "pilot", "normlab run experiment=C14"):
        assert part in page


def test_theory_prints_the_phase(tmp_path: Path) -> None:
    arguments = ("theory", "model.activation=tanh", "model.init=lecun_normal")
    page = normlab(*arguments, "model.init_gain=2", cwd=tmp_path).stdout
    assert "chaotic phase" in page
    facts = json.loads(normlab(*arguments, "--format", "json", cwd=tmp_path).stdout)
    assert {"q", "chi_1", "gradient_depth", "critical_weight_variance"} <= set(facts)
