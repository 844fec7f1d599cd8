"""Every measurement of a snapshot against the definitions, on PyTorch's own layers."""

import pytest

from tests.watching.checks import agrees
from tests.watching.nets import CASES
from tests.watching.oracle import Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
def test_measurements_are_those_of_the_definitions(case: Case, double: bool) -> None:
    agrees(case, double=double, rel=1e-10 if double else 1e-5)
