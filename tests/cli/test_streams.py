"""Whatever is printed reaches a stream of any encoding, and a closed one breaks nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from normlab.cli.streams import in_ascii
from tests.conftest import TINY

PACKAGE = Path(__file__).parents[2] / "normlab"


def test_every_character_that_normlab_writes_has_a_substitute() -> None:
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.md")]
    written = {c for file in files for c in file.read_text(encoding="utf-8") if not c.isascii()}
    assert len(written) > 50
    lost = sorted(c for c in written if "?" in in_ascii(c) or not in_ascii(c).isascii())
    assert lost == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.500 ±0.100 ×÷2", "0.500 +-0.100 x/2"),
        ("├──┤ │ ▁▄█", "+--+ | .=@"),
        ("χ₁ δ σ_w² ‖∇W‖ ≤ ∞", "chi1 delta sigma_w2 |grad W| <= inf"),
        ("⠀⠋", " *"),
        ("é Ä 中", "e A ?"),
    ],
)
def test_substitutes(text: str, expected: str) -> None:
    assert in_ascii(text) == expected


def normlab(*words: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "normlab", *words]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_topic_is_printed_in_any_encoding(encoding: str) -> None:
    found = normlab("explain", "measurements", PYTHONIOENCODING=encoding)
    assert (found.returncode, found.stderr) == (0, b"")
    assert len(found.stdout.decode(encoding).splitlines()) > 20


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_is_made_though_its_streams_are_closed(tmp_path: Path, closed: str) -> None:
    words = " ".join((sys.executable, "-m normlab run", *TINY, f"output.root={tmp_path}/results"))
    found = subprocess.run(["bash", "-c", f"{words} {closed}"], capture_output=True)
    assert found.returncode == 0, found.stderr
    (summary,) = tmp_path.glob("results/runs/*/summary.json")
    assert '"finished"' in summary.read_text()
    for file in summary.parent.iterdir():  # nothing that was printed went into a file
        assert b"verdict  " not in file.read_bytes()


@pytest.mark.slow
def test_a_run_in_an_encoding_of_256_characters(tmp_path: Path) -> None:
    found = normlab("run", *TINY, f"output.root={tmp_path}", PYTHONIOENCODING="latin-1")
    assert found.returncode == 0, found.stderr
    assert b"verdict" in found.stdout
