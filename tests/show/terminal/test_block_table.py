"""A run's blocks as a table."""

from pandas import concat

from normlab.show.terminal.block_table import block_table
from tests.measurement.layer_tables import blocks
from tests.show.terminal.printing import text_of

LAYERS = concat(
    [blocks(0, [1.0, 2.0], [0.5, 0.25], share=0.125), blocks(9, [3.0, 4.0], [0.4, 0.3])],
    ignore_index=True,
)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def test_a_row_a_block_with_the_first_and_the_last_of_its_tokens() -> None:
    heads, _, one, two, output, *_ = rows(text_of(block_table(LAYERS, 120) or "", 120))
    assert heads == [
        "block",
        "δ",
        "init",
        "δ",
        "end",
        "ρ",
        "init",
        "ρ",
        "end",
        "from",
        "rank",
        "1",
        "‖∇W‖",
        "cosine",
    ]
    assert one[:6] == ["1", "1.00", "3.00", "0.500", "0.600", "0.400"]
    assert two[:6] == ["2", "2.00", "4.00", "0.750", "0.700", "0.300"]
    assert output[:4] == ["output", "123", "123", "–"]


def test_what_was_asked_for_is_shown_in_80_columns_and_explained() -> None:
    asked = LAYERS.assign(padding_leak=0.25, attention_entropy=0.75, logit_std=1.0)
    text = text_of(block_table(asked, 80) or "", 80)
    assert "leak" in text.splitlines()[1]
    said = " ".join(text.split())
    assert "from rank 1: 0 where all tokens are alike; leak: how far N(0, 1)" in said
    assert "leak:" not in text_of(block_table(LAYERS, 80) or "", 80)


def test_below_is_the_gradient_of_every_role_at_first() -> None:
    found = rows(text_of(block_table(LAYERS, 80) or "", 80))
    at = found.index(["block", "∇W_Q", "∇W_K", "∇W_V", "∇W_O", "∇W_1", "∇W_2"])
    assert found[at + 2] == ["1", "0.125", "0.125", "1.00", "1.00", "1.00", "1.00"]
    assert found[at + 3] == ["2", "0.250", "0.250", "2.00", "2.00", "2.00", "2.00"]
    assert " ".join(found[at + 4]).startswith("‖∂L/∂W‖ at step 0 of queries")


def test_no_line_is_wider_than_the_terminal() -> None:
    deep = blocks(0, [1.0] * 30, [0.5] * 30).assign(act_std=1.0, act_mean=1.0, weight_norm=1.0)
    for width in (80, 120):
        text = text_of(block_table(deep, width) or "", width)
        assert max(map(len, text.splitlines())) <= width
        assert "of 31 blocks shown" in text


def test_without_gradients_there_is_one_table_and_without_measurements_none() -> None:
    assert "W_Q" not in text_of(block_table(LAYERS.drop(columns="grad_norm"), 80) or "")
    assert block_table(LAYERS[["step", "layer", "name", "block", "role"]], 80) is None
