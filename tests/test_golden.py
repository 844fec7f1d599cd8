"""What the program answered before its modules were moved, it answers still.

`python -m tests.tools.golden tests/golden` writes the files anew where a change is meant.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from normlab.config import run_id
from normlab.runs import read_run
from tests.tools import golden

FOLDER = Path(__file__).parent / "golden"


def kept(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.slow
def test_run_ids_stay() -> None:
    """A key that is added to the config needs a line in config/migrations.py."""
    assert golden.as_json(golden.run_ids()) == kept("ids.json")


def test_ids_of_every_part_stay() -> None:
    """Of parts that are there no longer, or not yet, nothing is asked."""
    kept_ids, now = json.loads(kept("choice_ids.json")), golden.choice_ids()
    moved = {choice for choice, identity in kept_ids.items() if now.get(choice) != identity}
    assert moved <= kept_ids.keys() - now.keys(), "a new key needs a line in config/migrations.py"


def test_help_stays() -> None:
    first, _, text = kept("help.txt").partition("\n")
    if first != golden.help_maker():
        pytest.skip(f"written with {first}, here is typer {typer.__version__}")
    assert golden.helps() == text


def test_comparisons_stay() -> None:
    for name, text in golden.comparisons().items():
        assert text == kept(name), name


@pytest.mark.slow
def test_verdicts_stay() -> None:
    """Figures to ten digits: in the last ones, processors differ."""
    found = golden.verdicts()
    assert found["verify.md"] == kept("verify.md")
    assert_alike(json.loads(found["verify.json"]), json.loads(kept("verify.json")))


def assert_alike(found: Any, expected: Any, place: str = "") -> None:
    """Equal, as are keys and their order, but for floats' last digits."""
    assert type(found) is type(expected), place
    if isinstance(found, dict):
        assert list(found) == list(expected), place
        for key in found:
            assert_alike(found[key], expected[key], f"{place}.{key}")
    elif isinstance(found, list):
        assert len(found) == len(expected), place
        for index, pair in enumerate(zip(found, expected, strict=True)):
            assert_alike(*pair, f"{place}[{index}]")
    elif isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-13, nan_ok=True), place
    else:
        assert found == expected, place


def test_bits_stay() -> None:
    before = json.loads(kept("bits.json"))
    if before["machine"] != golden.machine():
        pytest.skip(f"trained on {before['machine']}")
    assert golden.bits() == before


def test_an_old_run_can_be_read() -> None:
    run = read_run(FOLDER / "old" / "566ce0d1e1")
    assert run_id(run.config) == "566ce0d1e1"
    assert len(run.metrics) == 41
