"""The bench measures real steps of equal work; its speed is judged by people, not by a test."""

import itertools
import json
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from normlab.bench import bench
from normlab.cli import main
from normlab.errors import ConfigError
from tests.conftest import TINY

OWN = ("bare", "item", "no probes", "grad_norm", "all, every step")


@pytest.fixture
def tiny(monkeypatch):
    """A net of which a step takes a millisecond, and no other packages."""
    monkeypatch.setattr(bench, "NETS", {"tiny": tuple(TINY), "other": tuple(TINY)})
    monkeypatch.setattr(bench, "VARIANTS", [v for v in bench.VARIANTS if v[0] in OWN])
    monkeypatch.setattr(bench, "BLOCK_SECONDS", 0.002)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("tiny")
def test_every_variant_is_timed_beside_the_bare_loop():
    timings = {timing.variant: timing for timing in bench.measure("tiny", 1, 0.1, "cpu")}
    assert list(timings) == [*OWN, f"all, {bench.CADENCE_STEPS} steps", "floor"]
    assert (timings["bare"].ratio, timings["bare"].low, timings["bare"].high) == (1, 1, 1)
    for timing in timings.values():
        assert 0 < timing.low <= timing.ratio <= timing.high
        assert timing.milliseconds > 0


def test_the_ratio_is_the_median_of_paired_rounds():
    timing = bench._timing("net", 1, "x", [1.0, 4.0, 9.0], [1.0, 2.0, 3.0])
    assert (timing.low, timing.ratio, timing.high) == (1.5, 2.0, 2.5)
    assert timing.milliseconds == 4000


def test_a_step_has_the_operations_that_products_need():
    """Of B samples: 2·B·n·m each for z = Wx, ∂L/∂W and, but for the first layer, ∂L/∂x."""
    config = bench.bench_config("mlp-30", 1, "cpu")
    widths = [64] * 30 + [10]
    sizes = [n * m for n, m in itertools.pairwise(widths)]
    expected = 2 * 128 * (3 * sum(sizes) - sizes[0])
    assert bench.step_flops(config) == expected


@pytest.mark.usefixtures("tiny")
def test_logging_every_gradient_makes_no_more_products_than_the_bare_loop():
    bare = bench.step_flops(bench.bench_config("tiny", 1, "cpu"))

    def counted(name):
        with dict(bench.VARIANTS)[name]("tiny", 1, "cpu") as block:
            block(2)
            with FlopCounterMode(display=False) as counter:
                block(3)
        return counter.get_total_flops() / 3

    assert counted("no probes") == counted("grad_norm") == counted("item") == bare > 0
    assert counted("all, every step") > bare


@pytest.mark.usefixtures("tiny")
def test_a_training_starts_anew_where_it_ends():
    made = dict(bench.VARIANTS)["all, every step"]
    with made("tiny", 1, "cpu") as block:
        for _ in range(4):
            assert block(120) > 0  # of a training of 300 steps


def test_unknown_nets_are_refused():
    with pytest.raises(ConfigError, match="resnet-5: no such net; choices: mlp-30, cnn-20"):
        bench.bench_config("resnet-5", 1, "cpu")


@pytest.mark.usefixtures("tiny")
def test_the_command_prints_a_table_or_json(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["normlab", "bench", *words, "--seconds", "0.1"])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    code, out, _ = run("tiny", "other", "--threads", "1", "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert {"net", "threads", "variant", "ratio", "low", "high", "milliseconds"} == set(rows[0])
    assert {row["net"] for row in rows} == {"tiny", "other"}
    code, out, _ = run("tiny", "--threads", "1", "--profile")
    assert code == 0
    assert "grad_norm" in out
    assert "own time" in out
    code, _, err = run("tiny", "nonet")
    assert (code, err) == (2, "normlab: nonet: no such net; choices: tiny, other\n")


@pytest.mark.usefixtures("tiny")
def test_the_profile_shares_out_the_step():
    rows = bench.profile("tiny", 1, "cpu", steps=3)
    assert sum(row["share"] for row in rows) <= 1 + 1e-9
    assert rows == sorted(rows, key=lambda row: -row["share"])
    assert any("mm" in row["operation"] for row in rows)


def test_a_run_does_not_import_pytorchs_compiler(tmp_path):
    """It takes a second, and torch.optim's classes import it."""
    code = (
        "import sys; from normlab.config import compose; from normlab.runs import execute; "
        f"list(execute(compose({[*TINY, f'output.root={tmp_path}']!r}))); "
        "assert 'torch.optim' in sys.modules; assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
