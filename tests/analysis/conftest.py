"""What several test files share."""

from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.analysis import read_results
from tests.analysis.sample import COUNT
from tests.tools.synthetic_results import write_runs


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataFrame]:
    root = tmp_path_factory.mktemp("many")
    write_runs(COUNT, root)
    frame, problems = read_results([root])
    assert problems == []
    return root, frame
