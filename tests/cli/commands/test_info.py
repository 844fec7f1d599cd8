"""normlab info"""

import json
from pathlib import Path

from tests.cli.invoking import normlab


def test_info(tmp_path: Path) -> None:
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "data" / "mnist" / f"{part}-ubyte.gz").touch()
    facts = json.loads(
        normlab(
            "info", "--format", "json", cwd=tmp_path, NORMLAB_DATA=str(tmp_path / "data")
        ).stdout
    )
    assert facts["data"]["mnist"] == str(tmp_path / "data" / "mnist")
    assert facts["data"]["digits"].endswith(".gz")
    assert "cpu" in facts["devices"]
    plain = normlab("info", cwd=tmp_path)
    assert plain.returncode == 0
    assert "data=digits" in plain.stdout
