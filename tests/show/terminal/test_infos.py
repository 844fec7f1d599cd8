"""Versions, devices and places."""

from normlab.show import info_table
from tests.show.terminal.printing import printed


def test_lists_are_a_line_and_mappings_a_line_a_key() -> None:
    facts = {
        "torch": "2.13.0",
        "devices": ["cpu", "cuda:0"],
        "data": {"mnist": "/data/[mnist]", "cifar10": None},
    }
    assert [line.rstrip() for line in printed(info_table(facts))] == [
        "torch         2.13.0",
        "devices       cpu, cuda:0",
        "data=mnist    /data/[mnist]",
        "data=cifar10  not here yet; downloaded when first used",
    ]
