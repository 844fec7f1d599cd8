"""The map of two keys."""

from normlab.show import PICTURES, Screen
from tests.show.pictures.tables import key_subject, phases
from tests.show.terminal.printing import printed


def test_nets_without_a_verdict_have_a_cell_and_a_key_of_their_own():
    table = phases()
    table.loc[table["verdict"] == "exploding", "verdict"] = None
    subject = key_subject("model.depth", "optimizer.lr")
    lines = printed(PICTURES["phase"].sketch(table, subject, Screen(80, 24)), 80)
    assert [line.split() for line in lines if line.split()[:1] in (["0.1"], ["0.01"])] == [
        ["0.1", "·", "?", "?"],
        ["0.01", "·", "·", "?"],
    ]
    assert lines[-1].split() == ["·", "trains", "?", "none"]
