"""The whole of one run as typed, frozen settings."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from normlab import plugins
from normlab.config.network_parts import MODELS, NORMS, PROBES, Model, Norm, Probe
from normlab.config.numbers import Count, NonNegative, OpenFraction, Positive, Seed, Whole
from normlab.config.parts import Choices, OneOf, Settings, is_without_plugin
from normlab.config.training_parts import (
    DATA_SETS,
    LAUNCHERS,
    OPTIMIZERS,
    SCHEDULES,
    DataSet,
    Launcher,
    Optimizer,
    Schedule,
)
from normlab.registry import Registry


class Training(Settings):
    """How long, on what batches, and how exactly."""

    epochs: Whole | None
    steps: Whole | None
    batch_size: Count
    loss: Literal["softmax", "sigmoid"]
    label_smoothing: OpenFraction
    clip_norm: Positive | None
    precision: Literal["fp32", "tf32", "bf16"]
    max_seconds: Positive | None
    stop_metric: Literal["train_acc", "train_loss", "test_acc", "test_loss"] | None
    stop_value: NonNegative | None
    evaluate_every_epochs: Count
    # The run whose weights and optimizer this one goes on from, where the schedule is another one.
    extends: Annotated[str, Field(pattern="^[0-9a-f]{10}$")] | None

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
        if self.stop_metric is None and self.stop_value is not None:
            raise ValueError(
                f"training.stop_value={self.stop_value}: of which metric; "
                "add training.stop_metric=train_acc"
            )
        if self.stop_metric is not None and self.stop_value is None:
            raise ValueError(
                f"training.stop_metric={self.stop_metric}: at which value; "
                "add training.stop_value=0.99"
            )
        return self


def _of_layers(probe: Probe) -> bool:
    return probe.role is None


def _of_tokens(probe: Probe) -> bool:
    return probe.role is not None


class Probes(Settings):
    """What is measured in each layer, and of each block's tokens, on what, and when."""

    measure: Annotated[tuple[Annotated[str, OneOf(PROBES, _of_layers)], ...], Field(strict=False)]
    tokens: Annotated[tuple[Annotated[str, OneOf(PROBES, _of_tokens)], ...], Field(strict=False)]
    batch_size: Annotated[int, Field(ge=2, le=10**9)]
    snapshots: Annotated[int, Field(ge=0, le=10**6)]
    grad_norm_steps: Whole

    @field_validator("measure", "tokens", mode="before")
    @classmethod
    def _each_in_its_place(cls, names: Any, info: ValidationInfo) -> Any:
        for name in names if isinstance(names, list | tuple) else ():
            probe, key = PROBES.get(name), f"probes.{info.field_name}"
            if probe and probe.key != key and not is_without_plugin(info):
                raise ValueError(f"{key}=[{name}]: is in {probe.key}=[{name}]")
        return names

    @field_validator("measure", "tokens")
    @classmethod
    def _each_once_in_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # So that the same measurements are one identity, in whatever order plugins are loaded.
        return PROBES.in_order(names)


class Runtime(Settings):
    """Where a run executes; no part of its identity."""

    device: str
    threads: Annotated[int, Field(ge=1, le=1024)]
    deterministic: bool
    graph: Literal["auto", "on", "off"]
    channels_last: bool
    checkpoint_seconds: NonNegative

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
            raise ValueError(
                f"runtime.device={device}: no such device; choices: auto, cpu, cuda, cuda:N, mps"
            )
        return device


class Output(Settings):
    """Where a run's files go; no part of its identity."""

    root: Annotated[str, Field(min_length=1)]
    experiment: str
    weights: bool
    keep: bool

    @field_validator("root")
    @classmethod
    def _at_home(cls, root: str) -> str:
        # A shell expands ~ only where a word begins.
        # No such user, or no user's name: a folder that is called so.
        with contextlib.suppress(RuntimeError, ValueError):
            return str(Path(root).expanduser()) if root.startswith("~") else root
        return root

    @field_validator("experiment")
    @classmethod
    def _check_experiment(cls, name: str) -> str:
        if not re.fullmatch(r"[^/\\\x00-\x1f\x7f]{1,100}", name) or name.strip(". ") == "":
            raise ValueError(
                f"output.experiment={name!r}: must be one folder name of at most 100 characters, "
                "without slashes or control characters"
            )
        if name.startswith("."):
            raise ValueError(
                f"output.experiment={name}: begins with a dot, and such folders are hidden; "
                f"{name.lstrip('. ')} would be listed"
            )
        return name


def _plugins_used(values: Mapping[str, Any]) -> dict[str, str]:
    """The plugins whose parts are among a config's values, each with the hash of its source."""
    found: dict[str, str] = {}
    if not plugins.loaded():
        return found
    for key, value in values.items():
        if key == "launcher":  # where a run is made is no part of what it is
            continue
        parts: list[tuple[Registry[Any], str]] = []
        if key in GROUPS:
            parts.append((GROUPS[key], value.name))
        if isinstance(value, Settings):
            for field, info in type(value).model_fields.items():
                names = getattr(value, field)
                for registry in _registries((info.annotation, *info.metadata)):
                    several = [names] if isinstance(names, str) else names or ()
                    parts += [(registry, name) for name in several]
        for registry, name in parts:
            if (plugin := registry.plugin_of(name)) is not None:
                found[plugin.name] = plugin.sha256
    return dict(sorted(found.items()))


def _registries(annotations: Iterable[Any]) -> Iterator[Registry[Any]]:
    """The registries whose names some annotations admit."""
    for annotation in annotations:
        if isinstance(annotation, OneOf):
            yield annotation.registry
        yield from _registries(get_args(annotation))


class Config(Settings):
    """One run, whole: everything that decides its outcome, and where it executes and is kept."""

    seed: Seed
    data: Annotated[SerializeAsAny[DataSet], BeforeValidator(DATA_SETS.read)]
    model: Annotated[SerializeAsAny[Model], BeforeValidator(MODELS.read)]
    norm: Annotated[SerializeAsAny[Norm], BeforeValidator(NORMS.read)]
    optimizer: Annotated[SerializeAsAny[Optimizer], BeforeValidator(OPTIMIZERS.read)]
    schedule: Annotated[SerializeAsAny[Schedule], BeforeValidator(SCHEDULES.read)]
    training: Training
    probes: Probes
    runtime: Runtime
    launcher: Annotated[SerializeAsAny[Launcher], BeforeValidator(LAUNCHERS.read)]
    output: Output
    # The plugins whose parts it uses, each with the hash of its source. What is loaded says it, and
    # for a run that was made its files; a config of normlab's own parts is written without the key.
    plugins: Annotated[
        dict[str, str],
        Field(default_factory=_plugins_used, exclude_if=lambda plugins: not plugins),
    ]

    @property
    def in_channels_last(self) -> bool:
        """Whether its network is trained in channels_last order: where that is asked for, and its
        model and norm take it."""
        asked = self.runtime.channels_last
        return asked and self.model.channels_last and self.norm.channels_last

    @property
    def probed(self) -> tuple[str, ...]:
        """The names of all that is measured: of the layers, and of the tokens where there are."""
        return (*self.probes.measure, *(self.probes.tokens if self.model.of_tokens else ()))

    @property
    def plugins_are_here(self) -> bool:
        """Whether the plugins that it was made with are loaded, with the same source."""
        return plugins.are_loaded(self.plugins)

    @model_validator(mode="after")
    def _check_together(self, info: ValidationInfo) -> Self:
        if is_without_plugin(info):  # what it would be checked by is not here
            return self
        for part in (self.data, self.model, self.norm, self.optimizer, self.schedule):
            part.check(self)
        return self


# The config groups whose choices are registered parts.
GROUPS: dict[str, Choices[Any]] = {
    "data": DATA_SETS,
    "model": MODELS,
    "norm": NORMS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "launcher": LAUNCHERS,
}


def value_choices(key: str) -> list[str]:
    """The values a dotted key admits where it admits only a few, for completion and help."""
    group, _, field = key.partition(".")
    if group not in Config.model_fields or "." in field:
        return []
    if group in GROUPS:
        if field == "name":
            return list(GROUPS[group])
        holders: list[Any] = [part for _, part in GROUPS[group].items()]
    else:
        kind = Config.model_fields[group].annotation
        holders = [kind] if isinstance(kind, type) and issubclass(kind, Settings) else []
    found: dict[str, None] = {}
    for holder in holders:
        if field in holder.model_fields:
            info = holder.model_fields[field]
            for admits in (info.annotation, *info.metadata):
                found |= dict.fromkeys(_admitted(admits))
    return list(found)


def _admitted(annotation: Any) -> Iterator[str]:
    """The literal values, registered names, true and false among what an annotation admits."""
    if annotation is bool:
        yield from ("true", "false")
    elif isinstance(annotation, OneOf):
        yield from annotation.names
    for argument in get_args(annotation):
        if isinstance(argument, str):
            yield argument
        else:
            yield from _admitted(argument)
