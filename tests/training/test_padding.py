"""Trainings whose data differ in nothing but what lies in their padding."""

import pytest

from normlab.config import compose
from normlab.runs import Finished, execute
from tests.conftest import TINY_DATA

ENCODER = (
    *(*TINY_DATA, "data.padding=0.5", "model=encoder", "model.depth=2", "model.width=8"),
    *("model.heads=2", "optimizer=adam", "optimizer.lr=0.01", "probes=none"),
)


@pytest.mark.parametrize(
    ("norm", "alike"),
    [
        (["norm=ln"], True),
        (["norm=rms"], True),
        (["norm=dyt"], True),
        (["norm=bn"], True),
        (["norm=bn", "norm.masked=false"], False),
    ],
    ids=str,
)
def test_twins_end_alike_bit_for_bit_where_padding_is_kept_out(norm, alike, tmp_path):
    def losses(content):
        config = compose(
            [*ENCODER, f"data.padding_content={content}", *norm, f"output.root={tmp_path}"]
        )
        last = list(execute(config))[-1]
        assert isinstance(last, Finished)
        return last.summary.train_loss, last.summary.test_loss

    assert (losses("zeros") == losses("noise")) == alike
