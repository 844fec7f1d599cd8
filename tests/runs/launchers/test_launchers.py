import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from normlab.config import LAUNCHERS, Config, Launcher, compose, from_yaml, to_yaml
from normlab.runs import Outcome
from normlab.runs.launchers import launch, with_device
from tests.runs.support import config_in


@pytest.mark.parametrize("name", list(LAUNCHERS))
def test_a_config_loads_no_engine(name: str) -> None:
    """Whichever module comes first, all launchers are there, in one order."""
    heavy = ("torch", "joblib", "ray", "submitit", "multiprocessing", "pandas")
    code = (
        f"import sys, normlab.runs.launchers.{name}\n"
        "from normlab.config import LAUNCHERS, compose\n"
        "print(*LAUNCHERS)\n"
        f"compose(['launcher={name}'])\n"
        f"print(*[module for module in {heavy} if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["local ray slurm", ""]


@pytest.mark.parametrize("name", list(LAUNCHERS))
def test_a_launcher_is_a_part_of_its_config(name: str) -> None:
    config = compose([f"launcher={name}"])
    assert type(config.launcher) is LAUNCHERS[name]
    assert from_yaml(to_yaml(config)) == config


def test_a_launcher_from_outside_makes_the_runs(tmp_path: Path) -> None:
    class Echo(Launcher):
        """Says what it is asked for."""

        def launch(
            self, configs: Sequence[Config], *, force: bool
        ) -> Generator[Outcome, None, None]:
            yield from (Outcome(str(config.seed), f"force={force}") for config in configs)

    config = config_in(tmp_path).model_copy(update={"launcher": Echo(name="echo")})
    assert list(launch([config], force=True)) == [Outcome("0", "force=True")]


def test_a_run_is_put_on_a_device_and_stays_the_same_run(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    placed = with_device(config, "cuda:1")
    assert placed.runtime.device == "cuda:1"
    assert placed.model_copy(update={"runtime": config.runtime}) == config
