"""layers.parquet against the definitions of `normlab explain measurements`, written from that text.

In float64, with nothing of normlab but its files: configuration, weights and data.
"""

import math
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F

from normlab.config import compose
from normlab.runs import execute, run_folder

ALIKE = ("data=gaussian", "data.channels=2", "data.train_size=24", "training.batch_size=24")
PROBED = ("probes.batch_size=1000", "output.weights=true", "optimizer.weight_decay=0.01")
NETS = {
    "mlp": (
        *("model=mlp", "model.depth=5", "model.width=12", "model.activation=tanh", "norm=bn"),
        *("model.residual=true", "model.init_gain=2", "training.loss=sigmoid"),
        "training.clip_norm=0.1",
    ),
    # So narrow that activations of some samples, and some units of all, are 0.
    "narrow": ("model=mlp", "model.depth=4", "model.width=3", "norm=none", "model.bias_std=1"),
    "resnet": ("model=resnet", "model.depth=8", "model.width=4", "norm=bn", "norm.position=after"),
    "pre": (
        *("model=cnn", "model.depth=8", "model.width=4", "model.block=pre", "norm=wn"),
        *("model.activation=sigmoid", "model.init_gain=6"),
    ),
}


class Described:
    """A network's forward pass, and what the text names of every layer: W, z, a, what φ receives.

    `v` holds its weights by name, `settings` its configuration.
    """

    def __init__(self, settings, v):
        self.settings, self.v = settings, {name: value.double() for name, value in v.items()}
        self.W, self.z, self.received, self.before_phi = [], [], [], []

    def layer(self, name, h, **convolution):
        if f"{name}.weight" in self.v:
            weight = self.v[f"{name}.weight"]
        else:  # WeightNorm: g·v/‖v‖ of every output unit
            g, direction = (self.v[f"{name}.parametrizations.weight.original{i}"] for i in (0, 1))
            lengths = direction.flatten(1).square().sum(1).sqrt()
            weight = g * direction / lengths.reshape(g.shape)
        weight = weight.clone().requires_grad_()
        bias = self.v.get(f"{name}.bias")
        linear = weight.ndim == 2
        z = F.linear(h, weight, bias) if linear else F.conv2d(h, weight, bias, **convolution)
        self.W.append(weight)
        self.received.append(h)
        self.z.append(z)
        return z

    def norm(self, name, x):
        if f"{name}.weight" not in self.v:
            return x
        axes = [0, *range(2, x.ndim)]
        mean = x.mean(axes, keepdim=True)
        variance = (x - mean).square().mean(axes, keepdim=True)
        shape = [1, -1, *[1] * (x.ndim - 2)]
        gamma, beta = (self.v[f"{name}.{part}"].reshape(shape) for part in ("weight", "bias"))
        return (x - mean) / (variance + self.settings["norm"]["eps"]).sqrt() * gamma + beta

    def phi(self, x):
        self.before_phi.append(x)
        return getattr(torch, self.settings["model"]["activation"])(x)

    def unit(self, name, z, skip=0.0):
        if self.settings["norm"].get("position") == "after":
            return self.norm(f"{name}.norm", self.phi(z + skip))
        return self.phi(self.norm(f"{name}.norm", z) + skip)

    def logits(self, x):
        model = self.settings["model"]
        if model["name"] == "mlp":
            h = x.flatten(1)
            for i in range(1, model["depth"]):
                u = self.unit(f"body.hidden{i}.unit", self.layer(f"body.hidden{i}.linear", h))
                h = h + u if model["residual"] and i > 1 else u
            return self.layer("output", h)
        pre = model["block"] == "pre"
        h = self.layer("stem", x, padding=1)
        h = h if pre else self.unit("stem_unit", h)
        for stage, stride in (1, 1), (2, 2), (3, 2):
            name = f"body.stage{stage}.block1"
            h = self.pre(name, h, stride) if pre else self.post(name, h, stride)
        h = self.unit("final_unit", h) if pre else h
        return self.layer("output", h.mean(dim=(2, 3)))

    def pre(self, name, x, stride):
        z = self.layer(f"{name}.conv1", self.unit(f"{name}.unit1", x), padding=1, stride=stride)
        return self.layer(f"{name}.conv2", self.unit(f"{name}.unit2", z), padding=1)

    def post(self, name, x, stride):
        z = self.layer(f"{name}.conv1", x, padding=1, stride=stride)
        z = self.layer(f"{name}.conv2", self.unit(f"{name}.unit1", z), padding=1)
        skip = x[:, :, ::stride, ::stride]
        empty = torch.zeros(len(x), z.shape[1] - x.shape[1], *skip.shape[2:]).double()
        return self.unit(f"{name}.unit2", z, torch.cat([skip, empty], dim=1))

    def measured(self, images, labels):
        logits = self.logits(images.double())
        if self.settings["training"]["loss"] == "sigmoid":
            right = F.one_hot(labels, logits.shape[1]).bool()
            loss = -torch.where(right, logits, -logits).sigmoid().log().sum(dim=1).mean()
        else:
            loss = -logits.softmax(dim=1)[range(len(labels)), labels].log().mean()
        by_z = torch.autograd.grad(loss, self.z, retain_graph=True)
        by_weight = torch.autograd.grad(loss, self.W, retain_graph=True)
        slopes = [
            torch.autograd.grad(getattr(torch, self.settings["model"]["activation"])(x).sum(), x)[0]
            for x in self.before_phi
        ]
        batch = len(images)
        activations = [a.detach() for a in (*self.received[1:], logits)]
        return {
            "delta_rms": [
                math.sqrt(((batch * d) ** 2).sum() / (batch * d[0].numel())) for d in by_z
            ],
            "mean_delta": [d.sum(dim=0).norm().item() for d in by_z],
            "grad_norm": [g.norm().item() for g in by_weight],
            "weight_norm": [w.detach().norm().item() for w in self.W],
            "act_mean": [a.mean().item() for a in activations],
            "act_std": [(a - a.mean()).square().mean().sqrt().item() for a in activations],
            "dead_fraction": [
                *((s.abs() < 0.01).all(dim=0).double().mean().item() for s in slopes),
                math.nan,
            ],
            "sample_cosine": [mean_cosine(a.flatten(1)) for a in activations],
        }


def mean_cosine(vectors):
    zero = ~vectors.any(dim=1)
    units = torch.where(zero[:, None], 0, vectors / vectors.norm(dim=1, keepdim=True))
    cosines = units @ units.T + (zero[:, None] & zero[None, :])
    return cosines[~torch.eye(len(vectors), dtype=torch.bool)].mean().item()


@pytest.mark.parametrize("name", NETS)
def test_the_text_is_enough_to_measure_again(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    everything = "grad_norm,delta_rms,mean_delta,update_ratio,weight_norm,act_mean,act_std"
    settings = (
        *(*ALIKE, *PROBED, *NETS[name]),
        f"probes.measure=[{everything},dead_fraction,sample_cosine]",
    )
    found = {}
    for steps in (0, 1):
        config = compose([*settings, f"training.steps={steps}"])
        list(execute(config))
        found[steps] = Path(run_folder(config))
    layers = pandas.read_parquet(found[1] / "layers.parquet")
    data = config.data.load(torch.device("cpu"))
    described = {}
    for step in (0, 1):
        weights = torch.load(found[step] / "weights.pt", weights_only=True)
        net = described[step] = Described(config.model_dump(), weights)
        rows = layers[layers["step"] == step].sort_values("layer")
        for column, expected in net.measured(data.train_images, data.train_labels).items():
            if column == "grad_norm" and step == 1:
                assert rows[column].isna().all()  # no step is made from the last weights
                continue
            cancels = 1e-6 if column in ("act_mean", "mean_delta") else 0.0
            np.testing.assert_allclose(
                rows[column], expected, rtol=1e-6, atol=cancels, err_msg=f"{column} at {step}"
            )
    before, after = ([w.detach() for w in described[step].W] for step in (0, 1))
    moved = [float((b - a).norm() / a.norm()) for a, b in zip(before, after, strict=True)]
    rows = layers[layers["step"] == 0].sort_values("layer")
    np.testing.assert_allclose(rows["update_ratio"], moved, rtol=1e-4)
