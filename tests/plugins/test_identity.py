"""The runs that plugins' parts make: their ids, and their files where the plugin is not."""

from pathlib import Path
from typing import Any

import pytest

from normlab import plugins
from normlab.config import (
    Config,
    compose,
    from_plain,
    from_yaml,
    overrides_of,
    run_id,
    to_yaml,
    with_overrides,
)
from normlab.errors import ConfigError
from normlab.measurement import predict
from normlab.runs import execute, read_run, run_folder
from tests.cli.invoking import normlab
from tests.conftest import TINY
from tests.plugins.bringing import _without_plugins as _without_plugins
from tests.plugins.bringing import unload_all, write_plugin

pytestmark = pytest.mark.usefixtures("_without_plugins")

ALL_KINDS = """
from typing import Annotated

from normlab import parts


@parts.DATA_SETS.register("blank")
class Blank(parts.DataSet):
    size: int = 4


@parts.MODELS.register("funnel")
class Funnel(parts.Model):
    values_of = "mlp"
    spatial = False
    gate: Annotated[str, parts.OneOf(parts.ACTIVATIONS)] = "tanh"


@parts.OPTIMIZERS.register("sign")
class Sign(parts.Optimizer):
    lr: float = 0.1
    weight_decay: float = 0.0
    decay: str = "all"


@parts.SCHEDULES.register("halving")
class Halving(parts.Schedule):
    pass


parts.ACTIVATIONS.add("square", parts.Activation(lambda x: x * x))
parts.INITIALIZERS.add("ones", parts.Initializer(lambda w, *_: w.fill_(1), "nobody"))
parts.PROBES.add("zeros", parts.Probe("zeros", "zeros", lambda seen: seen.activation.sum()))
"""
SETTINGS = ("norm=centre", "norm.share=0.25", "probes.measure=[delta_rms,grad_norm]")


def made(root: Path, *overrides: str) -> Config:
    """A tiny run with a plugin's norm, made."""
    config = compose([*TINY, *SETTINGS, *overrides, f"output.root='{root / 'results'}'"])
    list(execute(config))
    return config


@pytest.mark.parametrize(
    "setting",
    [
        *("norm=centre", "data=blank", "model=funnel", "optimizer=sign", "schedule=halving"),
        *("model.activation=square", "model.init=ones", "probes.measure=[zeros]"),
    ],
)
def test_a_part_of_any_kind_is_of_its_plugin(tmp_path: Path, setting: str) -> None:
    plugin = plugins.load(write_plugin(tmp_path / "mine.py", "centre", ALL_KINDS))
    assert len(plugins.parts_of(plugin)) == 8
    config = compose([setting])
    assert config.plugins == {"mine": plugin.sha256}
    assert from_yaml(to_yaml(config)) == config
    unload_all()
    absent = from_yaml(to_yaml(config))
    assert run_id(absent) == run_id(config)
    assert to_yaml(absent) == to_yaml(config)
    assert from_yaml(to_yaml(absent)) == absent


def test_a_name_in_a_key_of_a_plugins_own_counts_too(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "one.py", "centre", ALL_KINDS))
    cube = "'cube', parts.Activation(lambda x: x**3)"
    (tmp_path / "two.py").write_text(f"from normlab import parts\nparts.ACTIVATIONS.add({cube})\n")
    plugins.load(tmp_path / "two.py")
    assert compose(["model=funnel"]).plugins.keys() == {"one"}
    assert compose(["model=funnel", "model.gate=cube"]).plugins.keys() == {"one", "two"}


def test_the_order_of_loading_changes_no_id(tmp_path: Path) -> None:
    def probe(name: str) -> str:
        given = f"'{name}', parts.Probe('{name}', '{name}', lambda seen: seen.delta.sum())"
        return f"from normlab import parts\nparts.PROBES.add({given})\n"

    files = [tmp_path / "one.py", tmp_path / "two.py"]
    for file, name in zip(files, ("zz", "aa"), strict=True):
        file.write_text(probe(name))
    ids = set()
    for order in (files, files[::-1]):
        for file in order:
            plugins.load(file)
        ids.add(run_id(compose(["probes.measure=[zz,delta_rms,aa]"])))
        unload_all()
    assert len(ids) == 1


def test_plugins_are_no_setting(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py"))
    for text in ("plugins.mine=x", "+plugins.mine=x", "+plugins={mine:x}"):
        with pytest.raises(ConfigError, match=r"no such key"):
            compose(["norm=centre", text])
    config = compose(["norm=centre"])
    assert not [word for word in overrides_of(config) if "plugins" in word]
    assert compose(overrides_of(config)) == config


def test_a_run_is_read_without_its_plugin(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py"))
    config = made(tmp_path)
    unload_all()
    run = read_run(run_folder(config))
    assert run.config.plugins == config.plugins
    assert run_id(run.config) == run.folder.name == run_id(config)
    assert run.config.norm.model_dump() == {"name": "centre", "share": 0.25}
    assert run.environment["plugins"]["mine"]["place"] == str(tmp_path / "mine.py")
    assert predict(run.config) is None
    needed = f"this run needs the plugin mine \\(source {config.plugins['mine']}\\), which is not"
    with pytest.raises(ConfigError, match=needed):
        list(execute(run.config, force=True))
    with pytest.raises(ConfigError, match=needed):
        with_overrides(run.config, ["model.depth=5"])
    assert with_overrides(run.config, ["norm=bn"]).plugins == {}  # without the part nothing is
    assert not run_folder(config).with_name(f"{run.folder.name}.new").exists()


def test_commands_that_read_need_no_plugin(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py"))
    config = made(tmp_path)
    list(execute(compose([*TINY, "norm=bn", f"output.root='{tmp_path / 'results'}'"])))
    unload_all()
    for words, told in (
        ("ls", "MLP-4 centre on gaussian"),
        (f"show {run_id(config)}", "MLP-4 centre on gaussian: "),
        ("compare", "centre"),
        ("compare --format json", '"centre"'),
        ("plot gradients", "centre"),
        (f"plot heatmap {run_id(config)}", "MLP-4 centre"),
        ("report -o page.html", ""),
    ):
        answer = normlab(*words.split(), cwd=tmp_path)
        assert (answer.returncode, answer.stderr) == (0, ""), words
        assert told in answer.stdout
    assert "centre" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert plugins.loaded() == []


def test_a_command_that_needs_the_plugin_is_named(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py"))
    config = made(tmp_path, "output.keep=true")
    unload_all()
    answer = normlab("extend", run_id(config), "training.steps=9", cwd=tmp_path)
    assert answer.returncode == 2
    assert "give it before the command" in answer.stderr
    assert answer.stderr.endswith(" as in normlab --plugin FILE_OR_MODULE extend\n")


def test_a_label_and_a_colour_are_the_plugins(tmp_path: Path) -> None:
    file = write_plugin(tmp_path / "mine.py")
    plugins.load(file)
    made(tmp_path)
    for given, drawn in (((), False), (("--plugin", str(file)), True)):
        unload_all()
        answer = normlab(*given, "plot", "gradients", "-o", "drawn.svg", cwd=tmp_path)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert ("#135724" in (tmp_path / "drawn.svg").read_text()) is drawn


def test_another_source_is_another_run(tmp_path: Path) -> None:
    file = write_plugin(tmp_path / "mine.py")
    words = ("--plugin", "./mine.py", "run", *TINY, *SETTINGS)
    assert normlab(*words, cwd=tmp_path).returncode == 0
    (first,) = (tmp_path / "results" / "runs").iterdir()
    again = normlab(*words, cwd=tmp_path)
    assert "Finished before" in again.stdout
    write_plugin(file, "centre", "# a change that changes nothing")
    changed = normlab(*words, cwd=tmp_path)
    assert changed.returncode == 0
    told = f"results/runs/{first.name}: the same settings with another source of a plugin"
    assert told in changed.stdout
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 2
    run = read_run(first)
    assert run_id(run.config) == first.name
    with pytest.raises(ConfigError, match=r"source \w{16}, and \w{16} is loaded, another version"):
        list(execute(run.config, force=True))
    with pytest.raises(ConfigError, match="another version"):
        with_overrides(run.config, ["model.depth=5"])
    compared = normlab("compare", "results/runs", cwd=tmp_path)
    assert run.config.plugins["mine"] in compared.stdout


def test_the_version_is_no_key_where_it_is_one(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py"))
    made(tmp_path)
    list(execute(compose([*TINY, "norm=bn", f"output.root='{tmp_path / 'results'}'"])))
    table = normlab("compare", cwd=tmp_path).stdout
    assert "mine" not in table
    assert "centre" in table


def test_theory_says_nothing_of_a_network_of_ones_own(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py", "centre", ALL_KINDS))
    assert predict(compose(["model=mlp", "norm=none"])) is not None
    assert predict(compose(["model=funnel", "norm=none"])) is None


def test_a_run_of_a_version_with_other_keys_is_read(tmp_path: Path) -> None:
    file = write_plugin(tmp_path / "mine.py")
    plugins.load(file)
    config = made(tmp_path)
    file.write_text(file.read_text().replace("share: float", "part: float"))
    plugins.load(file)
    run = read_run(run_folder(config))
    assert run_id(run.config) == run_id(config)
    assert run.config.norm.model_dump() == {"name": "centre", "share": 0.25}


def test_what_no_plugin_is_named_for_is_still_damaged() -> None:
    values: dict[str, Any] = compose().model_dump(mode="json")
    values["norm"] = {"name": "centre", "share": 0.5}
    with pytest.raises(ConfigError, match=r"norm\.name=centre: no such choice"):
        from_plain(values)
    for odd in (3, ["mine"], {"mine": 3}, {3: "mine"}):
        with pytest.raises(ConfigError, match="plugins"):
            from_plain({**values, "norm": {"name": "none"}, "plugins": odd})


def test_a_results_folder_cannot_make_anything_be_imported(tmp_path: Path) -> None:
    plugins.load(write_plugin(tmp_path / "mine.py"))
    config = made(tmp_path)
    unload_all()
    folder = run_folder(config)
    write_plugin(folder / "mine.py", "centre", "raise SystemExit('a file of a results folder')")
    for name in ("config.yaml", "summary.json", "environment.json"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace(str(tmp_path / "mine.py"), str(folder / "mine.py")))
    for words in (("show",), ("compare",), ("ls",), ("doctor",)):
        answer = normlab(*words, cwd=tmp_path)
        assert "a file of a results folder" not in answer.stdout + answer.stderr
    assert plugins.loaded() == []
