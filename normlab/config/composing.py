"""Overrides to Configs: Hydra composes once per choice of groups, and the rest is patched in."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab import plugins
from normlab.config.axes import Grid, Setting, axes_of, refuse_repeated
from normlab.config.blocks import block_grids
from normlab.config.files import group_choices
from normlab.config.hydra_loading import has_others, hydra_in, plain, settings_in
from normlab.config.messages import validate
from normlab.config.schema import GROUPS, Config
from normlab.config.training_parts import DataSet
from normlab.config.yaml_text import strings
from normlab.errors import ConfigError
from normlab.text import did_you_mean, listed

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Config:
    """The Config of the YAML defaults with Hydra overrides such as `norm=ln` or `model.depth=56`.

    `config_dir` adds a folder of a person's own YAML groups. Raises ConfigError, one line, where
    an override is unknown, malformed or out of range.

    A group that is chosen again (`norm=bn norm.momentum=0 norm=ln`) replaces what was set of it
    before, so that advice can be put behind any command.
    """
    return next(compose_grids([_axes_of_one_run(overrides, config_dir)], config_dir))


def with_overrides(
    config: Config, overrides: Sequence[str], config_dir: Path | None = None
) -> Config:
    """The Config with Hydra overrides put over it, and every other key as it is.

    A group's choice such as `norm=ln` replaces the keys of the group, too. Raises ConfigError as
    `compose` does, and for what is no value of a run's own key.
    """
    axes = _axes_of_one_run(overrides, config_dir)
    settings = [setting for axis in axes for setting in axis.points[0]]
    values = config.model_dump(mode="json", exclude={"plugins"})
    groups = group_choices(config_dir)
    for setting in settings:
        if setting.text.startswith(("+", "~")) or setting.key == "experiment":
            raise ConfigError(
                f"{setting.text}: a run's settings are changed by group=choice and key=value"
            )
    chosen = [setting for setting in settings if setting.key in groups]
    of_data = {s.key.removeprefix("data.") for s in settings if s.key.startswith("data.")}
    values["data"] = config.data.without_told(of_data).model_dump(mode="json")
    if chosen:
        values |= _unresolved_groups(chosen, config_dir)
    for setting in settings:
        if setting.key not in groups:
            for key, value in flatten({setting.key: setting.value}):
                _put(values, key, value, setting)
    try:
        changed = validate(_resolved(values))
    except ConfigError:
        plugins.check(config.plugins)  # which says more of a part that is not here
        raise
    # A part that stays must be what it was in the run.
    plugins.check({k: v for k, v in config.plugins.items() if k in changed.plugins})
    told = [getattr(changed.data, key) for key in changed.data.told_by_files]
    return _with_data(changed, changed.data.pinned()) if None in told else changed


def _with_data(config: Config, data: DataSet) -> Config:
    return config if data is config.data else validate({**dict(config), "data": data})


def _axes_of_one_run(overrides: Sequence[str], config_dir: Path | None) -> Grid:
    axes = _without_replaced(axes_of(overrides, config_dir), config_dir)
    for axis in axes:
        if axis.sweeps:
            key = axis.points[0][0].key
            raise ConfigError(
                f"{axis.text}: one run takes one value for {key}; normlab sweep takes several, "
                "and a list as one value is written [a,b]"
            )
    return axes


def _unresolved_groups(chosen: Sequence[Setting], config_dir: Path | None) -> dict[str, Any]:
    """The keys of groups as their YAML has them, interpolations of other keys as they stand."""
    from omegaconf import OmegaConf

    with hydra_in(config_dir) as load:
        composed = load([setting.text for setting in chosen])
    values: Any = OmegaConf.to_container(composed, resolve=False)
    return {setting.key: values[setting.key] for setting in chosen}


def _resolved(values: dict[str, Any]) -> Any:
    """Values whose interpolations of other keys are resolved."""
    from omegaconf import OmegaConf

    interpolate = any("${" in text for text in strings(values))
    return plain(OmegaConf.create(values)) if interpolate else values


def _without_replaced(axes: Grid, config_dir: Path | None) -> Grid:
    """The axes without the settings of a group, its choice and its keys, that stand before another
    choice of it."""
    groups = group_choices(config_dir)
    chosen = [setting.key for axis in axes for setting in axis.points[0] if setting.key in groups]
    left: Grid = []
    for axis in reversed(axes):
        key = axis.points[0][0].key
        group = key.partition(".")[0]
        again = any(group in later.keys for later in left) and chosen.count(group) > 1
        if not again:
            left.append(axis)
    return left[::-1]


def grids(overrides: Sequence[str], config_dir: Path | None = None) -> list[Grid]:
    """The grids of a sweep: each the product of its overrides' values, in Hydra's sweep grammar.

    `norm=none,bn`, `seed=range(5)`, `model=choice(cnn,resnet)`, `norm=glob(*n)`; overrides that
    vary together are `zip(model.depth=8,20; training.epochs=10,20)`. `experiment=NAME` brings the
    grids of its `sweep:` block, whose overrides those given here replace. Raises ConfigError, also
    where a key is given twice.
    """
    given = axes_of(overrides, config_dir)
    refuse_repeated(given, config_dir)
    named = [axis for axis in given if "experiment" in axis.keys]
    if not named:
        return [given]
    if named[0].sweeps:
        raise ConfigError(f"{named[0].text}: a sweep takes one experiment")
    with hydra_in(config_dir) as load:
        block = plain(load([named[0].text])).get("sweep")
    try:
        return block_grids(block, given, config_dir)
    except ConfigError as error:
        raise ConfigError(f"{named[0].text}: its sweep: {error}") from error


def size(several: Sequence[Grid]) -> int:
    """The number of points of some grids."""
    return sum(math.prod(len(axis.points) for axis in grid) for grid in several)


# What Hydra composed, by the words it was given; None where it interpolates.
Bases = dict[tuple[str, ...], dict[str, Any] | None]


# Those of normlab's own YAML alone, which stays as it is while a process lives.
_OWN_BASES: Bases = {}
# A sweep of settings that only Hydra can put in place has as many as runs.
_MOST_BASES = 500


def compose_grids(several: Sequence[Grid], config_dir: Path | None = None) -> Iterator[Config]:
    """The Config of every point of some grids, in order; Hydra composes once per group choices.

    Raises ConfigError that names the point where a combination cannot be.
    """
    number, total = 0, size(several)
    bases = {} if has_others(config_dir) else _OWN_BASES
    if len(bases) > _MOST_BASES:
        bases.clear()
    pinned: dict[DataSet, DataSet] = {}  # files are looked at once, however many runs they have
    with hydra_in(config_dir) as load:
        for grid in several:
            for point in itertools.product(*(axis.points for axis in grid)):
                number += 1
                settings = [setting for part in point for setting in part]
                try:
                    config = _compose_point(settings, bases, load)
                    if config.data not in pinned:
                        pinned[config.data] = config.data.pinned()
                    yield _with_data(config, pinned[config.data])
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
    with hydra_in(config_dir) as load:
        return dict(flatten(settings_in(load(groups))))


def _compose_point(
    settings: Sequence[Setting],
    bases: Bases,
    load: Callable[[Sequence[str]], "DictConfig"],
) -> Config:
    """Compose what only Hydra can and patch the rest; `bases` keeps what was composed.

    A base that interpolates is None: there a patch could come too late, and Hydra composes all.
    """
    patching = [setting for setting in settings if setting.patches]
    mappings = tuple(f"{setting.key}." for setting in settings if isinstance(setting.value, dict))
    if mappings and any(setting.key.startswith(mappings) for setting in patching):
        patching = []  # of a mapping and one of its keys the later counts
    composing = tuple(s.text for s in settings if not (s.patches and patching))
    if composing not in bases:
        composed = _load_known(composing, settings, load)
        bases[composing] = None if _interpolates(composed) else settings_in(composed)
    base = bases[composing]
    if base is None:
        texts = [setting.text for setting in settings]
        return validate(settings_in(_load_known(texts, settings, load)))
    values = _copy(base)
    for setting in patching:
        _put(values, setting.key, setting.value, setting)
    return validate(values)


def _put(values: dict[str, Any], key: str, value: Any, setting: Setting) -> None:
    """Set a key among nested values; raises ConfigError that names the setting for an unknown."""
    if not _exists(key, values):
        raise _unknown(setting, values)
    *parents, last = key.split(".")
    place: Any = values
    for parent in parents:
        place = place[parent]
    place[last] = value


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
        base = settings_in(load(chosen))
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
    meant = _called(setting.key, every)
    near = f"; did you mean {meant}?" if meant else did_you_mean(setting.key, every)
    group, _, field = setting.key.partition(".")
    if group in GROUPS and field:
        near = _of_another_choice(group, field, base[group]["name"]) or near
    among = [key for key in known if key.startswith(f"{group}.")]
    choices = f"{group} has {', '.join(among)}" if among else f"choices: {', '.join(base)}"
    return ConfigError(f"{setting.text}: no such key{near or f'; {choices}'}")


def _of_another_choice(group: str, field: str, chosen: str) -> str:
    """That a key that a choice lacks is another's; empty where no other has it.

    Of a person's own files the key that says where they lie depends on the choice.
    """
    parts = dict(GROUPS[group].items())
    places = {name: getattr(part, "place_key", None) for name, part in parts.items()}
    if places.get(chosen) and field in places.values():
        return f"; {group}={chosen} is found by {group}.{places[chosen]}"
    others = [name for name, part in parts.items() if field in part.model_fields]
    if instead := getattr(parts.get(chosen), "instead", {}).get(field):
        return f" of {group}={chosen}; {instead}"
    if len(others) == 1:
        return f" of {group}={chosen}; add {group}={others[0]}"
    return f" of {group}={chosen}; {group}={listed(others)} have it" if others else ""


def _called(name: str, keys: Sequence[str]) -> str | None:
    """The key of which a name is the last part: `epochs` training.epochs, `model.norm` norm.

    Of several that of training, as `batch_size` is the probes' too.
    """
    last = name.rpartition(".")[2]
    meant = [key for key in keys if key.rpartition(".")[2] == last]
    return next((key for key in meant if key.startswith("training.")), next(iter(meant), None))


def key_called(name: str) -> str | None:
    """The group or key that a person means by a name such as `depth`, None where there is none."""
    return _called(name, [*leaves(), *group_choices()])


def _interpolates(composed: "DictConfig") -> bool:
    from omegaconf import OmegaConf

    return "${" in str(OmegaConf.to_container(composed, resolve=False))


def _copy(values: Any) -> Any:
    return {k: _copy(v) for k, v in values.items()} if isinstance(values, dict) else values


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as pairs of dotted key and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
