"""Layers added to trained networks, and blocks taken out of them."""

import pytest
import torch

from normlab.claims import trained_networks
from normlab.claims.trained_networks import grown_error, lesion_errors
from normlab.config import compose
from normlab.errors import RecordError
from normlab.runs import Finished, execute


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


def test_other_networks_are_not_grown(tmp_path):
    for overrides in (["model.residual=true"], ["norm=ln"], ["model.block=pre"]):
        folder = trained(tmp_path, *overrides).folder
        with pytest.raises(RecordError, match="CNN with ReLU after BatchNorm can be"):
            grown_error(folder, depth=20)
    with pytest.raises(RecordError, match="CNN with ReLU after BatchNorm can be"):
        lesion_errors(folder)
    strided = trained(tmp_path, "model.residual=true", "model.shortcut=B").folder
    with pytest.raises(RecordError, match="shortcuts without weights"):
        lesion_errors(strided)


@pytest.mark.parametrize("residual", ["true", "false"])
def test_a_block_that_is_taken_out_leaves_its_skip(tmp_path, residual):
    """Against hooks that answer in a block's place with its input, strided and padded by hand."""
    folder = trained(tmp_path, f"model.residual={residual}", "training.epochs=12").folder
    found = lesion_errors(folder)
    config = trained_networks._config(folder)
    network, data = trained_networks._trained(folder, config)

    def skip(_, inputs, output):
        stride = inputs[0].shape[2] // output.shape[2]
        kept = torch.zeros_like(output)
        kept[:, : inputs[0].shape[1]] = inputs[0][:, :, ::stride, ::stride]
        return kept

    expected = []
    for stage in network.body:
        for block in stage:
            handle = block.register_forward_hook(skip)
            with torch.no_grad():
                right = network.eval()(data.train_images).argmax(dim=1) == data.train_labels
            expected.append(1 - right.double().mean().item())
            handle.remove()
    assert found == pytest.approx(expected, abs=1e-6)
    assert len(set(found)) == 3  # of one block a stage each
    assert min(found) > 1 - trained_networks.evaluate(network, data, config.training).train_acc


def test_a_run_without_weights_says_what_to_do(tmp_path):
    folder = trained(tmp_path).folder
    (folder / "weights.pt").unlink()
    with pytest.raises(RecordError, match=r"output\.weights=true --force"):
        grown_error(folder, depth=20)
    (folder / "weights.pt").write_bytes(b"PK\x03\x04 not weights")
    with pytest.raises(RecordError, match=r"weights.pt: damaged"):
        grown_error(folder, depth=20)
