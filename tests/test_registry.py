"""Parts by name."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from normlab.errors import ConfigError
from normlab.registry import Registry, has_outside_parts


def test_parts_are_found_in_their_order() -> None:
    registry: Registry[int] = Registry("colour")
    registry.add("red", 1)
    registry.register("blue")(2)
    assert list(registry) == ["red", "blue"]
    assert dict(registry.items()) == {"red": 1, "blue": 2}
    assert registry["blue"] == 2
    assert "red" in registry
    assert "green" not in registry
    assert registry.get("green") is None


def test_an_unknown_name_is_told_with_the_choices() -> None:
    registry: Registry[int] = Registry("colour")
    registry.add("vermilion", 1)
    with pytest.raises(ConfigError) as error:
        registry["vermillion"]
    assert str(error.value) == (
        "colour=vermillion: no such choice; choices: vermilion; did you mean vermilion?"
    )


def test_a_name_is_given_once() -> None:
    registry: Registry[int] = Registry("colour")
    registry.add("red", 1)
    with pytest.raises(ConfigError, match=r"^colour=red: there is one already"):
        registry.add("red", 2)
    registry.remove("red")
    registry.add("red", 2)
    assert registry["red"] == 2


def test_modules_are_imported_at_the_first_question(tmp_path, monkeypatch) -> None:
    (tmp_path / "paints.py").write_text(
        "from test_registry_paints import PAINTS\nPAINTS.add('red', 1)\nPAINTS.add('blue', 2)\n"
    )
    (tmp_path / "varnishes.py").write_text(
        "from test_registry_paints import PAINTS\nPAINTS.add('clear', 3)\n"
    )
    (tmp_path / "test_registry_paints.py").write_text(
        "from normlab.registry import Registry\nPAINTS = Registry('paint', 'paints', 'varnishes')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from test_registry_paints import PAINTS

    assert "paints" not in sys.modules
    PAINTS.add("own", 4)  # after normlab's, so that it cannot take one of their names
    assert list(PAINTS) == ["red", "blue", "clear", "own"]
    with pytest.raises(ConfigError, match="paint=clear"):
        PAINTS.add("clear", 5)


def test_a_module_that_fails_is_tried_again(tmp_path, monkeypatch) -> None:
    registry: Registry[int] = Registry("paint", "broken_paints")
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            list(registry)


@pytest.mark.parametrize(
    ("first", "registry", "names"),
    [
        (
            "normlab.show.pictures.heatmap",
            "show.PICTURES",
            "gradients heatmap curves depth phase theory",
        ),
        ("normlab.runs.launchers.ray", "config.LAUNCHERS", "local ray slurm"),
        (
            "normlab.data.cifar",
            "config.DATA_SETS",
            "digits mnist fashion_mnist cifar10 cifar100 gaussian npz folder parquet",
        ),
    ],
)
def test_the_order_does_not_depend_on_what_is_imported_first(first, registry, names) -> None:
    package, name = registry.split(".")
    code = f"import {first}; from normlab.{package} import {name}; print(*{name})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == names.split()


def test_a_thread_that_asks_while_another_loads_waits(tmp_path, monkeypatch) -> None:
    (tmp_path / "slow_paints.py").write_text(
        "import time\nfrom test_registry_slow import PAINTS\nPAINTS.add('red', 1)\n"
        "time.sleep(0.2)\nPAINTS.add('blue', 2)\n"
    )
    (tmp_path / "test_registry_slow.py").write_text(
        "from normlab.registry import Registry\nPAINTS = Registry('paint', 'slow_paints')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from test_registry_slow import PAINTS

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: list(PAINTS), range(4)))
    assert found == [["red", "blue"]] * 4


def test_parts_from_outside_are_known_as_such() -> None:
    registry: Registry[object] = Registry("paint")
    assert not registry.has_outside_parts
    registry.add("red", 1)
    registry.register("blue")(2)
    assert has_outside_parts()
    registry.remove("red")
    assert registry.has_outside_parts
    registry.remove("blue")
    assert not registry.has_outside_parts


def test_none_of_normlabs_own_parts_is_from_outside() -> None:
    code = (
        "from normlab.config import compose; compose(); import normlab.show.formats.own\n"
        "from normlab.show import PICTURES; list(PICTURES)\n"
        "from normlab.registry import has_outside_parts; assert not has_outside_parts()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
