"""`normlab explain`: a list of topics, one of them, or one line with the choices."""

from pathlib import Path

import pytest

from normlab.cli.commands import explain
from tests.cli.invoking import normlab


def explained(cwd: Path, *words: str) -> tuple[int, str, str]:
    """The exit code of a command line, what it prints and what it complains of."""
    done = normlab("explain", *words, cwd=cwd, COLUMNS="200")
    return done.returncode, done.stdout, done.stderr


def test_without_a_topic_all_are_listed_a_line_each(tmp_path: Path) -> None:
    code, out, err = explained(tmp_path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(explain.read_topics())
    assert all(line.rstrip().endswith(".") and len(line.rstrip()) <= 100 for line in lines)


@pytest.mark.parametrize("topic", explain.read_topics())
def test_a_topic_is_plain_text_of_at_most_100_columns(tmp_path: Path, topic: str) -> None:
    code, out, err = explained(tmp_path, topic)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100
    words = out.split()
    assert words[0].lower() == topic
    # No word is cut for want of room.
    last = explain.read_topics()[topic].split()[-1]
    assert words[-1].strip(".()") == last.strip("`.()")


def test_a_topic_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert explained(tmp_path, "Theory") == explained(tmp_path, "theory")


def test_an_unknown_topic_is_one_line_with_the_choices(tmp_path: Path) -> None:
    code, out, err = explained(tmp_path, "measurement")
    assert (code, out) == (2, "")
    assert err.startswith("normlab: measurement: no such topic; choices: claims, determinism, ")
    assert err.endswith("; did you mean measurements?\n")
    assert err.count("\n") == 1


def test_topics_complete() -> None:
    assert [name for name, _ in explain.complete_topics("S")] == [
        "settings",
        "statistics",
        "sweeps",
    ]
    assert dict(explain.complete_topics("th")) == {
        "theory": explain.summary_of(explain.read_topics()["theory"])
    }
