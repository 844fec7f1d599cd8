"""How runs were made, and the commands that make them again."""

import html
import json
import re

from normlab.analysis import read_results
from normlab.show import Selection, write_report
from normlab.show.page.repetition import MOST_COMMANDS, repetition
from tests.tools.synthetic_results import write_runs


def made_in(root, environments):
    """Runs made so, as a frame."""
    folders = write_runs(len(environments), root)
    for folder, environment in zip(folders, environments, strict=True):
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    frame, _ = read_results([root])
    return frame


def page_of(root, environments, where=()):
    """What a page says of how to repeat such runs, and what is known of that."""
    selection = Selection(made_in(root, environments), [root], where)
    file = root / "page.html"
    write_report(selection, file)
    page = file.read_text(encoding="utf-8")
    told = page[page.index("To repeat it") :].partition("<details>")[0]
    return html.unescape(told), repetition(selection.frame, [root], where)


def test_every_command_commit_and_machine_of_the_runs_is_told(tmp_path):
    environments = [
        {"command": ["__main__.py", "sweep", "norm=bn", "--report", "a.html"], "torch": "2.13.0"},
        {"command": ["normlab", "sweep", "model.depth=8,20"], "git_commit": "a" * 40},
        {"command": ["normlab", "sweep", "norm=bn"], "git_commit": "b" * 40, "git_dirty": True},
    ]
    page, told = page_of(tmp_path, environments, ["seed=0"])
    made, compared = told.commands[:-1], told.commands[-1]
    assert sorted(made) == ["normlab sweep model.depth=8,20", "normlab sweep norm=bn"]
    assert compared == f"normlab compare {tmp_path} --where seed=0"
    commits = r"commit (a{10} and b{10} with changes|b{10} with changes and a{10})"
    shown = page[page.index("<pre>") + 5 : page.index("</pre>")].splitlines()
    assert sorted(shown[:-1]) == sorted(made)  # a page's runs stand by variant
    assert shown[-1] == compared
    for text in (page, told.made_with):
        assert re.search(commits, text)
        assert "PyTorch 2.13.0" in text
    assert " 3 runs, " in page
    assert told.runs == 3
    assert "model:" in told.config


def test_of_very_many_commands_the_first_are_told(tmp_path):
    page, told = page_of(tmp_path, [{"command": ["normlab", "run", f"seed={i}"]} for i in range(9)])
    assert page.count("normlab run seed=") == MOST_COMMANDS
    assert "# 3 more, in the runs' environment.json\n" in page
    assert sum(text.startswith("normlab run seed=") for text in told.commands) == MOST_COMMANDS
    assert f"# {9 - MOST_COMMANDS} more, in the runs' environment.json" in told.commands


def test_runs_without_environments_are_swept_by_their_experiments_name(tmp_path):
    write_runs(2, tmp_path, "quickstart")
    frame, _ = read_results([tmp_path])
    told = repetition(frame, [tmp_path], [])
    assert told.commands[0] == "normlab sweep experiment=quickstart"
