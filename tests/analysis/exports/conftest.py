"""A few small runs, one of which diverges, made once."""

from pathlib import Path

import pytest

from normlab.analysis import read_results
from normlab.runs import execute
from tests.runs.support import config_in


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two experiments."""
    root = tmp_path_factory.mktemp("exports") / "results"
    for settings in (
        ("norm=bn", "seed=0"),
        ("norm=bn", "seed=1", "training.clip_norm=0.5"),
        ("norm=none", "optimizer.lr=1e30"),
        ("norm=bn", "seed=0", "output.experiment=other"),
    ):
        list(execute(config_in(root, *settings)))
    assert len(read_results([root])[0]) == 4
    return root
