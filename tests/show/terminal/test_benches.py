"""What measuring costs, as tables."""

from dataclasses import dataclass, replace

from normlab.show import bench_table, profile_table
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


def test_a_net_is_named_once() -> None:
    timings = [
        Timed(variant="bare", ratio=1, low=1, high=1, own=False),
        Timed(),
        replace(Timed(), threads=2, ratio=0.5),
    ]
    lines = text_of(bench_table(timings)).splitlines()
    assert lines[2].split() == ["mlp-30", "1", "bare", "1.00×", "3.46"]
    assert lines[3].split() == ["grad_norm", "1.25×", "1.20–1.30", "3.46"]
    assert sum("mlp-30" in line for line in lines) == 2


def test_only_normlabs_own_are_judged() -> None:
    coloured = text_of(bench_table([Timed(), Timed(own=False)]), 80, "standard")
    assert coloured.count("\x1b[33m") == 1
    faster = text_of(bench_table([Timed(ratio=0.9)]), 80, "standard")
    assert "\x1b[32m" in faster


def test_a_profile_has_shares_and_calls() -> None:
    text = text_of(profile_table("mlp-30", 2, [Share("aten::mm", 0.5, 59.6)]))
    assert "mlp-30, 2 threads" in text
    assert text.splitlines()[-1].split() == ["aten::mm", "50.0", "%", "60"]
