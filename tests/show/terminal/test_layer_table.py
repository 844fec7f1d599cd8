"""A run's layers as a table."""

from normlab.show.terminal.layer_table import layer_table
from tests.show.terminal.printing import text_of
from tests.show.terminal.runs import layers_frame


def test_values_are_the_first_and_the_last_measured() -> None:
    text = text_of(layer_table(layers_frame(3), 80) or "")
    row = next(line for line in text.splitlines() if "hidden1" in line).split()
    assert row[:5] == ["1", "hidden1", "0.0100", "0.110", "0.500"]


def test_columns_are_dropped_from_the_right() -> None:
    frame = layers_frame(3)
    assert "act std" in text_of(layer_table(frame, 120) or "", 120)
    narrow = text_of(layer_table(frame, 44) or "", 44)
    assert "δ end" in narrow
    assert "act std" not in narrow.splitlines()[1]
    assert "left out for width: ‖∇W‖, act std" in narrow


def test_a_deep_table_is_folded_and_says_so() -> None:
    text = text_of(layer_table(layers_frame(110), 80) or "")
    shown = [
        int(line.split()[0])
        for line in text.splitlines()
        if line.strip()[:1].isdigit() and "hidden" in line
    ]
    assert shown[:3] == [1, 2, 3]
    assert shown[-2:] == [108, 109]
    assert len(shown) < 20
    assert f"{len(shown) + 1} of 110 layers shown" in text
    assert "shown" not in text_of(layer_table(layers_frame(20), 80) or "")


def test_any_probe_that_was_measured_has_its_column() -> None:
    text = text_of(layer_table(layers_frame(3).assign(mean_delta=0.25), 120) or "", 120)
    heads, *_ = text.splitlines()[1:2]
    assert heads.split()[-2:] == ["‖mean", "δ‖"]
    assert text.count("0.250") == 3


def test_a_probe_whose_plugin_is_not_loaded_is_named_below() -> None:
    frame = layers_frame(3).assign(theirs=0.25)
    text = text_of(layer_table(frame, 120, ["delta_rms", "theirs"]) or "", 120)
    assert "left out without its plugin (--plugin FILE_OR_MODULE): theirs" in text
    assert "plugin" not in text_of(layer_table(frame, 120, ["delta_rms"]) or "", 120)


def test_wide_heads_leave_room_for_values() -> None:
    names = ("centred_cosine", "gradient_cosine", "effective_rank", "padding_leak")
    frame = layers_frame(3).assign(**dict.fromkeys(names, 0.012345))
    for width in (60, 80, 100, 120):
        text = text_of(layer_table(frame, width) or "", width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
    assert "correlation   δ cosine   eff. rank" in text
    narrow = text_of(layer_table(frame, 80) or "", 80)
    assert "left out for width: δ cosine, eff. rank, leak from padding" in narrow
