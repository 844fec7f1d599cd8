"""How many of many are shown."""

from normlab.show.charts.panels import evenly_chosen


def test_the_first_and_the_last_are_among_the_chosen():
    chosen = evenly_chosen(range(100), 8)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 99, 8)
    assert evenly_chosen([1, 2], 8) == [1, 2]
    assert evenly_chosen([8, 20, 56], 1) == [56]
    assert evenly_chosen([], 4) == []
