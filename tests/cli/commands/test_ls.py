"""normlab ls, and the ids that it lists"""

import csv
import io
import json
from pathlib import Path

import pytest
import typer

from normlab.cli import app
from normlab.cli.completing import complete_runs
from tests.cli.invoking import normlab
from tests.tools.synthetic_results import write_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("list")
    write_runs(60, place / "results", with_tables=True)
    return place


def test_formats_for_programs_hold_all_runs_and_nothing_else(folder: Path) -> None:
    rows = json.loads(normlab("ls", "--format", "json", cwd=folder).stdout)
    assert len(rows) == 60
    assert [row["started"] for row in rows] == sorted((r["started"] for r in rows), reverse=True)
    text = normlab("ls", "--format", "csv", "--limit", "3", "--sort", "-seconds", cwd=folder).stdout
    first, *others = csv.DictReader(io.StringIO(text))
    assert len(others) == 2
    assert float(first["seconds"]) == max(row["seconds"] for row in rows)


def test_an_id_of_the_list_can_be_shown(folder: Path) -> None:
    listed = normlab("ls", "--limit", "1", cwd=folder).stdout
    identity = listed.splitlines()[2].split()[0]
    shown = normlab("show", identity, cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert f"results/synthetic/{identity}" in shown.stdout
    assert "… and 59 more; --limit 0 shows all" in listed


def test_that_nothing_failed_is_no_fault(folder: Path) -> None:
    answer = normlab("ls", "--where", "status=failed", cwd=folder)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "no runs\n", "")
    for form in ("csv", "json"):
        for command in ("ls", "compare"):
            answer = normlab(command, "--where", "status=failed", "--format", form, cwd=folder)
            assert (answer.returncode, answer.stderr) == (0, "")


def test_the_shell_completes_ids(folder: Path) -> None:
    runs = json.loads(normlab("ls", "--format", "json", cwd=folder).stdout)
    command = typer.main.get_command(app).commands["show"]  # type: ignore[attr-defined]
    context = command.make_context("show", ["--root", str(folder / "results")])
    start = runs[0]["run_id"][:1]
    assert dict(complete_runs(context, start)) == {
        run["run_id"]: f"{run['name']}, {run['verdict']}"
        for run in runs
        if run["run_id"].startswith(start)
    }
    assert complete_runs(context, "nothing") == []
    (argument,) = (part for part in command.params if part.name == "run")
    found = argument.shell_complete(context, runs[0]["run_id"][:8])
    assert [item.value for item in found] == [runs[0]["run_id"]]
