"""Every variant makes real steps of equal work."""

import subprocess
import sys

from torch.utils.flop_counter import FlopCounterMode

from normlab.bench.floor import step_flops
from normlab.bench.variants import VARIANTS
from tests.conftest import TINY


def test_logging_every_gradient_makes_no_more_products_than_the_bare_loop(tiny):
    bare = step_flops(tiny.config())

    def counted(name):
        with VARIANTS[name].make(tiny) as block:
            block(2)
            with FlopCounterMode(display=False) as counter:
                block(3)
        return counter.get_total_flops() / 3

    assert counted("no probes") == counted("grad_norm") == counted("item") == bare > 0
    assert counted("recorded") == bare
    assert counted("all, every step") > bare


def test_a_training_starts_anew_where_it_ends(tiny):
    for name in ("all, every step", "recorded"):
        with VARIANTS[name].make(tiny) as block:
            for _ in range(4):
                assert block(120) > 0  # of a training of 300 steps


def test_a_run_does_not_import_pytorchs_compiler(tmp_path):
    """It takes a second, and torch.optim's classes import it."""
    code = (
        "import sys; from normlab.config import compose; from normlab.runs import execute; "
        f"list(execute(compose({[*TINY, f'output.root={tmp_path}']!r}))); "
        "assert 'torch.optim' in sys.modules; assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
