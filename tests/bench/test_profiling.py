"""Where a step's time goes."""

from normlab.bench import profile


def test_the_profile_shares_out_the_step(tiny):
    rows = profile(tiny, steps=3)
    assert sum(row.share for row in rows) <= 1 + 1e-9
    assert rows == sorted(rows, key=lambda row: -row.share)
    assert any("mm" in row.operation for row in rows)
