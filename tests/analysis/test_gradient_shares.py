"""The share of the last hidden layer's gradient that reaches each layer."""

from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.analysis import gradient_shares
from normlab.analysis.frames import to_frame
from tests.analysis.sample import row


def folder(
    root: Path, norm: str, depth: int, seed: int, steps: dict[int, list[float]] | None
) -> tuple[str, object]:
    """A run's folder, with δ of its hidden layers and of its output layer at some steps."""
    _, summary = row("model=mlp", f"norm={norm}", f"model.depth={depth}", seed=seed)
    place = root / f"{norm}-{depth}-{seed}"
    place.mkdir()
    if steps is not None:
        rows = [
            {"step": step, "layer": layer, "name": "layer", "kind": "linear", "delta_rms": delta}
            for step, deltas in steps.items()
            for layer, delta in enumerate([*deltas, 99.0], start=1)
        ]
        # A step at which only the weights' gradients were taken comes last of all.
        rows += [{**first, "step": 1000, "delta_rms": None} for first in rows if not first["step"]]
        DataFrame(rows).to_parquet(place / "layers.parquet")
    return str(place), summary


def test_shares_are_geometric_means_over_the_runs_of_an_arm(tmp_path: Path) -> None:
    frame = to_frame(
        [
            folder(tmp_path, "ln", 4, 0, {0: [2.0, 1.0, 4.0], 9: [8.0, 8.0, 8.0]}),
            folder(tmp_path, "none", 4, 0, {0: [1.0, 2.0, 4.0], 5: [3.0, 3, 3], 9: [1e-6, 0.0, 1]}),
            folder(tmp_path, "none", 4, 1, {0: [4.0, 2.0, 1.0], 9: [1e-4, 1e-2, 1.0]}),
            folder(tmp_path, "none", 4, 2, None),  # without a table
            folder(tmp_path, "none", 4, 3, {0: [1.0, 1.0, 0.0], 9: [0.0, 0.0, 0.0]}),  # shares of 0
            folder(tmp_path, "none", 3, 0, {0: [5.0, 5.0]}),  # of another depth
        ]
    )
    table = gradient_shares(frame, 4)
    assert list(dict.fromkeys(table["variant"])) == ["no-norm", "ln"]  # as a table has its rows
    shares = table.groupby(["variant", "place"], sort=False)["share"].apply(list).to_dict()
    expected = {
        ("no-norm", "init"): [1.0, 2**-0.5 * 2**0.5, 1.0],  # ¼ · 4, ½ · 2
        ("no-norm", "end"): [1e-5, 1e-2, 1.0],  # of the second layer by the run that has some
        ("ln", "init"): [0.5, 0.25, 1.0],
        ("ln", "end"): [1.0, 1.0, 1.0],
    }
    assert shares.keys() == expected.keys()
    for key, values in expected.items():
        assert shares[key] == pytest.approx(values)


def test_where_no_gradient_was_measured_there_are_no_shares(tmp_path: Path) -> None:
    frame = to_frame([folder(tmp_path, "ln", 4, 0, None), folder(tmp_path, "bn", 4, 0, {0: []})])
    assert gradient_shares(frame, 4).empty
    assert gradient_shares(frame.assign(status="failed"), 4).empty
