"""The nets that are benched, and one of them on so many threads."""

from dataclasses import dataclass

from normlab.config import Config, compose
from normlab.errors import ConfigError

NETS: dict[str, tuple[str, ...]] = {
    "mlp-30": ("model=mlp", "model.depth=30", "model.width=64"),
    "cnn-20": ("model=cnn", "model.depth=20"),
    "resnet-56": ("model=resnet", "model.depth=56"),
    "resnet-20-28": (
        *("model=resnet", "model.depth=20", "model.width=16"),
        *("data=gaussian", "data.size=28", "data.train_size=1024", "data.test_size=128"),
    ),
    "encoder-6": ("model=encoder", "norm=ln"),
}
QUICK_NETS = ("mlp-30", "cnn-20")
# Of a benched training, which nobody waits for.
STEPS = 20_000


@dataclass(frozen=True)
class Case:
    """A net on a number of CPU threads or on another device."""

    net: str
    threads: int = 1
    device: str = "auto"

    def config(self, *more: str) -> Config:
        """Its config with more overrides, never evaluated; raises ConfigError for an unknown net
        or device."""
        if self.net not in NETS:
            raise ConfigError(f"{self.net}: no such net; choices: {', '.join(NETS)}")
        return compose(
            [
                *NETS[self.net],
                *(f"training.steps={STEPS}", "training.evaluate_every_epochs=1000000"),
                *(f"runtime.threads={self.threads}", f"runtime.device={self.device}"),
                *more,
            ]
        )
