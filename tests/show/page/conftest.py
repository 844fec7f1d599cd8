"""A page that several tests look at."""

import pytest

from tests.show.page.reports import report_on


@pytest.fixture(scope="package")
def page(tmp_path_factory):
    return report_on(tmp_path_factory.mktemp("report") / "results")
