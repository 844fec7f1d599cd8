"""Charts as data: what they encode, on which scales, and what they do with what cannot be drawn."""

import itertools
import json
import math

import pandas
import pytest
from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.show import charts

VARIANTS = ("no-norm plain", "bn plain", "bn residual", "ln plain")


def profile(variants=VARIANTS, depths=(8, 20), value=None, seeds=2):
    rows = [
        {
            "variant": variant,
            "depth": depth,
            "hidden": depth - 1,
            "step": step,
            "place": place,
            "layer": layer,
            "value": 10.0 ** -(layer % 5),
            "low": 10.0 ** -(layer % 5) / 2,
            "high": 10.0 ** -(layer % 5) * 2,
            "n": seeds,
            "zeros": 0,
            "broken": 0,
        }
        for variant in variants
        for depth in depths
        for step, place in ((0, "init"), (100, "end"))
        for layer in range(1, depth)
    ]
    table = DataFrame(rows)
    return table if value is None else table.assign(value=value, low=value, high=value)


def spec(chart):
    return chart.to_dict()


def encodings(found):
    """Every encoding anywhere in a specification."""
    if isinstance(found, dict):
        if "encoding" in found:
            yield found["encoding"]
        for value in found.values():
            yield from encodings(value)
    elif isinstance(found, list):
        for value in found:
            yield from encodings(value)


def colours(found):
    for encoding in encodings(found):
        scale = encoding.get("color", {}).get("scale", {})
        if "domain" in scale:
            return dict(zip(scale["domain"], scale["range"], strict=True))
    return {}


def rows(found):
    return list(itertools.chain.from_iterable(found.get("datasets", {}).values()))


def test_gradients_stand_on_a_log_scale_of_at_least_four_decades():
    for table in (profile(), profile(value=0.1)):
        drawn = spec(charts.gradients(table, "delta_rms"))
        scales = [e["y"]["scale"] for e in encodings(drawn) if "scale" in e.get("y", {})]
        assert scales
        for scale in scales:
            assert scale["type"] == "log"
            low, high = scale["domain"]
            assert math.log10(high / low) >= 4 - 1e-9


def test_gradients_show_init_and_end_a_panel_a_depth():
    drawn = spec(charts.gradients(profile(), "delta_rms"))
    assert drawn["facet"]["column"]["sort"] == ["at init", "at the end"]
    assert drawn["facet"]["row"]["sort"] == ["depth 8", "depth 20"]
    assert {row["place"] for row in rows(drawn)} == {"init", "end"}


def test_a_variant_has_one_colour_wherever_it_is_drawn():
    """Colour is the norm, the dash is the skips, whatever else is in the picture."""
    table = profile()
    some = profile(variants=("bn residual", "bn plain"))
    errors = DataFrame(
        {"variant": VARIANTS, "depth": 8, "value": 0.5, "low": 0.4, "high": 0.6, "n": 2}
    )
    found = [
        colours(spec(charts.gradients(table, "delta_rms"))),
        colours(spec(charts.gradients(some, "delta_rms"))),
        colours(spec(charts.gradient_history(some, "delta_rms"))),
        colours(spec(charts.depth(errors))),
    ]
    for other in found[1:]:
        assert {name: found[0][name] for name in other} == other
    assert found[0]["bn plain"] == found[0]["bn residual"] != found[0]["ln plain"]
    assert len({*charts.NORM_COLOURS.values()}) == len(charts.NORM_COLOURS)


def test_variants_that_differ_in_more_have_colours_of_their_own():
    names = [f"bn plain lr={lr}" for lr in range(charts.MOST_VARIANTS)]
    found = colours(spec(charts.gradients(profile(variants=names, depths=(8,)), "delta_rms")))
    assert len(set(found.values())) == charts.MOST_VARIANTS
    many = profile(variants=[*names, "bn plain lr=99"], depths=(8,))
    with pytest.raises(ConfigError, match=r"13 variants are more than .*--where norm=bn,ln"):
        charts.gradients(many, "delta_rms")


def test_variants_keep_their_colours_where_a_picture_holds_only_some():
    names = [f"bn plain lr={lr}" for lr in range(6)]
    all_of_them = colours(spec(charts.gradients(profile(names, (8,)), "delta_rms", names)))
    for draw in (
        lambda table: charts.gradients(table, "delta_rms", names),
        lambda table: charts.gradient_history(table, "delta_rms", names),
        lambda table: charts.curves(table.assign(epoch=table["layer"]), "train_acc", names),
        lambda table: charts.depth(table, names),
        lambda table: charts.theory(table.assign(predicted=0.5), names),
    ):
        found = colours(spec(draw(profile(names[3:], (8,)))))
        assert found == {name: all_of_them[name] for name in names[3:]}
    assert len(set(all_of_them.values())) == 6


def test_theory_tells_skips_apart_by_shape_and_dash():
    table = profile(("bn plain", "bn residual"), (8,)).assign(predicted=0.5)
    found = list(encodings(spec(charts.theory(table))))
    for channel in ("shape", "strokeDash"):
        (scale,) = [e[channel]["scale"] for e in found if channel in e]
        assert scale["domain"] == ["bn plain", "bn residual"]
        assert scale["range"][0] != scale["range"][1]


def test_a_gradient_of_0_or_infinity_stands_at_the_edge():
    table = profile(depths=(8,))
    table.loc[table["layer"] == 3, ["value", "low", "high", "n", "zeros"]] = [math.nan] * 3 + [0, 2]
    table.loc[table["layer"] == 5, ["value", "low", "high", "n", "broken"]] = [math.nan] * 3 + [
        0,
        2,
    ]
    drawn = spec(charts.gradients(table, "delta_rms"))
    edges = [row for row in rows(drawn) if row.get("edge")]
    assert {(row["layer"], row["edge"]) for row in edges} == {(3, "0"), (5, "not finite")}
    least = min(row["low"] for row in rows(drawn) if row.get("low"))
    assert {row["value"] for row in edges if row["edge"] == "0"} == {least}
    json.dumps(drawn, allow_nan=False)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_gradients_without_any_finite_value_are_refused(value):
    table = profile(value=math.nan).assign(zeros=int(value == 0), broken=int(value != 0))
    with pytest.raises(ConfigError, match="every value is 0 or not finite"):
        charts.gradients(table, "delta_rms")


def history(depth=110, steps=14):
    return DataFrame(
        [
            {"step": step**2, "layer": layer, "name": f"l{layer}", "value": 0.5**layer}
            for step in range(steps)
            for layer in range(1, depth)
        ]
    )


def test_a_heatmap_of_110_layers_labels_some():
    drawn = spec(charts.heatmap(history(), "delta_rms", "CNN-110"))
    (encoding,) = encodings(drawn)
    ticks = encoding["y"]["axis"]["values"]
    assert ticks[0] == 1
    assert len(ticks) <= 25
    assert "log" in json.dumps(encoding["color"])


def test_a_heatmap_marks_what_has_no_logarithm():
    table = history(20, 4)
    table.loc[table["layer"] == 1, "value"] = 0.0
    table.loc[table["layer"] == 2, "value"] = math.inf
    drawn = spec(charts.heatmap(table, "delta_rms", "CNN-20"))
    assert {row["note"] for row in rows(drawn)} == {"", "exactly 0", "not finite"}
    assert "red" in drawn["title"]["subtitle"]
    with pytest.raises(ConfigError, match="0 or not finite in every layer"):
        charts.heatmap(table.assign(value=0.0), "delta_rms", "CNN-20")


def curve(metric_values):
    return DataFrame(
        [
            {"variant": v, "depth": 8, "epoch": e, "value": y, "low": y, "high": y, "n": 1}
            for v in VARIANTS
            for e, y in enumerate(metric_values)
        ]
    )


def test_accuracy_goes_from_0_to_1_and_loss_is_logarithmic():
    accuracy = spec(charts.curves(curve([0.1, 0.5, 0.9]), "train_acc"))
    loss = spec(charts.curves(curve([2.3, 0.5, 0.01]), "train_loss"))
    zero = spec(charts.curves(curve([2.3, 0.5, 0.0]), "train_loss"))

    def scale(drawn):
        return next(e["y"]["scale"] for e in encodings(drawn) if "scale" in e.get("y", {}))

    assert scale(accuracy)["domain"] == [0, 1]
    assert scale(loss)["type"] == "log"
    assert scale(zero)["type"] == "linear"
    with pytest.raises(ConfigError, match="train_loss: is finite in no run"):
        charts.curves(curve([math.nan, math.nan]), "train_loss")


def test_the_slider_goes_through_every_snapshot():
    drawn = spec(charts.gradient_history(profile(), "delta_rms"))
    (slider,) = [p for p in drawn["params"] if p["name"] == "snapshot"]
    assert (slider["bind"]["min"], slider["bind"]["max"]) == (0, 1)
    assert "datum.snapshot == snapshot" in json.dumps(drawn)
    assert {row["snapshot"] for row in rows(drawn)} == {0, 1}


def test_long_histories_are_thinned_and_say_so():
    table = profile(VARIANTS, (110,))
    steps = [table.assign(step=step) for step in range(100)]
    drawn = spec(
        charts.gradient_history(
            pandas.concat(steps, ignore_index=True).drop_duplicates(), "delta_rms"
        )
    )
    assert len(rows(drawn)) <= charts.MOST_ROWS
    (slider,) = [p for p in drawn["params"] if p["name"] == "snapshot"]
    kept = slider["bind"]["max"] + 1
    assert drawn["title"]["subtitle"].endswith(f"; {kept} of 100 snapshots")
    assert {row["snapshot"] for row in rows(drawn)} == set(range(kept))
    assert {0, 99} < {row["step"] for row in rows(drawn)}


def test_at_most_four_depths_are_panels_and_the_picture_says_so():
    drawn = spec(charts.gradients(profile(depths=range(8, 62, 6)), "delta_rms"))
    panels = drawn["facet"]["row"]["sort"]
    assert len(panels) == charts.MOST_DEPTHS
    assert (panels[0], panels[-1]) == ("depth 8", "depth 56")
    assert drawn["title"]["subtitle"].endswith("; 4 of 9 depths")
    assert "depths" not in spec(charts.gradients(profile(), "delta_rms"))["title"]["subtitle"]


PICTURES = {
    "gradients": lambda: charts.gradients(profile(), "delta_rms"),
    "one run": lambda: charts.gradients(profile(VARIANTS[:1], (8,), seeds=1), "delta_rms"),
    "deep": lambda: charts.gradients(profile(depths=(110,)), "delta_rms"),
    "history": lambda: charts.gradient_history(profile(), "delta_rms"),
    "heatmap": lambda: charts.heatmap(history(20, 3), "delta_rms", "a <b> & c"),
    "curves": lambda: charts.curves(curve([0.1, 0.9]), "test_acc"),
    "theory": lambda: charts.theory(
        profile(VARIANTS[:2], (8,)).query("step == 0").assign(predicted=0.5)
    ),
}


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures_are_drawn(name, form, tmp_path):
    file = tmp_path / f"picture.{form}"
    charts.save(PICTURES[name](), file)
    head = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[form]
    content = file.read_bytes()
    assert content.startswith(head)
    assert len(content) > 5000
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_a_page_holds_all_it_needs(tmp_path):
    file = tmp_path / "picture.html"
    charts.save(PICTURES["curves"](), file)
    page = file.read_text()
    assert "<script src=" not in page
    assert "vegaEmbed" in page


def test_nothing_in_a_page_ends_its_script(tmp_path):
    file = tmp_path / "picture.html"
    title = "</script><img src=x onerror=alert(1)>"
    charts.save(charts.heatmap(history(20, 3), "delta_rms", title), file)
    own = file.read_text().split("<script>")[0]
    assert "<img" not in own
    assert "\\u003c/script" in own


def test_depth_without_any_finite_error_is_refused():
    table = profile().query("step == 0 and layer == 1").assign(value=math.nan)
    with pytest.raises(ConfigError, match="finite in no run"):
        charts.depth(table)


def test_other_suffixes_are_refused(tmp_path):
    for name, shown in (("a.jpg", ".jpg"), ("a", "a file without a suffix")):
        with pytest.raises(ConfigError, match=f"cannot write {shown}; choices: .png, .svg"):
            charts.save(PICTURES["curves"](), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
