"""Configs on their way to another machine's process, which first has to know their parts."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from normlab.config import Config
from normlab.plugins import Parcel, load_parcels, parcels


@dataclass(frozen=True)
class Packed:
    """Pickled configs, and the plugins without which they cannot be unpickled."""

    plugins: tuple[Parcel, ...]
    configs: bytes

    @classmethod
    def of(cls, configs: Sequence[Config], dumps: Callable[[Any], bytes]) -> Self:
        """Pack configs by `cloudpickle.dumps`, which takes a script's own parts along."""
        return cls(parcels(), dumps(list(configs)))

    def unpacked(self) -> list[Config]:
        """The configs; raises ConfigError where a plugin is not here, or has another source."""
        load_parcels(self.plugins)
        configs: list[Config] = pickle.loads(self.configs)
        return configs
