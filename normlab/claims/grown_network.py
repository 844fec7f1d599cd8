"""A trained network grown deeper by layers that change nothing (claim C16)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from normlab.claims.registries import Figures
from normlab.config import Config
from normlab.errors import RecordError
from normlab.networks import CNN, BatchNorm, ConvNet, build_model
from normlab.runs import read_run, read_weights
from normlab.training import evaluate, random_stream


def grown_error(folder: Path, depth: int) -> Figures:
    """C16: train error of a trained plain CNN, and of the same grown to `depth` by identity layers.

    The new layers stand at each stage's end: convolutions that copy their input, BatchNorm with
    γ = √(Var+ε) and β = E of what comes in, and a ReLU that finds nothing negative. Raises
    RecordError where the run kept no weights or is no plain post-activation BatchNorm ReLU CNN.
    """
    config = read_run(folder).config
    model = config.model
    if not isinstance(model, CNN) or (
        (model.residual, model.block, model.activation) != (False, "post", "relu")
        or not isinstance(config.norm, BatchNorm)
        or not (config.norm.affine and config.norm.position == "before" and not config.norm.noise)
    ):
        raise RecordError(f"{folder}: only a plain CNN with ReLU after BatchNorm can be grown")
    dataset = config.data.load(torch.device("cpu"))

    def build(config: Config) -> ConvNet:
        stream = random_stream(config.seed, "init")
        network = build_model(config, dataset.shape, dataset.classes, stream)
        assert isinstance(network, ConvNet)
        return network.eval()

    shallow = build(config)
    shallow.load_state_dict(read_weights(folder))
    deeper = model.model_copy(update={"depth": depth})
    grown = build(config.model_copy(update={"model": deeper}))
    inputs = _stage_outputs(shallow, dataset.train_images)
    kept = shallow.state_dict()
    missing = grown.load_state_dict(kept, strict=False).missing_keys
    with torch.no_grad():
        for name, module in grown.named_modules():
            if f"{name}.weight" not in missing:
                continue
            if isinstance(module, nn.Conv2d):
                nn.init.dirac_(module.weight)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                variance, mean = inputs[name.split(".")[1]]
                module.running_mean, module.running_var = mean.clone(), variance.clone()
                module.weight.copy_((variance + module.eps).sqrt())
                module.bias.copy_(mean)
    errors = [1 - evaluate(net, dataset, config.training).train_acc for net in (shallow, grown)]
    return {"shallow": errors[0], "grown": errors[1], "layers": float(depth - model.depth)}


def _stage_outputs(network: ConvNet, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Variance and mean of every channel at the end of each stage, over samples and positions."""
    sums: dict[str, list[Tensor]] = {}

    def add(name: str, output: Tensor) -> None:
        wide = output.double()
        count = wide.new_tensor(wide[:, 0].numel())
        parts = [wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), count]
        before = sums.get(name, [torch.zeros_like(part) for part in parts])
        sums[name] = [a + b for a, b in zip(before, parts, strict=True)]

    handles = [
        stage.register_forward_hook(lambda _, __, output, name=name: add(name, output))
        for name, stage in network.body.named_children()
    ]
    with torch.no_grad():
        for part in torch.split(images, 500):
            network(part)
    for handle in handles:
        handle.remove()
    return {
        name: ((squares / count - (total / count) ** 2).float(), (total / count).float())
        for name, (total, squares, count) in sums.items()
    }
