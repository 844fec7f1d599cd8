"""Blocks and roles by the names of modules, and profiles from block to block."""

import numpy as np
import pytest
from pandas import DataFrame
from torch import nn

from normlab.measurement import by_block
from normlab.watching.weights import watched_weights


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(4, 12), "c_proj": nn.Linear(4, 4)})
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))


class Stage(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.down = nn.Linear(4, 4)
        self.blocks = nn.Sequential(*(Layer() for _ in range(layers)))


def placed(model: nn.Module) -> dict[str, tuple[int | None, str]]:
    return {w.name: (w.block, w.role) for w in watched_weights(model, None)}


def test_the_number_in_a_path_is_the_block() -> None:
    model = nn.ModuleDict({"h": nn.ModuleList(Layer() for _ in range(9)), "head": nn.Linear(4, 2)})
    found = placed(model)
    assert found["h.7.attn.c_proj"] == (7, "attn.c_proj")
    assert found["h.8.mlp.2"] == (8, "mlp.2")
    assert found["head"] == (None, "head")


def test_blocks_are_counted_through_stages() -> None:
    model = nn.Sequential()
    for name, stage in (("layer1", Stage(1)), ("layer2", Stage(2))):
        model.add_module(name, stage)
    found = placed(model)
    assert found["layer1.blocks.0.mlp.0"] == (0, "mlp.0")
    assert found["layer2.blocks.1.attn.c_attn"] == (2, "attn.c_attn")
    assert found["layer2.down"] == (None, "layer2.down")  # of a stage, which is no block


def test_blocks_that_are_dictionaries() -> None:
    model = nn.ModuleList(
        nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)}) for _ in range(3)
    )
    assert placed(model)["2.two"] == (2, "two")


def test_without_blocks_each_layer_is_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert placed(model) == {"0": (0, ""), "2": (1, ""), "4": (2, "")}


def table(values: dict[tuple[int | None, str], float]) -> DataFrame:
    """Rows of one step, a layer each."""
    return DataFrame(
        {
            "step": 0,
            "layer": range(1, len(values) + 1),
            "name": [f"{b}.{r}" for b, r in values],
            "block": [np.nan if b is None else b for b, _ in values],
            "role": [role for _, role in values],
            "delta_rms": list(values.values()),
            "act_mean": list(values.values()),
        }
    )


def test_a_block_is_the_geometric_mean_of_common_roles() -> None:
    rows = by_block(
        table(
            {(0, "q"): 1.0, (0, "o"): 4.0, (1, "q"): 9.0, (1, "o"): 4.0, (1, "x"): 100.0}
            | {(None, "head"): 7.0}
        )
    )
    assert rows["layer"].tolist() == [1, 2, 3]
    assert rows["delta_rms"].tolist() == pytest.approx([2.0, 6.0, 7.0])
    assert rows["act_mean"].tolist() == pytest.approx([2.5, 6.5, 7.0])  # of no decades
    assert rows["name"].tolist() == ["block 0", "block 1", "None.head"]


def test_a_role_that_is_zero_somewhere_is_left_out_unless_all_are() -> None:
    shut = {(0, "q"): 0.0, (0, "o"): 4.0, (1, "q"): 2.0, (1, "o"): 3.0, (None, "head"): 1.0}
    assert by_block(table(shut))["delta_rms"].tolist() == pytest.approx([4.0, 3.0, 1.0])
    dead = {(0, "q"): 0.0, (0, "o"): 0.0, (1, "q"): 2.0, (1, "o"): 3.0, (None, "head"): 1.0}
    assert by_block(table(dead))["delta_rms"].tolist() == pytest.approx([0.0, 6**0.5, 1.0])


def test_a_table_without_blocks_stays() -> None:
    rows = table({(0, ""): 1.0, (1, ""): 2.0})
    assert by_block(rows) is rows
