"""`normlab bench`."""

import json
import sys

import pytest

from normlab.cli import main


@pytest.mark.usefixtures("tiny")
@pytest.mark.slow
def test_the_command_prints_a_table_or_json(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["normlab", "bench", *words, "--seconds", "0.1"])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    code, out, _ = run("tiny", "other", "--threads", "1", "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert {"net", "threads", "variant", "ratio", "low", "high", "milliseconds", "rounds"} == set(
        rows[0]
    )
    assert {row["net"] for row in rows} == {"tiny", "other"}
    code, out, _ = run("tiny", "--threads", "1", "--profile")
    assert code == 0
    assert "grad_norm" in out
    assert out.count("bare: the textbook loop") == 1
    assert "own time" in out
    code, out, _ = run("tiny", "--threads", "1", "--quick")
    assert code == 0
    assert "no probes" not in out
    assert "rounds of tiny on 1 thread. So few rounds leave wide quartiles" in " ".join(out.split())
    code, _, err = run("tiny", "nonet")
    assert (code, err) == (2, "normlab: nonet: no such net; choices: tiny, other\n")
