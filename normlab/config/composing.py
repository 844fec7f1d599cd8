"""Configuration: Hydra composes YAML and overrides; pydantic makes of it one typed, frozen Config.

The only module that imports hydra or omegaconf, and it does so when they are needed: `--help` and
shell completion stay fast.
"""

import functools
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from normlab.config.parts import PROBES, one_of
from normlab.errors import ConfigError
from normlab.text import did_you_mean

if TYPE_CHECKING:
    from hydra.core.override_parser.types import RangeSweep
    from omegaconf import DictConfig

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "erf", "sigmoid", "identity"]
Initializer = Literal[
    "he_normal",
    "he_uniform",
    "xavier_normal",
    "xavier_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "normal",
]
Standardize = Literal["none", "binary", "channel", "pixel_mean"]

Count = Annotated[int, Field(ge=1, le=10**9)]
Whole = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0), AfterValidator(abs)]  # -0.0 is 0.0
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(ge=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ImageData(_Part):
    """A data set of real images."""

    name: Literal["digits", "mnist", "fashion_mnist", "cifar10"]
    root: str | None
    train_size: Count | None
    test_size: Count | None
    subset: Literal["balanced", "first"]
    seed: Seed
    standardize: Standardize
    crop_padding: Whole
    flip: bool


class GaussianData(_Part):
    """Images of independent N(0, 1) pixels with random labels."""

    name: Literal["gaussian"]
    channels: Count
    size: Count
    classes: Annotated[int, Field(ge=2, le=10**6)]
    train_size: Count
    test_size: Count
    seed: Seed


class _Network(_Part):
    depth: Annotated[int, Field(ge=1, le=1000)]
    width: Count
    activation: Activation
    residual: bool
    bias: bool
    init: Initializer
    init_gain: NonNegative
    init_std: NonNegative | None
    bias_std: NonNegative

    @model_validator(mode="after")
    def _check_init(self) -> Self:
        if self.init == "normal" and self.init_std is None:
            raise ValueError(
                "model.init=normal: needs a standard deviation; add model.init_std=0.01"
            )
        if self.init != "normal" and self.init_std is not None:
            raise ValueError(
                f"model.init_std={self.init_std}: only model.init=normal has one; "
                f"scale {self.init} with model.init_gain"
            )
        if self.bias_std and not self.bias:
            raise ValueError(
                f"model.bias_std={self.bias_std}: there are no biases; add model.bias=true"
            )
        return self


class MLP(_Network):
    """A deep multilayer perceptron; depth counts its linear layers, the output one too."""

    name: Literal["mlp"]


class CNN(_Network):
    """He et al.'s CIFAR-10 network of 6n+2 weight layers; with `residual`, their ResNet."""

    name: Literal["cnn"]
    shortcut: Literal["A", "B"]
    block: Literal["post", "pre"]

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        if self.depth < 8 or (self.depth - 2) % 6:
            valid = sorted(range(8, 1001, 6), key=lambda depth: abs(depth - self.depth))
            one, two = sorted(valid[:2])
            raise ValueError(
                f"model.depth={self.depth}: a CNN's depth is 6n+2; nearest are {one} and {two}"
            )
        return self


class NoNorm(_Part):
    """No normalization."""

    name: Literal["none"]


class WeightNorm(_Part):
    """Weight normalization (Salimans & Kingma 2016)."""

    name: Literal["wn"]


class _ActivationNorm(_Part):
    position: Literal["before", "after"]
    affine: bool
    eps: NonNegative


class BatchNorm(_ActivationNorm):
    """Batch normalization (Ioffe & Szegedy 2015)."""

    name: Literal["bn"]
    eps: Positive  # PyTorch's own refuses 0
    momentum: Fraction
    noise: NonNegative


class SampleNorm(_ActivationNorm):
    """Layer, instance or root-mean-square normalization: statistics within one sample."""

    name: Literal["ln", "in", "rms"]


class GroupNorm(_ActivationNorm):
    """Group normalization (Wu & He 2018)."""

    name: Literal["gn"]
    groups: Count


class SGD(_Part):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: NonNegative
    momentum: OpenFraction
    nesterov: bool
    weight_decay: NonNegative
    decay: Literal["all", "weights"]

    @model_validator(mode="after")
    def _check_nesterov(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("optimizer.nesterov=true: needs optimizer.momentum above 0")
        return self


class Adam(_Part):
    """Adam, or AdamW with decoupled weight decay."""

    name: Literal["adam", "adamw"]
    lr: NonNegative
    beta1: OpenFraction
    beta2: OpenFraction
    eps: NonNegative
    weight_decay: NonNegative
    decay: Literal["all", "weights"]


class _WarmUp(_Part):
    warmup_steps: Whole
    warmup_factor: NonNegative
    warmup_shape: Literal["linear", "constant"]


class Constant(_WarmUp):
    """The same learning rate throughout."""

    name: Literal["constant"]


class MultiStep(_WarmUp):
    """Multiply the learning rate by gamma at each milestone, a fraction of the training."""

    name: Literal["multistep"]
    milestones: Annotated[tuple[Fraction, ...], Field(strict=False)]
    gamma: Positive


class Cosine(_WarmUp):
    """Half a cosine down to final_factor."""

    name: Literal["cosine"]
    final_factor: NonNegative


class OneCycle(_Part):
    """Up along half a cosine, then down along another (Smith & Topin 2019, whose are straight)."""

    name: Literal["onecycle"]
    rise: Annotated[float, Field(gt=0, lt=1)]
    start_factor: Fraction
    final_factor: Fraction


class Training(_Part):
    """How long, on what batches, and how exactly."""

    epochs: Whole | None
    steps: Whole | None
    batch_size: Count
    loss: Literal["softmax", "sigmoid"]
    clip_norm: Positive | None
    precision: Literal["fp32", "tf32", "bf16"]
    evaluate_every_epochs: Count

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_epochs(cls, values: Any) -> Any:
        # Normalized here, so that equal trainings have one identity.
        if isinstance(values, Mapping) and values.get("steps") is not None:
            return {**values, "epochs": None}
        return values

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.epochs is None and self.steps is None:
            raise ValueError("training.epochs=null: give training.epochs or training.steps")
        return self


class Probes(_Part):
    """What is measured in each layer, on what, and when."""

    measure: Annotated[tuple[Annotated[str, one_of(PROBES)], ...], Field(strict=False)]
    batch_size: Annotated[int, Field(ge=2, le=10**9)]
    snapshots: Annotated[int, Field(ge=0, le=10**6)]
    grad_norm_steps: Whole

    @field_validator("measure")
    @classmethod
    def _each_once_in_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # So that the same measurements are one identity.
        return tuple(name for name in PROBES if name in names)


class Runtime(_Part):
    """Where a run executes; no part of its identity."""

    device: str
    threads: Annotated[int, Field(ge=1, le=1024)]
    checkpoint_seconds: NonNegative

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
            raise ValueError(
                f"runtime.device={device}: no such device; choices: auto, cpu, cuda, cuda:N, mps"
            )
        return device


class LocalLauncher(_Part):
    """Worker processes on this machine."""

    name: Literal["local"]
    workers: Count | None
    runs_per_device: Count
    timeout_seconds: Positive | None


class RayLauncher(_Part):
    """Tasks of a Ray cluster."""

    name: Literal["ray"]
    address: str | None
    local_cpus: Count | None
    cpus_per_run: Positive | None
    gpus_per_run: NonNegative | None
    max_retries: Whole

    @model_validator(mode="after")
    def _check_resources(self) -> Self:
        for key in ("cpus_per_run", "gpus_per_run"):
            share = getattr(self, key)
            if share is not None and share > 1 and share != int(share):
                raise ValueError(f"launcher.{key}={share}: above 1 it must be a whole number")
        if self.address is not None and self.local_cpus is not None:
            raise ValueError(
                f"launcher.local_cpus={self.local_cpus}: only a local Ray has one; "
                "leave out launcher.address"
            )
        return self


class SlurmLauncher(_Part):
    """Jobs of a Slurm cluster, each of which works through many runs."""

    name: Literal["slurm"]
    cluster: Literal["slurm", "local", "debug"]
    partition: str | None
    minutes: Count
    cpus_per_job: Count
    gpus_per_job: Whole
    memory_gb: Positive | None
    jobs: Count
    array_parallelism: Count
    options: Annotated[tuple[str, ...], Field(strict=False)]

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for option in options:
            if not re.fullmatch(r"[a-z][a-z-]*(=[^\x00-\x1f]+)?", option):
                raise ValueError(
                    f"launcher.options: {option!r} is no option of sbatch; write name=value or "
                    "name, as in 'launcher.options=[\"account=lab\",exclusive]'"
                )
        return options


class Output(_Part):
    """Where a run's files go; no part of its identity."""

    root: Annotated[str, Field(min_length=1)]
    experiment: str
    weights: bool

    @field_validator("experiment")
    @classmethod
    def _check_experiment(cls, name: str) -> str:
        if not re.fullmatch(r"[^/\\\x00-\x1f\x7f]{1,100}", name) or name.strip(". ") == "":
            raise ValueError(
                f"output.experiment={name!r}: must be one folder name of at most 100 characters, "
                "without slashes or control characters"
            )
        return name


class Config(_Part):
    """One run, whole: everything that decides its outcome, and where it executes and is kept."""

    seed: Seed
    data: Annotated[ImageData | GaussianData, Field(discriminator="name")]
    model: Annotated[MLP | CNN, Field(discriminator="name")]
    norm: Annotated[
        NoNorm | WeightNorm | BatchNorm | SampleNorm | GroupNorm, Field(discriminator="name")
    ]
    optimizer: Annotated[SGD | Adam, Field(discriminator="name")]
    schedule: Annotated[Constant | MultiStep | Cosine | OneCycle, Field(discriminator="name")]
    training: Training
    probes: Probes
    runtime: Runtime
    launcher: Annotated[LocalLauncher | RayLauncher | SlurmLauncher, Field(discriminator="name")]
    output: Output

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        model, norm = self.model, self.norm
        widths = [model.width * 2**stage for stage in range(1 if model.name == "mlp" else 3)]
        if isinstance(norm, GroupNorm) and model.width % norm.groups:
            raise ValueError(
                f"norm.groups={norm.groups}: must divide the layers' channels, "
                f"{', '.join(map(str, widths))}; change norm.groups or model.width"
            )
        if model.name == "mlp" and norm.name == "bn" and self.training.batch_size == 1:
            raise ValueError(
                "training.batch_size=1: BatchNorm has no variance over one sample; "
                "use at least 2, or norm=ln"
            )
        groups = {"gn": getattr(norm, "groups", 1), "ln": 1, "in": 1}.get(norm.name)
        if model.name == "mlp" and model.width == groups:
            raise ValueError(
                f"model.width={model.width}: norm={norm.name} has no variance over one value; "
                f"use more than {groups}, or another norm"
            )
        if norm.name == "wn" and (model.init_gain == 0 or model.init_std == 0):
            zero = "model.init_gain" if model.init_gain == 0 else "model.init_std"
            raise ValueError(
                f"{zero}=0: weight normalization has no direction for a zero weight; "
                "use more than 0, or another norm"
            )
        return self


# What cannot change a run's outcome.
_OUTSIDE_IDENTITY: dict[str, Any] = {
    "runtime": True,
    "launcher": True,
    "output": True,
    "data": {"root"},
}


def run_id(config: Config) -> str:
    """Ten hexadecimal digits that name a run: a hash of all that can change its outcome."""
    identity = config.model_dump(mode="json", exclude=_OUTSIDE_IDENTITY)
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def describe(config: Config) -> str:
    """A run in a few words, such as `ResNet-56 bn on digits`."""
    model = config.model
    if model.name == "mlp":
        network = f"residual MLP-{model.depth}" if model.residual else f"MLP-{model.depth}"
    else:
        network = f"{'ResNet' if model.residual else 'CNN'}-{model.depth}"
    norm = "without norm" if config.norm.name == "none" else config.norm.name
    unusual = "" if model.activation == "relu" else f" {model.activation}"
    return f"{network}{unusual} {norm} on {config.data.name}"


def to_yaml(config: Config) -> str:
    """The resolved config as YAML that `from_yaml` loads back to an equal Config."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json")))


def from_yaml(text: str) -> Config:
    """A Config from `to_yaml`'s text; raises ConfigError where it is not one."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # of OmegaConf's own parser

    try:
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"not a config: {_first_line(error)}") from error
    return from_plain(values)


def read_yaml(file: Path) -> Any:
    """The content of a YAML file of a person's own, as plain values; raises ConfigError."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from error
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid YAML ({_first_line(error)})") from error


def from_plain(values: Any) -> Config:
    """A Config from `model_dump(mode="json")`, such as a summary holds; raises ConfigError.

    A setting of `runtime` that an older version did not have gets its default of today, as none is
    part of a run's identity.
    """
    if isinstance(values, dict) and isinstance(values.get("runtime"), dict):
        values = {**values, "runtime": {**_runtime_defaults(), **values["runtime"]}}
    return _validate(values)


@functools.cache
def _runtime_defaults() -> dict[str, Any]:
    defaults: dict[str, Any] = read_yaml(config_folder() / "runtime" / "default.yaml")
    return defaults


def config_folder() -> Path:
    """The folder of the YAML groups: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def group_choices(config_dir: Path | None = None) -> dict[str, list[str]]:
    """The config groups and their choices, read from the folders alone."""
    choices: dict[str, set[str]] = {}
    for folder in filter(None, (config_folder(), config_dir)):
        for file in folder.glob("*/*.yaml"):
            choices.setdefault(file.parent.name, set()).add(file.stem)
    return {group: sorted(choices[group]) for group in sorted(choices)}


def compose(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Config:
    """The Config of the YAML defaults with Hydra overrides such as `norm=ln` or `model.depth=56`.

    `config_dir` adds a folder of a person's own YAML groups. Raises ConfigError, one line, where
    an override is unknown, malformed or out of range.
    """
    axes = _axes(overrides, config_dir)
    for axis in axes:
        if axis.sweeps:
            key = axis.points[0][0].key
            raise ConfigError(
                f"{axis.text}: one run takes one value for {key}; normlab sweep takes several, "
                "and a list as one value is written [a,b]"
            )
    return next(compose_grids([axes], config_dir))


@dataclass(frozen=True)
class Setting:
    """One override with one value: Hydra's text, and the key and value that it sets."""

    text: str
    key: str
    value: Any
    patches: bool  # sets a scalar or list of the composed config, so that Hydra need not compose


@dataclass(frozen=True)
class Axis:
    """The points of one override, or of several that vary together: what a grid multiplies."""

    text: str
    points: tuple[tuple[Setting, ...], ...]
    sweeps: bool  # whether it was written as a sweep, if only over one value


Grid = list[Axis]


def grids(overrides: Sequence[str], config_dir: Path | None = None) -> list[Grid]:
    """The grids of a sweep: each the product of its overrides' values, in Hydra's sweep grammar.

    `norm=none,bn`, `seed=range(5)`, `model=choice(cnn,resnet)`, `norm=glob(*n)`; overrides that
    vary together are `zip(model.depth=8,20; training.epochs=10,20)`. `experiment=NAME` brings the
    grids of its `sweep:` block, whose overrides those given here replace. Raises ConfigError.
    """
    given = _axes(overrides, config_dir)
    named = [axis for axis in given if axis.points[0][0].key == "experiment"]
    if not named:
        return [given]
    if named[0].sweeps:
        raise ConfigError(f"{named[0].text}: a sweep takes one experiment")
    with _hydra_in(config_dir) as load:
        block = _plain(load([named[0].text])).get("sweep") or []
    keys = {setting.key for axis in given for setting in axis.points[0]}
    return [
        [*(axis for axis in _block_axes(grid, config_dir) if not _keys_of(axis) & keys), *given]
        for grid in block or [{}]
    ]


def size(several: Sequence[Grid]) -> int:
    """The number of points of some grids."""
    return sum(math.prod(len(axis.points) for axis in grid) for grid in several)


def compose_grids(several: Sequence[Grid], config_dir: Path | None = None) -> Iterator[Config]:
    """The Config of every point of some grids, in order; Hydra composes once per group choices.

    Raises ConfigError that names the point where a combination cannot be.
    """
    number, total = 0, size(several)
    bases: dict[tuple[str, ...], dict[str, Any] | None] = {}
    with _hydra_in(config_dir) as load:
        for grid in several:
            for point in itertools.product(*(axis.points for axis in grid)):
                number += 1
                settings = [setting for part in point for setting in part]
                try:
                    yield _compose_point(settings, bases, load)
                except ConfigError as error:
                    if total == 1:
                        raise
                    varying = {
                        setting.text
                        for axis, part in zip(grid, point, strict=True)
                        if len(axis.points) > 1
                        for setting in part
                    }
                    texts = " ".join(s.text for s in settings if s.text in varying)
                    raise ConfigError(f"run {number} of {total} ({texts}): {error}") from error


def leaves(config_dir: Path | None = None, groups: Sequence[str] = ()) -> dict[str, Any]:
    """Every dotted key that can be overridden, with its default under these group choices."""
    with _hydra_in(config_dir) as load:
        return dict(flatten(_without_sweep(_plain(load(groups)))))


def value_choices(key: str) -> list[str]:
    """The values a dotted key admits where it admits only a few, for completion and help."""
    found: dict[str, None] = {}
    models: list[Any] = [Config]
    *parents, last = key.split(".")
    for parent in parents:
        models = [
            part
            for model in models
            if parent in model.model_fields
            for part in _alternatives(model.model_fields[parent].annotation)
        ]
    for model in models:
        if last in model.model_fields:
            for choice in _literals(model.model_fields[last].annotation):
                found[choice] = None
    return list(found)


def _alternatives(annotation: Any) -> list[Any]:
    args = get_args(annotation) or (annotation,)
    return [arg for arg in args if isinstance(arg, type) and issubclass(arg, BaseModel)]


def _literals(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    for arg in get_args(annotation):
        if isinstance(arg, str):
            yield arg
        elif arg is bool or get_args(arg):
            yield from _literals(arg)


# ------------------------------------------------------------------------------- Hydra


class _hydra_in:  # noqa: N801  a context manager that reads like a function
    """Hydra's compose over normlab's configs and a person's own, with quiet, local state."""

    def __init__(self, config_dir: Path | None):
        self.config_dir = config_dir

    def __enter__(self) -> Any:
        from hydra import compose as hydra_compose
        from hydra import initialize_config_dir
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException
        from yaml import MarkedYAMLError, YAMLError  # of OmegaConf's own parser

        self.context = initialize_config_dir(str(config_folder().resolve()), version_base="1.3")
        self.context.__enter__()
        extra = (
            [f"hydra.searchpath=[{_quoted(f'file://{self.config_dir.resolve()}')}]"]
            if self.config_dir
            else []
        )

        def load(overrides: Sequence[str]) -> "DictConfig":
            try:
                return hydra_compose("config", overrides=[*overrides, *extra])
            except MarkedYAMLError as error:
                mark = error.problem_mark
                where = f"{mark.name}, line {mark.line + 1}: " if mark else ""
                raise ConfigError(f"{where}not valid YAML ({error.problem})") from error
            except (UnicodeDecodeError, RecursionError) as error:
                where = f"--config-dir={self.config_dir}: " if self.config_dir else ""
                raise ConfigError(f"{where}a YAML cannot be read ({_first_line(error)})") from error
            except (
                HydraException,
                OmegaConfBaseException,
                YAMLError,
                OSError,
                ValueError,
            ) as error:
                raise ConfigError(_first_line(error)) from error
            except Exception as error:  # Hydra meets odd input with errors of any kind
                raise ConfigError(
                    f"{' '.join(overrides)}: not understood ({_first_line(error)})"
                ) from error

        return load

    def __exit__(self, *exception: Any) -> None:
        self.context.__exit__(*exception)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"


def _plain(composed: "DictConfig") -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # A config must not read its surroundings: the same text is the same run everywhere.
    for resolver in ("oc.env", "oc.decode", "oc.deprecated"):
        OmegaConf.clear_resolver(resolver)
    try:
        return OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"{key}{_first_line(error)}") from error
    finally:
        OmegaConf.clear_resolvers()


def _check_config_dir(config_dir: Path | None) -> None:
    if config_dir is None:
        return
    if not config_dir.is_dir():
        raise ConfigError(f"--config-dir={config_dir}: no such folder")
    groups = group_choices()
    for file in sorted(config_dir.glob("*/*.yaml")):
        if file.stem in groups.get(file.parent.name, ()):
            raise ConfigError(
                f"--config-dir={config_dir}: {file.parent.name}/{file.name} has the name of one of "
                "normlab's own; give it another"
            )
    for folder in sorted(p for p in config_dir.iterdir() if p.is_dir() and any(p.glob("*.yaml"))):
        if folder.name not in groups:
            raise ConfigError(
                f"--config-dir={config_dir}: no such group {folder.name!r}; "
                f"choices: {', '.join(groups)}{did_you_mean(folder.name, list(groups))}"
            )


def _axes(overrides: Sequence[str], config_dir: Path | None) -> Grid:
    """Parse overrides; refuse in our own words what Hydra would refuse in its own."""
    _check_config_dir(config_dir)
    groups = group_choices(config_dir)
    axes = []
    for text in overrides:
        inner = re.fullmatch(r"zip\((.*)\)", text.strip(), re.DOTALL)
        if inner is None:
            axes.append(_axis(text, groups))
        else:
            axes.append(_zip([_axis(part, groups) for part in inner[1].split(";")], text))
    return axes


def _block_axes(grid: Any, config_dir: Path | None) -> Grid:
    """The axes of one mapping in an experiment's `sweep:` block."""
    if not isinstance(grid, Mapping):
        raise ConfigError(f"sweep: must be a list of mappings of keys to values, not {grid!r}")
    together = grid.get("zip", {})
    texts = [f"{key}={value}" for key, value in grid.items() if key != "zip"]
    if together:
        texts.append(f"zip({';'.join(f'{key}={value}' for key, value in together.items())})")
    return _axes(texts, config_dir)


def _axis(text: str, groups: Mapping[str, Sequence[str]]) -> Axis:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Glob, QuotedString, RangeSweep, Sweep
    from hydra.errors import HydraException

    text = text.strip()
    try:
        override = OverridesParser.create().parse_override(text)
        if not override.key_or_group:
            raise HydraException("no key")
    except HydraException as error:
        raise ConfigError(
            f"{text}: not an override; write key=value without spaces, and quote values that hold "
            "spaces, commas or brackets, as in 'key=\"a, b\"'"
        ) from error
    key = override.key_or_group
    if re.search(r"\$\{[^}]*:", text):
        raise ConfigError(
            f"{text}: only other keys can be interpolated, as in ${{model.depth}}, "
            "so that a config means the same everywhere"
        )
    is_group = key in groups and not override.is_delete()
    if is_group and override.package is not None:
        raise ConfigError(f"{text}: {key} takes one of {', '.join(groups[key])}")
    if not override.is_sweep_override():
        value = None if override.is_delete() else override.value()
        patches = not (
            is_group
            or override.is_delete()
            or override.is_add()
            or isinstance(value, dict)
            or "${" in text
        )
        values, texts = [value], [text]
    else:
        if not override.is_discrete_sweep():
            raise ConfigError(f"{text}: has no list of values; use choice(), range() or a,b,c")
        if isinstance(override._value, ChoiceSweep) and any(
            isinstance(value, Sweep) for value in override._value.list
        ):
            raise ConfigError(f"{text}: give values or one range, not ranges in a list")
        if isinstance(override._value, RangeSweep):
            _check_range(override._value, text)
        if isinstance(override._value, Glob):
            values = override._value.filter(list(groups.get(key, ())))
            texts = [f"{key}={value}" for value in values]
        else:
            found = override.sweep_iterator()
            values = [v.text if isinstance(v, QuotedString) else v for v in found]
            texts = [f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator()]
        if not values:
            choices = f"; choices: {', '.join(groups[key])}" if key in groups else ""
            raise ConfigError(f"{text}: no value, so the sweep is empty{choices}")
        patches = not (is_group or override.is_add() or "${" in text)
    if is_group:
        for value in values:
            if not isinstance(value, str):
                raise ConfigError(f"{text}: {key} takes one of {', '.join(groups[key])}")
            if value not in groups[key]:
                raise ConfigError(
                    f"{key}={value}: no such choice; choices: {', '.join(groups[key])}"
                    f"{did_you_mean(value, groups[key])}"
                )
    points = tuple(
        (Setting(text, key, value, patches),) for text, value in zip(texts, values, strict=True)
    )
    return Axis(text, points, override.is_sweep_override())


# Of one range; it is held in memory, and no grid is meant to be larger.
MOST_VALUES = 1_000_000


def _check_range(swept: "RangeSweep", text: str) -> None:
    """Refuse a range that would take all the time and memory there is, or never end."""
    assert swept.start is not None
    assert swept.stop is not None
    try:
        values = (swept.stop - swept.start) / swept.step
    except (ZeroDivisionError, OverflowError):
        values = math.inf
    if not values <= MOST_VALUES:  # NaN too
        raise ConfigError(f"{text}: its range must have an end, and at most {MOST_VALUES:,} values")


def _zip(parts: Sequence[Axis], text: str) -> Axis:
    """Axes of equal length as one."""
    lengths = [len(axis.points) for axis in parts]
    if len(set(lengths)) > 1:
        raise ConfigError(
            f"{text}: its lists have {', '.join(map(str, lengths))} values, not as many"
        )
    points = zip(*(axis.points for axis in parts), strict=True)
    return Axis(text, tuple(tuple(s for part in point for s in part) for point in points), True)


def _keys_of(axis: Axis) -> set[str]:
    return {setting.key for setting in axis.points[0]}


def _compose_point(
    settings: Sequence[Setting],
    bases: dict[tuple[str, ...], dict[str, Any] | None],
    load: Callable[[Sequence[str]], "DictConfig"],
) -> Config:
    """Compose what only Hydra can and patch the rest; `bases` keeps what was composed.

    A base that interpolates is None: there a patch could come too late, and Hydra composes all.
    """
    composing = tuple(setting.text for setting in settings if not setting.patches)
    if composing not in bases:
        composed = _load_known(composing, settings, load)
        bases[composing] = None if _interpolates(composed) else _without_sweep(_plain(composed))
    base = bases[composing]
    if base is None:
        texts = [setting.text for setting in settings]
        return _validate(_without_sweep(_plain(_load_known(texts, settings, load))))
    values = _copy(base)
    for setting in settings:
        if setting.patches:
            *parents, last = setting.key.split(".")
            place: Any = values
            for parent in parents:
                place = place.get(parent) if isinstance(place, dict) else None
            if not isinstance(place, dict) or last not in place:
                raise _unknown(setting, base)
            place[last] = setting.value
    return _validate(values)


def _load_known(
    texts: Sequence[str],
    settings: Sequence[Setting],
    load: Callable[[Sequence[str]], "DictConfig"],
) -> "DictConfig":
    """Load, and where Hydra fails for a key that does not exist, say so in our words."""
    try:
        return load(texts)
    except ConfigError:
        groups = group_choices()
        chosen = [s.text for s in settings if s.key in groups and s.text == f"{s.key}={s.value}"]
        base = _without_sweep(_plain(load(chosen)))
        for setting in settings:
            if not _exists(setting.key, base):
                raise _unknown(setting, base) from None
        raise


def _exists(key: str, values: Any) -> bool:
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _unknown(setting: Setting, base: Mapping[str, Any]) -> ConfigError:
    groups, known = group_choices(), [key for key, _ in flatten(base)]
    every = [*known, *groups]
    last = setting.key.rpartition(".")[2]
    ends = {key.rpartition(".")[2]: key for key in reversed(every)}
    # `epochs` means training.epochs, and `model.norm` means norm.
    meant = f"; did you mean {ends[last]}?" if last in ends else ""
    near = meant or did_you_mean(setting.key, every)
    group = setting.key.split(".")[0]
    among = [key for key in known if key.startswith(f"{group}.")]
    choices = f"{group} has {', '.join(among)}" if among else f"choices: {', '.join(base)}"
    return ConfigError(f"{setting.text}: no such key{near or f'; {choices}'}")


def _interpolates(composed: "DictConfig") -> bool:
    from omegaconf import OmegaConf

    return "${" in str(OmegaConf.to_container(composed, resolve=False))


def _without_sweep(values: Any) -> Any:
    """An experiment's `sweep:` block says which runs to make and is part of none."""
    return {key: value for key, value in values.items() if key != "sweep"}


def _copy(values: Any) -> Any:
    return {k: _copy(v) for k, v in values.items()} if isinstance(values, dict) else values


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as pairs of dotted key and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# ---------------------------------------------------------------------------- pydantic


def _validate(values: Any) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigError(_sentence(first) + more) from error


@functools.cache
def _union_tags() -> frozenset[str]:
    return frozenset(
        tag
        for field in Config.model_fields.values()
        for part in _alternatives(field.annotation)
        if "name" in part.model_fields
        for tag in _literals(part.model_fields["name"].annotation)
    )


def _sentence(error: ErrorDetails) -> str:
    """One pydantic error as `dotted.key=value: what is wrong; choices or range`."""
    place = [str(part) for part in error["loc"]]
    # pydantic puts the chosen member of a union into the place: ("model", "cnn", "depth").
    if len(place) > 1 and place[1] in _union_tags():
        del place[1]
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] == "union_tag_invalid":
        place.append("name")
        value = context["tag"]
    else:
        value = error["input"]
    key = ".".join(place)
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
    match error["type"]:
        case "choice":
            choices = context["choices"]
            listed = f"choices: {', '.join(choices)}"
            return f"{key}={shown}: no such choice; {listed}{did_you_mean(str(value), choices)}"
        case "missing" | "union_tag_not_found":
            return (
                f"{key}: is missing; a YAML of your own may begin with "
                "'defaults: [CHOICE, _self_]' to take another choice's values"
            )
        case "extra_forbidden":
            return f"{key}={shown}: no such key"
        case "literal_error" | "union_tag_invalid":
            choices = re.findall(
                r"'([^']*)'", str(context.get("expected", context.get("expected_tags")))
            )
            listed = f"choices: {', '.join(choices)}"
            return f"{key}={shown}: no such choice; {listed}{did_you_mean(str(value), choices)}"
        case "greater_than_equal":
            wrong = f"must be at least {context['ge']}"
        case "greater_than":
            wrong = f"must be above {context['gt']}"
        case "less_than_equal":
            wrong = f"must be at most {context['le']}"
        case "less_than":
            wrong = f"must be below {context['lt']}"
        case "int_type" | "int_from_float" | "int_parsing":
            wrong = "must be a whole number"
        case "float_type" | "finite_number":
            wrong = "must be a finite number"
        case "bool_type":
            wrong = "must be true or false"
        case "string_type":
            wrong = "must be text; put it in quotes, as in 'key=\"123\"'"
        case "tuple_type":
            wrong = "must be a list, as in [a,b]"
        case "string_too_short":
            wrong = "must not be empty"
        case "model_type" | "model_attributes_type" | "dict_type":
            wrong = "must be a mapping of keys to values"
        case _:
            wrong = error["msg"]
    return f"{key}={shown}: {wrong}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
