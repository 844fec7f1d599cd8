"""What measuring costs, as tables."""

from dataclasses import dataclass, replace

from rich.console import Group

from normlab.show import bench_head, bench_row, profile_table
from tests.show.terminal.printing import text_of


@dataclass(frozen=True)
class Timed:
    net: str = "mlp-30"
    threads: int = 1
    variant: str = "grad_norm"
    ratio: float = 1.25
    low: float = 1.2
    high: float = 1.3
    milliseconds: float = 3.456
    own: bool = True


@dataclass(frozen=True)
class Share:
    operation: str
    share: float
    calls: float


def table(*timings: Timed) -> Group:
    """All rows below their heads."""
    before = (None, *timings)
    return Group(bench_head(), *map(bench_row, timings, before))


def test_a_net_is_named_once() -> None:
    timings = [
        Timed(variant="bare", ratio=1, low=1, high=1, own=False),
        Timed(),
        replace(Timed(), threads=2, ratio=0.5),
    ]
    lines = text_of(table(*timings)).splitlines()
    assert lines[2].split() == ["mlp-30", "1", "bare", "1.00×", "3.46"]
    assert lines[3].split() == ["grad_norm", "1.25×", "1.20–1.30", "3.46"]
    assert sum("mlp-30" in line for line in lines) == 2
    assert lines[4] == ""  # between nets


def test_columns_stand_below_their_heads() -> None:
    named = replace(Timed(), net="resnet-20-28", threads=16, variant="lightning grad_norm")
    head, _, row = text_of(table(replace(named, ratio=12.34, milliseconds=1234.56))).splitlines()
    assert len(head) == len(row) == 75
    for name, cell in zip(
        head.split(maxsplit=3)[:3], ("resnet-20-28", "16", "lightning"), strict=True
    ):
        start, end = head.index(name), head.index(name) + len(name)
        assert row.index(cell) == start or row.index(cell) + len(cell) == end
    for name, cell in (("ratio", "12.34×"), ("quartiles", "1.20–1.30"), ("ms a step", "1234.56")):
        assert row.index(cell) + len(cell) == head.index(name) + len(name)


def test_only_normlabs_own_are_judged() -> None:
    coloured = text_of(table(Timed(), Timed(own=False)), 80, "standard")
    assert coloured.count("\x1b[33m") == 1
    faster = text_of(table(Timed(ratio=0.9)), 80, "standard")
    assert "\x1b[32m" in faster


def test_a_profile_has_shares_and_calls() -> None:
    text = text_of(profile_table("mlp-30", 2, [Share("aten::mm", 0.5, 59.6)]))
    assert "mlp-30, 2 threads" in text
    assert text.splitlines()[-1].split() == ["aten::mm", "50.0", "%", "60"]
