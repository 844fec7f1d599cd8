"""What is known of a network and its optimizer, in the groups of a run's config."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from normlab.config import NORMS
from normlab.errors import ConfigError
from normlab.watching.weights import WatchedWeight

# Groups whose choice has a name, and those that every reader of results expects.
_NAMED = ("data", "model", "norm", "optimizer", "schedule")
_EXPECTED = ("data", "model", "norm", "optimizer", "training")
_OF_OPTIMIZERS = ("lr", "weight_decay", "momentum")


def known_settings(
    model: nn.Module,
    weights: Sequence[WatchedWeight],
    optimizer: Optimizer | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Settings of a training under the names that a run's config has for them.

    `depth` counts the watched weights. What a person gives, such as `{"norm": "bn",
    "model.residual": True}`, replaces what was seen. Raises ConfigError for a value that is no
    number, text or truth.
    """
    found: dict[str, Any] = {group: {} for group in _EXPECTED}
    found["seed"] = None  # of which draws it is made is not known
    found["data"]["name"] = "own"
    found["model"] |= {"name": type(model).__name__, "depth": len(weights), "residual": None}
    found["norm"]["name"] = most_frequent_norm(model)
    found["optimizer"]["name"] = type(optimizer).__name__.lower() if optimizer else "none"
    if optimizer is not None:
        first = optimizer.param_groups[0]
        known = {
            key: first[key] for key in _OF_OPTIMIZERS if isinstance(first.get(key), int | float)
        }
        found["optimizer"] |= {key: float(value) for key, value in known.items()}
    if not isinstance(given, Mapping):
        raise ConfigError(
            f'settings: must be a mapping such as {{"norm": "bn"}}, not {given!r:.40}'
        )
    for key, value in given.items():
        _check(key, value)
        group, _, field = key.partition(".")
        if not field and group in _NAMED:
            field = "name"
        if field:
            found.setdefault(group, {})[field] = value
        else:
            found[key] = value
    return found


def _check(key: Any, value: Any) -> None:
    if not isinstance(key, str) or key.count(".") > 1 or not key.strip("."):
        raise ConfigError(f"settings: {key!r} is no key such as norm or model.width")
    if not isinstance(value, bool | int | float | str):
        kind = type(value).__name__
        raise ConfigError(f"settings: {key} is a {kind}; must be a number, a text, True or False")
    group, _, field = key.partition(".")
    if not field and group in ("training", "probes", "runtime", "output", "launcher"):
        raise ConfigError(f"settings: {key} is a group; give one of its keys, such as {key}.name")
    if key == "seed" and type(value) is not int:
        raise ConfigError(f"settings: seed={value!r}; must be a whole number")
    if key == "model.depth" and type(value) is not int:
        raise ConfigError(f"settings: model.depth={value!r}; must be a whole number")


def most_frequent_norm(model: nn.Module) -> str:
    """The norm that a network has most often, by its classes' names; `none` without any."""
    labels = {part.label: name for name, part in NORMS.items()}
    kinds = (type(module).__name__ for module in model.modules())
    found = Counter(name for kind in kinds for label, name in labels.items() if label in kind)
    return found.most_common(1)[0][0] if found else "none"
