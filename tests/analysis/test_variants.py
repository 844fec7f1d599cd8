"""A variant keeps its values; its name is only for reading."""

import math
from typing import Any

import pytest

from normlab.analysis import Variant, label, where
from normlab.analysis.frames import to_frame
from normlab.analysis.variants import brief_names, variant_keys, variants_of
from normlab.config import NORMS
from tests.analysis.sample import row


def variants(*overrides: tuple[str, ...]) -> list[Variant]:
    frame = to_frame([row(*chosen, seed=0) for chosen in overrides])
    return variants_of(frame, variant_keys(frame))


def test_variants_keep_their_values_and_facts() -> None:
    plain, residual = variants(("model=cnn", "norm=none"), ("model=resnet", "norm=bn"))
    assert plain.settings == (("norm", "none"), ("model.residual", False))
    assert (plain.name, plain.norm, plain.residual) == ("no-norm plain", "none", False)
    assert (residual.name, residual.norm, residual.residual) == ("bn residual", "bn", True)
    assert plain.rest == residual.rest == ()


def test_beside_its_key_a_norm_is_the_value_to_filter_by_and_in_a_name_it_reads_alone() -> None:
    """`none` under `norm` or after `norm=`; alone, `none plain` would be read as no net at all."""
    frame = to_frame([row(f"norm={norm}") for norm in ("none", "bn", "wn")])
    for variant in variants_of(frame, variant_keys(frame)):
        cell = label("norm", variant.norm)
        assert where(frame, [f"norm={cell}"])["norm"].tolist() == [variant.norm]
        assert variant.name == ("no-norm" if cell == "none" else cell)
        assert NORMS[cell].adjective in (None, variant.name)


def test_norm_and_skips_are_known_where_they_do_not_vary() -> None:
    fast, slow = variants(("norm=bn", "optimizer.lr=0.1"), ("norm=bn", "optimizer.lr=0.01"))
    assert (fast.name, slow.name) == ("lr=0.1", "lr=0.01")
    assert (fast.norm, fast.residual) == ("bn", False)
    assert fast.rest == (("optimizer.lr", 0.1),)
    (alone,) = variants(("norm=ln",))
    assert (alone.name, alone.settings, alone.norm) == ("every net", (), "ln")


def test_variants_that_differ_in_the_last_digits_have_names_of_their_own() -> None:
    found = variants(*((f"optimizer.lr={lr!r}", "norm=bn") for lr in (0.3, 0.1 + 0.2)))
    assert [variant.name for variant in found] == ["lr=0.3", "lr=0.30000000000000004"]


def test_keys_that_end_alike_are_named_whole() -> None:
    found = variants(
        *(
            (f"norm.momentum={norm}", f"optimizer.momentum={optimizer}", "norm=bn")
            for norm, optimizer in ((0.1, 0.9), (0.9, 0.1))
        )
    )
    assert found[0].name == "norm.momentum=0.1 optimizer.momentum=0.9"


def test_depth_and_seed_are_no_variant() -> None:
    runs = [row(f"model.depth={depth}", seed=seed) for depth in (8, 20) for seed in (0, 1)]
    frame = to_frame(runs)
    assert variant_keys(frame) == []
    assert len(set(variants_of(frame, []))) == 1


@pytest.mark.parametrize("absent", [None, math.nan])
def test_what_a_run_does_not_have_is_absent_however_it_is_written(absent: Any) -> None:
    frame = to_frame([row(seed=0), row(seed=1)])
    frame = frame.assign(**{"norm.eps": [absent, None]}, norm=[absent, None])
    first, second = variants_of(frame, ["norm.eps"])
    assert first == second
    assert (first.name, first.norm) == ("eps=–", None)


def test_sentences_name_a_variant_by_what_tells_it_from_the_others() -> None:
    settings = [
        ("norm=bn", "model.activation=relu", "optimizer.lr=0.1", "training.epochs=5"),
        ("norm=bn", "model.activation=relu", "optimizer.lr=0.1", "training.epochs=9"),
        ("norm=bn", "model.activation=tanh", "optimizer.lr=0.1", "training.epochs=5"),
        ("norm=bn", "model.activation=tanh", "optimizer.lr=0.3", "training.epochs=9"),
        ("norm=ln", "model.activation=tanh", "optimizer.lr=0.3", "training.epochs=5"),
    ]
    frame = to_frame(row(*words) for words in settings)
    found = variants_of(frame, variant_keys(frame))
    names = [brief_names(found)[variant] for variant in found]
    assert names == [
        "bn activation=relu epochs=5",
        "bn activation=relu epochs=9",
        "bn activation=tanh lr=0.1",
        "bn lr=0.3",
        "ln",
    ]
    few = to_frame(row(*words[:3]) for words in settings)
    found = variants_of(few, variant_keys(few))
    assert brief_names(found)[found[-1]] == "ln activation=tanh lr=0.3"
    assert set(brief_names(found).values()) == {variant.name for variant in found}
