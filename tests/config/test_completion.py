import pytest

from normlab.config import complete_override


@pytest.mark.parametrize(
    ("words", "incomplete", "some"),
    [
        # zsh and fish: one word
        ([], "norm=", {"norm=bn", "norm=none", "norm=ln"}),
        ([], "norm=b", {"norm=bn"}),
        ([], "nor", {"norm=", "norm."}),
        # an only answer goes on to its values, or to its default
        ([], "model.dep", {"model.depth=", "model.depth=20"}),
        ([], "model.act", {"model.activation=relu", "model.activation=tanh"}),
        ([], "schedule.", {"schedule.warmup_steps=", "schedule.name="}),
        ([], "train", {"training.epochs=", "training.steps="}),
        ([], "model.block=p", {"model.block=post", "model.block=pre"}),
        (["model=mlp"], "model.width", {"model.width="}),
        # bash: the equals sign is a word of its own
        (["norm"], "", {"bn", "none"}),
        (["norm", "="], "b", {"bn"}),
        (["norm", "="], "", {"bn", "none"}),
        (["model", "=", "mlp", "norm", "="], "l", {"ln"}),
        # several values
        ([], "norm=bn,", {"norm=bn,none", "norm=bn,ln"}),
        ([], "norm=bn,ln,n", {"norm=bn,ln,none"}),
        (["norm", "="], "bn,l", {"bn,ln"}),
    ],
)
def test_completes(words: list[str], incomplete: str, some: set[str]) -> None:
    found = complete_override(words, incomplete)
    assert some <= set(found)
    assert all(word.startswith(incomplete) for word in found)


def test_no_value_comes_twice() -> None:
    assert complete_override([], "norm=bn,ln,b") == []
    assert complete_override([], "model.depth=") == ["model.depth=", "model.depth=20"]
    assert complete_override([], "model.depth=8,") == ["model.depth=8,20"]


@pytest.mark.parametrize("words", [["model=mlp"], ["model", "=", "mlp"]])
def test_keys_are_those_of_the_chosen_groups(words: list[str]) -> None:
    assert "model.shortcut=A" in complete_override([], "model.s")
    assert complete_override(words, "model.s") == []


@pytest.mark.parametrize("incomplete", ["zzz", "norm=zzz", "zzz=", "a.b=c", "==", "."])
def test_nothing_to_complete(incomplete: str) -> None:
    assert complete_override(["run", "broken=[", "norm=zzz"], incomplete) == []
