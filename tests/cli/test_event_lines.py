"""normlab run --jsonl: lines on stdout or in a file, read while a run goes on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from normlab.cli.event_lines import open_lines
from normlab.runs import lines_of_run, read_run, to_json_line
from tests.cli.invoking import normlab
from tests.conftest import TINY, replacing

PROGRAM = (sys.executable, "-m", "normlab", "run")


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_stdout_has_the_lines_and_nothing_else_also_of_a_finished_run(tmp_path: Path) -> None:
    first = normlab("run", *TINY, "--jsonl", "-", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    lines = parsed(first.stdout)
    assert [lines[0]["event"], lines[0]["version"], lines[-1]["event"]] == ["started", 1, "end"]
    (file,) = tmp_path.glob("results/runs/*/summary.json")
    assert lines[-1]["summary"] == json.loads(file.read_text(encoding="utf-8"))
    again = normlab("run", *TINY, "--jsonl", "-", cwd=tmp_path)
    assert (again.returncode, again.stderr, again.stdout) == (0, "", first.stdout)


def test_a_file_has_the_lines_beside_the_usual_report(tmp_path: Path) -> None:
    done = normlab("run", *TINY, "--jsonl", "run.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verdict  " in done.stdout
    (folder,) = tmp_path.glob("results/runs/*")
    read = [to_json_line(line) for line in lines_of_run(read_run(folder))]
    written = (tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(written) == len(read)
    assert written[1:] == read[1:]  # the first has the folder as it was named
    as_json = normlab("run", *TINY, "--jsonl", "b.jsonl", "--format", "json", cwd=tmp_path)
    assert json.loads(as_json.stdout)["status"] == "finished"


def test_a_run_that_fails_has_a_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("normlab.training.graphs.training_step", broken)
    monkeypatch.setattr("normlab.training.session.snapshot", broken)
    done = normlab("run", *TINY, "--jsonl", "-", cwd=tmp_path)
    assert done.returncode == 3
    assert "broken on purpose" in done.stderr
    last = parsed(done.stdout)[-1]
    assert (last["event"], last["summary"]["status"]) == ("end", "failed")


def test_lines_come_while_it_trains_and_a_reader_may_leave(tmp_path: Path) -> None:
    words = (*replacing(TINY, "training.epochs=200"), "--jsonl", "-")
    with subprocess.Popen([*PROGRAM, *words], cwd=tmp_path, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        started = json.loads(program.stdout.readline())
        assert not (tmp_path / started["folder"] / "summary.json").exists()
        assert json.loads(program.stdout.readline())["event"] == "evaluation"
        program.stdout.close()
        assert program.wait() == 0
    summary = json.loads((tmp_path / started["folder"] / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 800)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--jsonl", "-", "--format", "json"), "leave out --format json, or name a file"),
        (("--jsonl", "-", "--doctor"), "leave out --doctor, or name a file"),
        (("--jsonl", "a", "-m"), "--jsonl: of one run that is made; leave out -m and --cfg"),
        (("--jsonl", "a", "--cfg"), "--jsonl: of one run that is made; leave out -m and --cfg"),
        (("--jsonl", "none/a"), "--jsonl none/a: cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be_is_told_before_it_trains(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    refused = normlab("run", *TINY, *words, cwd=tmp_path)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert told in refused.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_lines_and_not_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    with open_lines("/dev/full") as write:
        write({"event": "started"})
        write({"event": "end"})
    told = capsys.readouterr().err
    assert told == "--jsonl /dev/full: ends here (No space left on device); the run goes on\n"
