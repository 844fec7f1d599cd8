"""What the tests of several packages below share."""

from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.analysis import read_results
from tests.tools.synthetic_results import write_runs


@pytest.fixture(scope="session")
def frame(tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """300 runs of variants, depths and learning rates, by seeds."""
    root: Path = tmp_path_factory.mktemp("many")
    write_runs(300, root)
    return read_results([root])[0]
