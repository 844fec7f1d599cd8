"""The topics of `normlab explain` name every part that the program has, and only what it has."""

import re
import shlex
from pathlib import Path

import pytest

import normlab
from normlab.claims import find_claims
from normlab.claims.expressions import FUNCTIONS
from normlab.claims.reading import ShortClaim
from normlab.config import LAUNCHERS, PROBES, compose, grids, size
from normlab.config.files import group_choices
from normlab.measurement import COLLAPSED_COSINE, EXPLODING_RATIO, VANISHING_RATIO
from normlab.measurement.causes import RULES
from normlab.measurement.figures import TRAINED_SKILL, TrainingEnd
from normlab.runs import LOCK_FILE, Summary
from normlab.runs import folder as run_files
from normlab.show import PICTURES
from normlab.training import METRIC_COLUMNS
from normlab.vocabulary import DIAGNOSES
from tests.measurement.failing import figures

TOPICS = Path(normlab.__file__).parent / "cli" / "topics"
TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in TOPICS.glob("*.md")}
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def words(topic: str) -> set[str]:
    """What a topic has in backquotes."""
    return set(re.findall(r"`([^`\n]+)`", TEXTS[topic]))


def section(topic: str, title: str) -> str:
    return TEXTS[topic].split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("topic", TEXTS)
def test_a_topic_has_a_title_and_says_what_it_is_about_in_a_line(topic: str) -> None:
    title, about, _ = TEXTS[topic].split("\n\n", 2)
    assert title.lower() == f"# {topic}"
    assert "\n" not in about
    assert about.endswith(".")
    assert len(about) <= 85


@pytest.mark.parametrize("topic", TEXTS)
def test_topics_name_each_other(topic: str) -> None:
    flat = " ".join(TEXTS[topic].split())
    assert set(re.findall(r"normlab explain (\w+)", flat)) <= TEXTS.keys() - {topic}


def test_the_readme_names_every_topic() -> None:
    assert set(re.findall(r"\]\(normlab/cli/topics/(\w+)\.md\)", README)) == TEXTS.keys()


def test_every_probe_is_a_measurement() -> None:
    assert set(PROBES) <= words("measurements")


def test_diagnoses_and_their_thresholds() -> None:
    table = section("verdicts", "A network's diagnosis")
    assert set(DIAGNOSES) <= words("verdicts")
    for diagnosis in DIAGNOSES.values():
        assert not diagnosis.mark or f"`{diagnosis.mark}` {diagnosis.name}" in " ".join(
            table.split()
        )
    assert f"R < {VANISHING_RATIO:g} |" in table
    assert f"R > {EXPLODING_RATIO:g} |" in table
    assert f"cosine in the last hidden layer is above {COLLAPSED_COSINE:g}:" in table
    assert f"at least {100 * TRAINED_SKILL:g} % of the way" in table


def test_causes_in_the_order_of_the_rules_with_their_thresholds() -> None:
    table = section("diagnosis", "The causes")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE)
    assert [cause for cause, _ in rows] == [*(rule.cause for rule in RULES), "unknown"]
    # Settings under which every way of every rule is there to be looked at.
    deep = ("norm=bn", "model=mlp", "model.depth=20", "model.activation=identity")
    clipped = ("norm=none", "model=mlp", "training.clip_norm=1", "model.bias_std=1")
    erased = ("norm=in", "norm.position=after", "model=cnn")
    encoder = ("model=encoder", "norm=ln")
    ended = TrainingEnd("diverged", 7, 10, 11, 10_000)
    for rule, (_, when) in zip(RULES, rows, strict=False):
        for overrides in (deep, clipped, erased, encoder):
            for way in rule.ways(figures(*overrides, ending=ended)):
                for fact in way:
                    told = f"{fact.threshold:g}"
                    fixed = fact.figure in UNTOLD or fact.threshold in (0, 1)
                    assert fixed or re.search(rf"(?<![\d.]){re.escape(told)}(?!\d)", when), fact
    assert "0.01 of the largest in the last quarter" in " ".join(TEXTS["diagnosis"].split())


# What rows say without a number, or with the next whole one.
UNTOLD = {"loss or gradient", "hidden layers without skips"}


def test_files_and_columns_and_keys() -> None:
    files = {v for name, v in vars(run_files).items() if name.endswith("_FILE")} | {LOCK_FILE}
    assert files | set(METRIC_COLUMNS) <= words("files")
    stated = words("files")
    states = {word.removesuffix("*") for word in stated if word.endswith("_*")}
    keys = {field.alias or name for name, field in Summary.model_fields.items()}
    known = {
        key
        for key in keys
        for when in ("init", "first_epoch", "end")
        if key.removesuffix(when) in states
    }
    assert keys - known <= stated


def test_groups_and_their_choices() -> None:
    table = {
        row[1]: set(re.findall(r"`(\w+)`", row[2]))
        for row in re.finditer(r"^\| `(\w+)` \| (.*) \|$", TEXTS["settings"], re.MULTILINE)
    }
    groups = {g: set(found) for g, found in group_choices().items() if g != "runtime"}
    experiments = groups.pop("experiment")
    assert {x for x in experiments if not re.match(r"C\d\d", x)} <= words("settings")
    assert groups.keys() == table.keys() - {"experiment"}
    for group, choices in groups.items():
        assert choices <= table[group]


def test_pictures_and_launchers() -> None:
    assert set(PICTURES) <= words("pictures")
    assert set(LAUNCHERS) <= words("sweeps")


def test_the_claim_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXTS["claims"], re.DOTALL)
    file = tmp_path / "mine.yaml"
    file.write_text(example, encoding="utf-8")
    (claim,) = find_claims([str(file)])
    assert claim.small.measures[0].gate is not None
    assert set(ShortClaim.model_fields) | set(FUNCTIONS) <= words("claims")


def test_the_files_of_ones_own_are_some(tmp_path: Path) -> None:
    model, experiment = re.findall(r"```yaml\n(.*?)```", TEXTS["settings"], re.DOTALL)
    for name, text in (("model/wide", model), ("experiment/question", experiment)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert compose(["model=wide"], tmp_path).model.width == 512
    assert size(grids(["experiment=question"], tmp_path)) == 12


def unfenced(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """The settings of every `normlab run` and `sweep` that a topic or the README shows."""
    found = []
    for text in (*TEXTS.values(), README):
        lines = [line for line in text.splitlines() if line.startswith("$ ")]
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", unfenced(text))]
        for shown in (*lines, *spans):
            found += re.findall(r"normlab (?:run|sweep) ([^#|]*=[^#|]*)", shown)
    return sorted({settings.split(" --")[0].strip() for settings in found})


@pytest.mark.parametrize("settings", commands())
def test_what_is_shown_is_a_grid(settings: str) -> None:
    assert size(grids(shlex.split(settings))) >= 1
