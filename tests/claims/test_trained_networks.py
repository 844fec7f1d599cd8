"""Layers added to trained networks, and blocks taken out of them."""

from pathlib import Path
from types import SimpleNamespace

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


@pytest.mark.parametrize("biases", [(), ("model.bias=true", "model.bias_std=1")])
def test_identity_layers_change_no_prediction(tmp_path, monkeypatch, biases):
    finished = trained(tmp_path, *biases)
    nets, error = [], trained_networks._train_error

    def counted(network, *given):
        nets.append(network)
        return error(network, *given)

    monkeypatch.setattr(trained_networks, "_train_error", counted)
    errors = grown_error(finished.folder, depth=20)
    assert errors["shallow"] == pytest.approx(1 - finished.summary.train_acc, abs=1e-6)
    assert errors["grown"] == pytest.approx(errors["shallow"], abs=1e-3)
    assert 0 < errors["shallow"] < 0.9
    assert errors["layers"] == 12
    kinds = [[type(module) for module in network.modules()] for network in nets]
    assert [found.count(torch.nn.Conv2d) for found in kinds] == [7, 19]
    config = trained_networks._config(finished.folder)
    _, dataset = trained_networks._trained(finished.folder, config)
    with torch.no_grad():
        shallow, grown = (network.eval()(dataset.train_images) for network in nets)
    torch.testing.assert_close(grown, shallow, rtol=1e-3, atol=1e-3)


def test_moments_of_a_stages_output_are_over_all_samples():
    config = compose(["model.depth=8", "model.width=4", "runtime.device=cpu"])
    dataset = config.data.load(torch.device("cpu"))
    network = trained_networks._built(config, dataset)
    images = dataset.train_images[:1100]  # more than two parts
    found = trained_networks._stage_outputs(network, images)
    assert list(found) == ["stage1", "stage2", "stage3"]
    h = {}
    for name, stage in network.body.named_children():
        assert not stage._forward_hooks
        stage.register_forward_hook(lambda _, __, output, name=name: h.update({name: output}))
    with torch.no_grad():
        network(images)
    for name, (variance, mean) in found.items():
        expected = torch.var_mean(h[name].double(), dim=(0, 2, 3), correction=0)
        torch.testing.assert_close((variance, mean), tuple(x.float() for x in expected))


def test_layers_that_are_not_the_identity_would_show(tmp_path, monkeypatch):
    finished = trained(tmp_path)
    expected = grown_error(finished.folder, depth=20)["shallow"]
    # Convolutions of zeros in place of copies.
    monkeypatch.setattr(torch.nn.init, "dirac_", lambda w: w.zero_())
    errors = grown_error(finished.folder, depth=20)
    assert errors["shallow"] == expected
    assert abs(errors["grown"] - expected) > 0.01


RUN = Path("of/a/run")


def refusal(monkeypatch, function, *overrides):
    """What is said to a run of such a network."""
    run = SimpleNamespace(config=compose(overrides))
    monkeypatch.setattr(trained_networks, "read_run", lambda folder: run if folder == RUN else None)
    with pytest.raises(RecordError) as error:
        function(RUN)
    return str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        *(["model=mlp"], ["model.block=pre"], ["model.activation=tanh"], ["norm=ln"]),
        *(["norm.affine=false"], ["norm.position=after"], ["norm.noise=0.5"]),
    ],
)
def test_other_networks_are_not_changed(monkeypatch, overrides):
    says = "of/a/run: only a CNN with ReLU after BatchNorm can be changed so"
    assert refusal(monkeypatch, lambda run: grown_error(run, depth=20), *overrides) == says
    assert refusal(monkeypatch, lesion_errors, *overrides) == says


def test_residual_networks_are_not_grown_and_projections_not_spared(monkeypatch):
    said = refusal(monkeypatch, lambda run: grown_error(run, depth=20), "model.residual=true")
    assert said == "of/a/run: only a plain CNN with ReLU after BatchNorm can be grown"
    projecting = "model.residual=true", "model.shortcut=B"
    assert refusal(monkeypatch, lesion_errors, *projecting) == (
        "of/a/run: only of shortcuts without weights, A, can a block be spared"
    )


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
