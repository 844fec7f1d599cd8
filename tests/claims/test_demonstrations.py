"""What is shown without training, against figures that must come out."""

import math

import pytest
import torch

from normlab.claims.demonstrations import grown_error, identity, padding, residual_stream
from normlab.config import compose
from normlab.errors import RecordError
from normlab.runs import Finished, execute


def test_the_fill_breaks_where_science_says_and_the_mask_does_not():
    figures = padding(3)
    assert figures["fill_nan_float16"] == 1
    assert figures["uniform_float32"] == 0
    assert figures["own"] == figures["own_broken"] == 0


def test_the_papers_gamma_is_off_by_what_epsilon_adds():
    """x·√v/√(v+ε): at a deviation of .01 a relative 1 − 1/√1.1."""
    figures = identity(0)
    deviation = 0.01
    most = (1 - 1 / math.sqrt(1 + 1e-5 / deviation**2)) * 4 * deviation
    assert 1e-4 < figures["naive"] < most
    assert figures["exact"] < 1e-5 < figures["naive"]


def test_the_stream_doubles_without_norm():
    figures = residual_stream(7)
    assert figures["factor"] == pytest.approx(2, rel=0.05)
    assert figures["increment"] == pytest.approx(1, rel=0.1)


def trained(tmp_path, *overrides):
    config = compose(
        [
            *("model.depth=8", "model.width=4", "data.train_size=300", "training.epochs=3"),
            *("training.batch_size=50", "probes=none", "output.weights=true"),
            *(f"output.root={tmp_path}", "runtime.device=cpu", *overrides),
        ]
    )
    last = list(execute(config))[-1]
    assert isinstance(last, Finished)
    return last


def test_identity_layers_change_no_prediction(tmp_path):
    finished = trained(tmp_path)
    errors = grown_error(finished.folder, depth=20)
    assert errors["shallow"] == pytest.approx(1 - finished.summary.train_acc, abs=1e-6)
    assert errors["grown"] == pytest.approx(errors["shallow"], abs=1e-3)
    assert 0 < errors["shallow"] < 0.9
    assert errors["layers"] == 12


def test_layers_that_are_not_the_identity_would_show(tmp_path, monkeypatch):
    finished = trained(tmp_path)
    expected = grown_error(finished.folder, depth=20)["shallow"]
    # Convolutions of zeros in place of copies.
    monkeypatch.setattr(torch.nn.init, "dirac_", lambda w: w.zero_())
    assert abs(grown_error(finished.folder, depth=20)["grown"] - expected) > 0.01


@pytest.mark.parametrize("overrides", [["model.residual=true"], ["norm=ln"], ["model.block=pre"]])
def test_other_networks_are_not_grown(tmp_path, overrides):
    folder = trained(tmp_path, *overrides).folder
    with pytest.raises(RecordError, match="only a plain CNN with ReLU after BatchNorm"):
        grown_error(folder, depth=20)


def test_a_run_without_weights_says_what_to_do(tmp_path):
    folder = trained(tmp_path).folder
    (folder / "weights.pt").unlink()
    with pytest.raises(RecordError, match=r"output\.weights=true --force"):
        grown_error(folder, depth=20)
    (folder / "weights.pt").write_bytes(b"PK\x03\x04 not weights")
    with pytest.raises(RecordError, match=r"weights.pt: damaged"):
        grown_error(folder, depth=20)
