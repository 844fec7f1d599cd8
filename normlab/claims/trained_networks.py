"""Claims shown on networks that were trained: layers added to one, and blocks taken out."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from normlab.config import Config, ImageTensors
from normlab.errors import RecordError
from normlab.networks import CNN, BatchNorm, ConvNet, build_model, build_shortcut
from normlab.runs import read_run, read_weights
from normlab.training import evaluate, random_stream


def grown_error(folder: Path, depth: int) -> dict[str, float]:
    """C16: train error of a trained plain CNN, and of the same grown to `depth` by identity layers.

    The new layers stand at each stage's end: convolutions that copy their input, BatchNorm with
    γ = √(Var+ε) and β = E of what comes in, and a ReLU that finds nothing negative. Raises
    RecordError where the run kept no weights or is no plain post-activation BatchNorm ReLU CNN.
    """
    config = _config(folder)
    if config.model.residual:
        raise RecordError(f"{folder}: only a plain CNN with ReLU after BatchNorm can be grown")
    shallow, dataset = _trained(folder, config)
    deeper = config.model.model_copy(update={"depth": depth})
    grown = _built(config.model_copy(update={"model": deeper}), dataset)
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
    errors = [_train_error(net, config, dataset) for net in (shallow, grown)]
    return {"shallow": errors[0], "grown": errors[1], "layers": float(depth - config.model.depth)}


def lesion_errors(folder: Path) -> list[float]:
    """C27: train error of a trained CNN with one of its blocks taken out, for each block.

    What remains of y = φ(f(x) + S(x)) is the skip S(x), the identity or option A (Veit et al.
    2016); a plain network's two layers give way to the same. Raises RecordError where the run kept
    no weights or is no post-activation BatchNorm ReLU CNN with such shortcuts.
    """
    config = _config(folder)
    assert isinstance(config.model, CNN)
    if config.model.shortcut != "A":
        raise RecordError(f"{folder}: only of shortcuts without weights, A, can a block be spared")
    network, dataset = _trained(folder, config)
    return [_train_error(lesioned, config, dataset) for lesioned in _lesioned(network, config)]


def _lesioned(network: ConvNet, config: Config) -> Iterator[ConvNet]:
    """The network without its first block, then without its second alone, and so on."""
    for blocks in network.body.children():
        for name, block in blocks.named_children():
            first = block.get_submodule("conv1")
            assert isinstance(first, nn.Conv2d)
            shape = first.in_channels, first.out_channels, first.stride[0]
            # Behind ReLUs S(x) is not negative: φ(S(x)) is S(x).
            setattr(blocks, name, build_shortcut(config, *shape))
            yield network
            setattr(blocks, name, block)


def _config(folder: Path) -> Config:
    """A run's; RecordError where its network is no CNN with ReLU after BatchNorm."""
    config = read_run(folder).config
    model, norm = config.model, config.norm
    if not isinstance(model, CNN) or (
        (model.block, model.activation) != ("post", "relu")
        or not isinstance(norm, BatchNorm)
        or not (norm.affine and norm.position == "before" and not norm.noise)
    ):
        raise RecordError(f"{folder}: only a CNN with ReLU after BatchNorm can be changed so")
    return config


def _trained(folder: Path, config: Config) -> tuple[ConvNet, ImageTensors]:
    dataset = config.data.load(torch.device("cpu"))
    network = _built(config, dataset)
    network.load_state_dict(read_weights(folder))
    return network, dataset


def _built(config: Config, dataset: ImageTensors) -> ConvNet:
    stream = random_stream(config.seed, "init")
    network = build_model(config, dataset.shape, dataset.classes, stream)
    assert isinstance(network, ConvNet)
    return network.eval()


def _train_error(network: ConvNet, config: Config, dataset: ImageTensors) -> float:
    return 1 - evaluate(network, dataset, config.training).train_acc


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
