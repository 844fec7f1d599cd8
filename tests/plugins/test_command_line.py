"""`normlab --plugin`, and what the README and the topics say of it."""

import json
import re
import shlex
from pathlib import Path

import pytest

from normlab import plugins
from tests.cli.invoking import normlab
from tests.cli.test_completing import completions
from tests.plugins.bringing import _without_plugins as _without_plugins
from tests.plugins.bringing import install, unload_all, write_plugin

pytestmark = pytest.mark.usefixtures("_without_plugins")

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## Parts of your own\n")[1].split("\n## ")[0]
FILE = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = [
    shlex.split(line.partition("  #")[0])
    for line in re.findall(r"^\$ normlab (.*)$", SECTION, re.MULTILINE)
]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    assert FILE is not None
    (tmp_path / "mine.py").write_text(FILE[1], encoding="utf-8")
    return tmp_path


def test_the_readmes_plugin_runs_as_it_says(mine: Path) -> None:
    run, *_, info = COMMANDS
    answer = normlab(*run, cwd=mine, COLUMNS="100")
    assert (answer.returncode, answer.stderr) == (0, "")
    shown = re.findall(r"```text\n(.*?)```", SECTION, re.DOTALL)[0]
    head = shown.splitlines()[0]  # the figures are of one processor
    lines = [line.rstrip() for line in answer.stdout.splitlines()]
    assert head in lines
    assert (
        len(re.findall(r"^ +\d+ +\d+ +[\d.e-]+ +[\d.e-]+ +\d+\.\d+$", "\n".join(lines), re.M)) == 8
    )
    assert "verdict  trains." in answer.stdout
    told = normlab(*info, cwd=mine)
    assert "norm=centre, model=funnel, probe=stable_rank" in told.stdout


@pytest.mark.slow
def test_the_readmes_other_commands_run(mine: Path) -> None:
    for words in COMMANDS[1:]:
        answer = normlab(*words, cwd=mine, COLUMNS="100")
        assert (answer.returncode, answer.stderr) == (0, ""), words
        if "sweep" in words:
            assert "6 runs: 6 finished" in answer.stdout
            assert "next   normlab --plugin mine.py plot gradients results/runs" in answer.stdout


def test_a_refusal_of_the_readmes_model(mine: Path) -> None:
    answer = normlab("--plugin", "mine.py", "run", "model=funnel", "model.residual=true", cwd=mine)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == (
        "normlab: model.residual=true: model=funnel has no skips; leave it out\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--plugin", "absent.py", "info"], "normlab: plugin absent.py: no such file"),
        (["--plugin", "bad.py", "info"], "bad.py, line 1): RuntimeError: of no use"),
        (["run", "--plugin", "mine.py"], "as in normlab --plugin FILE_OR_MODULE run\n"),
        (["ls", "--plugin", "mine.py"], "as in normlab --plugin FILE_OR_MODULE ls\n"),
        (["--plugin", "my_results", "ls"], "no module my_results is installed"),
        (["--plugin", "./results", "ls"], "./results: a folder without __init__.py"),
        (["--plugin", "mine.py", "run", "norm=center"], "did you mean centre?"),
    ],
)
def test_faults_in_a_line(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "bad.py").write_text("raise RuntimeError('of no use')\n")
    write_plugin(tmp_path / "mine.py")
    answer = normlab(*words, cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_debug_shows_where(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise RuntimeError('of no use')\n")
    with pytest.raises(Exception, match="of no use") as caught:
        normlab("--debug", "--plugin", "bad.py", "info", cwd=tmp_path)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_info_and_explain_list_what_plugins_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path / "mine.py")
    install(tmp_path / "site", "theirs", "raise RuntimeError('of no use')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    unload_all()
    facts = normlab("--plugin", "mine.py", "info", "--format", "json", cwd=tmp_path)
    found = json.loads(facts.stdout)["plugins"]
    assert found["mine"]["parts"] == ["norm=centre"]
    assert found["mine"]["place"] == str(tmp_path / "mine.py")
    assert "of no use" in found["theirs"]["error"]
    table = normlab("--plugin", "mine.py", "info", cwd=tmp_path).stdout
    assert "plugin theirs left out: plugin theirs (" in " ".join(table.split())
    settings = normlab("--plugin", "mine.py", "explain", "settings", cwd=tmp_path).stdout
    assert re.search(r"norm=centre +mine", settings)


def test_completion_knows_what_the_command_line_loads(tmp_path: Path) -> None:
    write_plugin(tmp_path / "mine.py", "curious")
    line = f"normlab --plugin {tmp_path / 'mine.py'} run norm = "
    assert completions(f"{line}cu", tmp_path) == ["curious"]
    assert completions("normlab run norm = cu", tmp_path) == ["curious"]  # it is loaded now
    unload_all()
    assert completions("normlab run norm = cu", tmp_path) == []
    assert completions(line.replace("mine.py", "absent.py") + "no", tmp_path) == ["none"]


def test_a_command_that_is_printed_loads_what_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py"))
    for folder, given in ((tmp_path, "mine.py"), (Path("/"), str(tmp_path / "mine.py")[1:])):
        monkeypatch.chdir(folder)
        assert plugins.command() == ["normlab", "--plugin", given]
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert plugins.command()[-1] == str(tmp_path / "mine.py")
