"""The nets that are benched."""

import pytest

from normlab.bench import Case
from normlab.errors import ConfigError


def test_a_case_is_a_net_on_threads():
    config = Case("mlp-30", 2, "cpu").config("seed=3")
    assert (config.model.depth, config.runtime.threads, config.seed) == (30, 2, 3)


def test_unknown_nets_are_refused():
    with pytest.raises(ConfigError, match="resnet-5: no such net; choices: mlp-30, cnn-20"):
        Case("resnet-5").config()
