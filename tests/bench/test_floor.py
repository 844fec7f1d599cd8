"""What a step cannot do without."""

import itertools

from normlab.bench import Case
from normlab.bench.floor import product_rate, step_flops


def test_a_step_has_the_operations_that_products_need():
    """Of B samples: 2·B·n·m each for z = Wx, ∂L/∂W and, but for the first layer, ∂L/∂x."""
    config = Case("mlp-30", 1, "cpu").config()
    widths = [64] * 30 + [10]
    sizes = [n * m for n, m in itertools.pairwise(widths)]
    expected = 2 * 128 * (3 * sum(sizes) - sizes[0])
    assert step_flops(config) == expected


def test_a_product_takes_some_time(tiny):
    assert 1e6 < product_rate(tiny.config(), size=64) < 1e15
