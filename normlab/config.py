"""Configuration: Hydra composes YAML and overrides; pydantic makes of it one typed, frozen Config.

The only module that imports hydra or omegaconf, and it does so when they are needed: `--help` and
shell completion stay fast.
"""

import difflib
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from normlab.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "identity"]
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
Probe = Literal[
    "grad_norm",
    "delta_rms",
    "update_ratio",
    "weight_norm",
    "act_mean",
    "act_std",
    "dead_fraction",
    "sample_cosine",
]
Standardize = Literal["none", "channel", "pixel_mean"]

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
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
    seed: Seed
    standardize: Standardize
    crop_padding: Whole
    flip: bool


class GaussianData(_Part):
    """Images of independent N(0, 1) pixels with random labels."""

    name: Literal["gaussian"]
    channels: Count
    size: Count
    classes: Annotated[int, Field(ge=2)]
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
            below = self.depth - (self.depth - 2) % 6
            nearest = [d for d in (below, below + 6) if 8 <= d <= 1000] or [8]
            are = (
                f"nearest are {nearest[0]} and {nearest[1]}"
                if nearest[1:]
                else f"nearest is {nearest[0]}"
            )
            raise ValueError(f"model.depth={self.depth}: a CNN's depth is 6n+2; {are}")
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
    """Up along half a cosine, then down along another (Smith & Topin 2019)."""

    name: Literal["onecycle"]
    rise: Annotated[float, Field(gt=0, lt=1)]
    start_factor: Fraction
    final_factor: Fraction


class Training(_Part):
    """How long, on what batches, and how exactly."""

    epochs: Whole | None
    steps: Whole | None
    batch_size: Count
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

    measure: Annotated[tuple[Probe, ...], Field(strict=False)]
    batch_size: Annotated[int, Field(ge=2)]
    snapshots: Whole
    grad_norm_steps: Whole


class Runtime(_Part):
    """Where a run executes; no part of its identity."""

    device: str
    threads: Count

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
            raise ValueError(
                f"runtime.device={device}: no such device; choices: auto, cpu, cuda, cuda:N, mps"
            )
        return device


class Output(_Part):
    """Where a run's files go; no part of its identity."""

    root: Annotated[str, Field(min_length=1)]
    experiment: str

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
_OUTSIDE_IDENTITY = {"runtime", "output"}


def run_id(config: Config) -> str:
    """Ten hexadecimal digits that name a run: a hash of the whole config but runtime and output."""
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
    return _validate(values)


def config_folder() -> Path:
    """The folder of the YAML groups: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
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
    _check_config_dir(config_dir)
    _check_overrides(overrides, config_dir)
    with _hydra_in(config_dir) as load:
        return _validate(_plain(load(overrides)))


def leaves(config_dir: Path | None = None, groups: Sequence[str] = ()) -> dict[str, Any]:
    """Every dotted key that can be overridden, with its default under these group choices."""
    with _hydra_in(config_dir) as load:
        return dict(_flatten(_plain(load(groups))))


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


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """`; did you mean X?`, or nothing where no choice is near."""
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


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
        from yaml import YAMLError  # of OmegaConf's own parser

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
            except (HydraException, OmegaConfBaseException, YAMLError) as error:
                raise ConfigError(_first_line(error)) from error

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
    for folder in sorted(p for p in config_dir.iterdir() if p.is_dir() and any(p.glob("*.yaml"))):
        if folder.name not in groups:
            raise ConfigError(
                f"--config-dir={config_dir}: no such group {folder.name!r}; "
                f"choices: {', '.join(groups)}{did_you_mean(folder.name, list(groups))}"
            )


def _check_overrides(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Refuse in our own words, before Hydra composes, what Hydra would refuse in its own."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    groups = group_choices(config_dir)
    chosen: list[str] = []
    keys: list[tuple[str, str]] = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise ConfigError(
                f"{text}: not an override; write key=value, and quote values that hold "
                "spaces, commas or brackets, as in 'key=\"a, b\"'"
            ) from error
        key = override.key_or_group
        if re.search(r"\$\{[^}]*:", text):
            raise ConfigError(
                f"{text}: only other keys can be interpolated, as in ${{model.depth}}, "
                "so that a config means the same everywhere"
            )
        if override.is_sweep_override():
            raise ConfigError(f"{text}: one run takes one value for {key}; a list is written [a,b]")
        if key in groups and not override.is_delete():
            choice = override.value()
            if override.package is not None or not isinstance(choice, str):
                raise ConfigError(f"{text}: {key} takes one of {', '.join(groups[key])}")
            if choice not in groups[key]:
                raise ConfigError(
                    f"{key}={choice}: no such choice; choices: {', '.join(groups[key])}"
                    f"{did_you_mean(choice, groups[key])}"
                )
            chosen.append(f"{key}={choice}")
        else:
            keys.append((text, key))
    if not keys:
        return
    known = leaves(config_dir, chosen)
    branches = {key.rsplit(".", n)[0] for key in known for n in range(1, key.count(".") + 1)}
    for text, key in keys:
        if key not in known and key not in branches:
            near = did_you_mean(key, [*known, *groups])
            group = key.split(".")[0]
            among = [k for k in known if k.startswith(f"{group}.")]
            choices = (
                f"; {group} has {', '.join(among)}" if among else f"; groups: {', '.join(groups)}"
            )
            raise ConfigError(f"{text}: no such key{near or choices}")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
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
        case "missing" | "union_tag_not_found":
            return f"{key}: is missing"
        case "extra_forbidden":
            return f"{key}: no such key"
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
