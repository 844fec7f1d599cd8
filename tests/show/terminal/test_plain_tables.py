"""What all tables are made from."""

import shlex

import pytest
from rich.text import Text

from normlab.show.terminal.plain_tables import ShellCommand, Unpadded, facts_table
from tests.show.terminal.printing import printed

WORDS = ["normlab", "run", "model=resnet", "seed=range(3)", "output.root=/tmp/a folder", "x=$HOME"]


def test_a_command_that_fits_is_one_line():
    assert printed(ShellCommand(WORDS[:3])) == ["normlab run model=resnet"]
    assert printed(ShellCommand(WORDS[:3]), width=24) == ["normlab run model=resnet"]


@pytest.mark.parametrize("width", [30, 40, 50, 70])
def test_a_command_can_be_pasted_from_a_narrow_terminal(width):
    lines = printed(ShellCommand(WORDS), width)
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == WORDS


def test_a_command_beside_its_name_can_be_pasted():
    facts = facts_table()
    facts.add_row("command", ShellCommand(WORDS))
    first, *others = printed(Unpadded(facts), 50)
    assert first.startswith("command  normlab run")
    pasted = "\n".join((first.removeprefix("command"), *others))
    assert shlex.split(pasted.replace("\\\n", "")) == WORDS


def test_an_unpadded_table_reads_as_it_did():
    facts = facts_table()
    facts.add_row("verdict", Text("healthy", "green"))
    facts.add_row("", Text(""))
    facts.add_row("files", Text("a b"))
    assert printed(Unpadded(facts), 50) == [line.rstrip() for line in printed(facts, 50)]
    assert "\x1b[32mhealthy" in "".join(printed(Unpadded(facts), 50, "standard"))
