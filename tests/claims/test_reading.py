"""Claims of a person's own, in the short form and the full one."""

import json
import re

import pytest

from normlab.claims import CLAIMS, find_claims, judge_runs, plan_claims
from normlab.claims.reading import read_claim
from normlab.errors import ConfigError
from normlab.runs import Finished, execute
from tests.claims.doctored import MINE, write_run
from tests.conftest import LAUGHS, TINY


def own_claim(tmp_path, text=MINE):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("gap", "verdict"), [(0.01, "PASS"), (0.03, "FAIL"), (-0.03, "FAIL")])
def test_a_claim_of_ones_own_is_judged_like_any(tmp_path, gap, verdict):
    (claim,) = find_claims([str(own_claim(tmp_path))])
    _, runs = plan_claims([claim], "small", [f"output.root={tmp_path}"])
    assert {config.output.experiment for config in runs["mine"]} == {"mine"}
    for config in runs["mine"]:
        write_run(config, {"train_acc": 0.9 if config.norm.name == "bn" else 0.9 - gap})
    found = judge_runs(claim, "small", runs["mine"])
    assert (found.verdict, found.n) == (verdict, 3)
    assert found.measured[0].value == pytest.approx(gap)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("metric:", "metrics:"), "metrics: no such key; choices: id, statement"),
        (("gate: [-0.02, 0.02]", ""), "gate is missing"),
        (("[-0.02, 0.02]", "[0.02, -0.02]"), "low is above high"),
        (("[-0.02, 0.02]", "0.02"), r"gate.metric=0.02: must be \[low, high\]"),
        (("[-0.02, 0.02]", "{other: [0, 1]}"), "gate other: there is no such metric"),
        (
            ('experiment: [model=mlp, "norm=bn,ln", "seed=range(3)"]', "experiment: 3"),
            "experiment=3: must be a config's name or a list of overrides",
        ),
        (
            ('experiment: [model=mlp, "norm=bn,ln", "seed=range(3)"]', "experiment:"),
            "experiment=null: must be a config's name or a list of overrides",
        ),
        ((MINE, "- a\n- list\n"), "must be a mapping"),
        ((MINE, "statement: [\n"), "not valid YAML"),
        ((MINE, "three\n"), "must be a mapping"),
        ((MINE, LAUGHS), "its anchors stand for more than 500,000 characters"),
        ((MINE, "a: " + "x" * 70_000), "too large, above 65,536 bytes"),
        (("gate:", "statistic: mode\ngate:"), "statistic=mode: no such choice; choices: mean"),
        (("gate:", "id: c14\ngate:"), "id=c14: must be letters.*no id of normlab's own"),
        (("gate:", "id: ../up\ngate:"), "id=../up: must be letters"),
        (("train_acc(", "trian_acc("), "trian_acc: no such metric"),
    ],
)
def test_bad_claim_files_get_a_clear_line(tmp_path, change, says):
    file = own_claim(tmp_path, MINE.replace(*change))
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: .*{says}") as error:
        read_claim(file)
    assert "\n" not in str(error.value)


def test_a_claim_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="C99: no such claim; choices: C01, C02"):
        find_claims(["C99"])
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        find_claims(["nowhere.yaml"])


# ---------------------------------------------------------------------------- the full form

FULL = f"""
title: BatchNorm and LayerNorm both train
statement: Both end above chance, or not.
source: a test
small:
  about: tiny networks
  experiment: {json.dumps([*TINY, "norm=bn,ln", "seed=range(2)"])}
  measures:
    - &gap
      name: gap
      value: &expression train_acc("norm=bn") - train_acc("norm=ln")
      gate: [-1, 1]
      form: points
    - name: seeds with this sign
      measure: above_zero
      expression: *expression
      form: count
    - name: drift
      measure: drift
      runs: ["norm=bn"]
      gate: [0, null]
    - [*gap]
    - claim: C04
"""


def test_a_new_claim_is_one_file_and_its_runs_are_made_and_judged(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(FULL.replace("    - claim: C04\n", ""))
    (claim,) = find_claims([str(file)])
    assert (claim.id, claim.file, claim.small.seconds) == ("tiny", file, 1.0)
    planned, runs = plan_claims([claim], "small", [f"output.root={tmp_path}"])
    assert len(planned.configs) == 4
    for config in planned.configs:
        *_, last = execute(config)
        assert isinstance(last, Finished)
    found = judge_runs(claim, "small", runs["tiny"])
    assert (found.verdict, found.reason, found.n) == ("PASS", "", 2)
    gap, sign, drift, again = found.measured
    assert gap == again
    assert -1 <= gap.value <= 1
    assert sign.value in (0, 0.5, 1)
    assert 0 < drift.value < 10


def test_measures_of_another_claim_are_taken_over(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(FULL)
    assert read_claim(file).small.measures[-2:] == CLAIMS["C04"].small.measures


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("source: a test", ""), "source is missing; needed: id, title, statement, source, small"),
        (("about:", "abut:"), "small.abut: no such key; choices: about, experiment"),
        (("form: count", "from: count"), "seeds with this sign: measure=above_zero: from: no such"),
        (("form: points", "from: points"), "small.measures.0.from: no such key; choices: name, "),
        (("form: points", "form: feet"), "small.measures.0.form=feet: no such choice; choices: nu"),
        (("measure: drift", "measure: drfit"), "measure=drfit: no such choice; .*did you mean"),
        (("expression: *expression", ""), "expression is missing; needed: expression"),
        (("expression: *expression", "expression: trian"), "trian: no such metric"),
        (("gate: [-1, 1]", "gate: [1, -1]"), r"small.measures.0.gate=\[1, -1\]: low is above"),
        (("expression: *expression", "arguments: 3"), "arguments stand beside the other keys"),
        (("gate: [-1, 1]", "gate: [true, 1]"), r"must be \[low, high\]"),
        (("gate: [-1, 1]", "measure: drift"), "gap: must have either a value"),
        (("claim: C04", "claim: C99"), "C99: no such claim; choices: C01"),
        (
            ("about: tiny", "demonstration: softmax\n  about: tiny"),
            "an experiment or a demo",
        ),
        (
            ("about: tiny", "seconds: soon\n  about: tiny"),
            "small.seconds=soon: must be a finite num",
        ),
        (
            ("about: tiny", "diverging: maybe\n  about: tiny"),
            "diverging=maybe: must be true or fal",
        ),
        (("- [*gap]", "- {<<: *gap, gate: [0, 1]}"), "name=gap: another measure has it"),
    ],
)
def test_mistakes_in_the_full_form_get_a_clear_line(tmp_path, change, says):
    file = tmp_path / "tiny.yaml"
    assert change[0] in FULL
    file.write_text(FULL.replace(*change, 1))
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: .*{says}") as error:
        read_claim(file)
    assert "\n" not in str(error.value)


SHOWN = """
title: t
statement: s
source: a test
small:
  about: numbers
  demonstration: softmax
  measures: [{name: m, value: train_acc}]
"""


def test_a_demonstration_that_is_not_there_is_said_before_anything_is_run(tmp_path):
    text = SHOWN.replace("softmax", "sotfmax").replace("value: train_acc", "measure: demonstrated")
    claim = read_claim(own_claim(tmp_path, text.replace("}]", ", figure: sum}]")))
    with pytest.raises(ConfigError, match="demonstration=sotfmax: no such choice; choices"):
        plan_claims([claim], "small")


def test_a_demonstration_has_no_runs_for_an_expression(tmp_path):
    with pytest.raises(ConfigError, match="m: value=train_acc: a demonstration has no runs"):
        read_claim(own_claim(tmp_path, SHOWN))
