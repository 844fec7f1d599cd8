"""The optical digits that come with scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np

from normlab.config import DATA_SETS
from normlab.data.damage import reading
from normlab.data.finding import Source
from normlab.data.images import Split
from normlab.data.known import KnownSet
from normlab.data.sampling import class_balanced
from normlab.errors import DataError


@DATA_SETS.register("digits")
class Digits(KnownSet):
    """8×8 digits (Alpaydin & Kaynak 1998), split 1437 to 360 with equal test classes."""

    source = Source("digits", (), (), archive="digits.csv.gz")
    train_samples = 1437
    white = 16
    shape = (1, 8, 8)

    @classmethod
    def places(cls, root: str | None = None) -> list[Path]:  # noqa: ARG003  it lies in one place
        package = importlib.util.find_spec("sklearn")  # finds scikit-learn without importing it
        origin = package.origin if package else None
        return [Path(origin).parent / "datasets/data"] if origin else []

    @classmethod
    def find(cls, root: str | None) -> Path:
        found = cls.locate(root)
        if found is None:
            raise DataError(
                "data.name=digits: scikit-learn's file is missing; reinstall scikit-learn"
            )
        return found

    @classmethod
    def read(cls, path: Path) -> tuple[Split, Split]:
        # scikit-learn's own reader gives the same numbers, after seconds of importing SciPy.
        with reading(path):
            table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        images, labels = table[:, :-1].reshape(-1, *cls.shape), table[:, -1]
        in_test = np.zeros(len(labels), dtype=bool)
        in_test[class_balanced(labels, 360, seed=0)] = True
        return Split(images[~in_test], labels[~in_test]), Split(images[in_test], labels[in_test])
