"""`where` chooses the runs that pandas would, and says why it cannot."""

from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.results import where
from tests.results.sample import COUNT


@pytest.mark.parametrize(
    ("expressions", "condition"),
    [
        (["norm=bn"], lambda f: f["norm"] == "bn"),
        (["norm.name==bn,ln"], lambda f: f["norm"].isin(["bn", "ln"])),
        (["norm!=bn"], lambda f: f["norm"] != "bn"),
        (["norm=none"], lambda f: f["norm"] == "none"),
        (["model.depth>=20", "model.depth<110"], lambda f: f["model.depth"].isin([20, 56])),
        (["model.depth = 8, 20"], lambda f: f["model.depth"] < 50),
        (["model.residual=true"], lambda f: f["model.residual"]),
        (["norm.affine=true"], lambda f: f["norm"] != "none"),
        (["norm.affine=null"], lambda f: f["norm"] == "none"),
        (["training.steps=null", "train_acc>0.5"], lambda f: f["train_acc"] > 0.5),
        (["verdict!=trains"], lambda f: f["verdict"] == "vanishing"),
        (["optimizer.lr=1e-2"], lambda f: f["optimizer.lr"] == 0.01),
    ],
)
def test_where(many: tuple[Path, DataFrame], expressions: list[str], condition: Any) -> None:
    found = where(many[1], expressions)
    assert 0 < len(found) < COUNT
    assert found["run_id"].tolist() == many[1][condition(many[1])]["run_id"].tolist()


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("norm", "must be KEY=VALUE"),
        ("=bn", "must be KEY=VALUE"),
        ("nrom=bn", "did you mean norm"),
        ("norm>bn", "not a number; use = or !="),
        ("model.residual>0", "not a number; use = or !="),
        ("model.residual=1", "must be true or false"),
        ("model.depth=deep", "model.depth must be a number"),
        ("model.depth>x", "model.depth must be a number"),
        ("norm=bnn", "no run has it; norm has bn, ln, none; did you mean bn"),
        ("model.depth>1000", "no run has it; model.depth has"),
    ],
)
def test_where_in_clear_words(many: tuple[Path, DataFrame], expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        where(many[1], [expression])
    assert "\n" not in str(caught.value)
