"""Plugins found, loaded, refused: what a person gives by hand, and what is installed."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import normlab
from normlab import plugins
from normlab.config import NORMS, compose, group_choices, run_id, to_yaml
from normlab.errors import ConfigError
from tests.plugins.bringing import _without_plugins as _without_plugins
from tests.plugins.bringing import (
    forget_installed,
    install,
    install_norm,
    unload_all,
    write_plugin,
)

pytestmark = pytest.mark.usefixtures("_without_plugins")


def test_a_file_brings_parts_until_another_version_of_it_is_loaded(tmp_path: Path) -> None:
    before = run_id(compose()), to_yaml(compose())
    file = write_plugin(tmp_path / "a folder" / "mine.py")
    first = plugins.load(file)
    assert (first.name, plugins.parts_of(first)) == ("mine", [("norm", "centre")])
    config = compose(["norm=centre", "norm.share=0.25"])
    assert config.plugins == {"mine": first.sha256}
    assert config.norm.model_dump() == {"name": "centre", "share": 0.25}
    assert plugins.load(file) is first
    write_plugin(file, "other")
    second = plugins.load(file)
    assert second.sha256 != first.sha256
    assert "other" in group_choices()["norm"]
    with pytest.raises(ConfigError, match="norm=centre: no such choice"):
        compose(["norm=centre"])
    assert (run_id(compose()), to_yaml(compose())) == before


def test_what_is_run_is_what_was_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file read again nor bytecode of an older one of the same size and second."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = write_plugin(tmp_path / "mine.py", "early")
    ids = []
    for name in ("early", "later"):
        write_plugin(file, name)
        os.utime(file, (1_000_000_000, 1_000_000_000))
        plugins.load(file)
        assert plugins.parts_of(plugins.loaded()[0]) == [("norm", name)]
        ids.append(run_id(compose([f"norm={name}"])))
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import absent_module\n", r"\(.*mine.py, line 1\): ModuleNotFoundError: No module named"),
        ("x = (\n", r"plugin mine \(.*mine.py\): SyntaxError: "),
        ("\n\nraise SystemExit(3)\n", r"mine.py, line 3\): SystemExit: 3"),
        ("x = 1\n", "mine.py enters no part, as @NORMS.register"),
        ("import os; os.parts\n", "AttributeError: module 'os' has no attribute 'parts'"),
        (
            "from normlab.parts import NORMS\nNORMS.add('own', 1)\nNORMS.add('bn', 2)\n",
            "norm=bn: there is one already, one of normlab's own; give it another name",
        ),
        ("from normlab.parts import Nothing\n", "ImportError: cannot import name 'Nothing'"),
        (
            "from normlab.parts import NORMS, Norm\n@NORMS.register('own')\n"
            "class Own(Norm):\n    share: object\n    other: memoryview\n",
            r"mine.py, line 2\): PydanticSchemaGenerationError: Unable to generate",
        ),
    ],
)
def test_a_file_that_fails_leaves_nothing_behind(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        plugins.load(tmp_path / "mine.py")
    assert str(caught.value).startswith("plugin mine")
    assert "\n" not in str(caught.value)
    assert plugins.loaded() == []
    assert not NORMS.outside
    assert not [name for name in sys.modules if name.startswith("normlab_plugin")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("absent.py", "plugin absent.py: no such file"),
        ("results/runs", "plugin results/runs: a folder without __init__.py"),
        ("results/runs/config.yaml", "neither FILE.py nor a folder"),
        ("mine", r"no module mine is installed; a file is written ./mine.py"),
        ("no.such.module", "no module no is installed"),
        ("a b", "no module's name"),
        ("", "no module's name"),
        (".", "no module's name"),
        ("sys", "has no source file"),
        ("json.absent", r"plugin json \(.*\): ModuleNotFoundError"),
        ("pipe.py", "cannot be read"),
    ],
)
def test_what_is_no_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "runs").mkdir(parents=True)
    (tmp_path / "results" / "runs" / "config.yaml").touch()
    write_plugin(tmp_path / "mine.py")
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(ConfigError, match=message):
        plugins.load(given)


def test_names_are_taken_once(tmp_path: Path) -> None:
    first = write_plugin(tmp_path / "one.py")
    plugins.load(first)
    second = write_plugin(tmp_path / "two.py")
    second.write_text(f"# another\n{second.read_text()}")
    with pytest.raises(ConfigError) as caught:
        plugins.load(second)
    assert "plugin two (" in str(caught.value)
    assert f"there is one already, of the plugin one ({first})" in str(caught.value)
    namesake = write_plugin(tmp_path / "elsewhere" / "one.py", "unlike")
    with pytest.raises(ConfigError, match=f"{namesake} is called as {first}, which is another"):
        plugins.load(namesake)
    assert NORMS.outside == ("centre",)


def test_the_same_source_by_another_way_is_the_same_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_plugin(tmp_path / "mine.py")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine.py").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    plugin = plugins.load("./mine.py")
    assert plugins.load("copy/../copy/mine.py") is plugin
    assert plugins.load("mine") is plugin  # as a module
    (tmp_path / "my own.py").write_bytes(file.read_bytes())
    assert plugins.load("./my own.py") is plugin
    assert plugins.loaded() == [plugin]


def test_a_module_has_the_same_identity_as_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_plugin(tmp_path / "mine.py")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load("mine")
    by_module = run_id(compose(["norm=centre"]))
    unload_all()
    plugins.load(file)
    assert run_id(compose(["norm=centre"])) == by_module


def test_a_folder_is_a_package_with_yaml_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_plugin(folder / "parts.py")
    (folder / "__init__.py").write_text("from . import parts\n")
    (folder / "configs" / "norm").mkdir(parents=True)
    (folder / "configs" / "norm" / "slow.yaml").write_text(
        "defaults: [bn, _self_]\nmomentum: 0.5\n"
    )
    (folder / "configs" / "norm" / "centre.yaml").write_text("name: centre\nshare: 0.75\n")
    plugin = plugins.load(folder)
    assert compose(["norm=slow"]) == compose(["norm.momentum=0.5"])
    assert compose(["norm=slow"]).plugins == {}  # whose part is normlab's own
    assert compose(["norm=centre"]).norm.model_dump()["share"] == 0.75
    assert compose(["norm=centre"]).plugins == {"mine": plugin.sha256}
    (folder / "configs" / "norm" / "centre.yaml").write_text("name: centre\nshare: 0.7\n")
    assert plugins.load(folder).sha256 != plugin.sha256
    assert compose(["norm=centre"]).norm.model_dump()["share"] == 0.7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("norm/bn", "norm/bn.yaml has the name of one of normlab's own"),
        ("norms/mine", "no such group 'norms'; .*did you mean norm"),
    ],
)
def test_yaml_that_cannot_be_is_refused(tmp_path: Path, name: str, message: str) -> None:
    folder = tmp_path / "mine"
    write_plugin(folder / "__init__.py")
    file = folder / "configs" / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("name: centre\n")
    with pytest.raises(ConfigError, match=f"plugin mine: .*{message}"):
        normlab.load_plugin(folder)
    assert plugins.loaded() == []
    assert compose().plugins == {}


def test_a_persons_yaml_does_not_stand_in_for_a_plugins(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_plugin(folder / "__init__.py")
    for place in (folder / "configs", tmp_path / "own"):
        (place / "norm").mkdir(parents=True)
        (place / "norm" / "centre.yaml").write_text("name: centre\nshare: 0.75\n")
    plugins.load(folder)
    with pytest.raises(ConfigError, match=r"norm/centre.yaml has the name of one of a plugin's"):
        compose(["norm=centre"], tmp_path / "own")


def test_a_part_entered_at_a_later_call_is_the_plugins(tmp_path: Path) -> None:
    late = "from normlab.parts import ACTIVATIONS, Activation\ndef enter():\n"
    late += "    ACTIVATIONS.add('late', Activation('torch:tanh'))\n"
    plugin = plugins.load(write_plugin(tmp_path / "mine.py", "centre", late))
    sys.modules[plugin.module].enter()
    assert plugins.parts_of(plugin) == [("norm", "centre"), ("model.activation", "late")]
    assert compose(["model.activation=late"]).plugins == {"mine": plugin.sha256}


def test_what_a_plugin_prints_does_not_come_among_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py", "centre", "print('hello')"))
    assert capsys.readouterr() == ("", "hello\n")


# ----------------------------------------------------------------------------- installed


def test_an_installed_plugin_is_loaded_when_a_name_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = install(tmp_path, "minepkg", "from . import norms\n")
    write_plugin(package / "norms.py", "theirs")
    monkeypatch.syspath_prepend(tmp_path)
    forget_installed()
    assert compose(["norm=bn"]).plugins == {}
    assert "minepkg" not in sys.modules
    config = compose(["norm=theirs"])
    (plugin,) = plugins.loaded()
    assert (plugin.name, plugin.version) == ("minepkg", "1.2")
    assert config.plugins == {"minepkg": plugin.sha256}
    assert pickle.loads(pickle.dumps(config)) == config
    assert plugins.command() == ["normlab"]  # no option is needed for it


def test_a_label_of_an_installed_plugin_is_known_to_who_only_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_norm(tmp_path, monkeypatch)
    part = NORMS.get("theirs")
    assert part is not None
    assert part.label == "theirs of mine"


@pytest.mark.parametrize("entry", ["brokenpkg", "brokenpkg.absent", "nowhere"])
def test_a_broken_one_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, entry: str
) -> None:
    text = "raise RuntimeError('of no use')\n" if entry == "brokenpkg" else ""
    install(tmp_path, "brokenpkg", text, entry)
    install_norm(tmp_path, monkeypatch)
    for _ in range(2):
        compose()
        compose(["norm=theirs"])
        with pytest.raises(ConfigError, match="norm=nobody: no such choice"):
            compose(["norm=nobody"])
    (line,) = caplog.messages  # once
    assert line.startswith("normlab: plugin ")
    assert line.endswith("it is left out")
    assert list(plugins.broken()) == ["brokenpkg"]


def test_a_plugin_that_imports_another_has_only_its_own_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_norm(tmp_path, monkeypatch)
    text = "import normlab.networks, minepkg"
    mine = plugins.load(write_plugin(tmp_path / "own" / "mine.py", "centre", text))
    assert plugins.parts_of(mine) == [("norm", "centre")]
    assert compose(["norm=theirs"]).plugins.keys() == {"minepkg"}
    assert {p.name for p in plugins.loaded()} == {"mine", "minepkg"}


def test_what_lies_in_the_current_folder_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "normlab_plugins", "plugin", "conftest"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of mine')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no such choice"):
        compose(["norm=mine"])


def test_nothing_is_looked_up_for_help_and_known_names() -> None:
    code = (
        "import sys; sys.argv = ['normlab', '--help']\n"
        "from normlab.cli.entry import run_command_line\n"
        "from normlab.plugins import loading\n"
        "run_command_line()\n"
        "from normlab.config import compose; compose(['norm=ln', 'model=mlp'])\n"
        "assert loading._installed.cache_info().misses == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
