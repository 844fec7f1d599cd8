"""Rows as `series` gives them, and what is asked of the charts made of them."""

import itertools

from pandas import DataFrame

from normlab.show import Subject
from normlab.show.pictures import heatmap

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


def history(depth=110, steps=14):
    return DataFrame(
        [
            {"step": step**2, "layer": layer, "name": f"l{layer}", "value": 0.5**layer}
            for step in range(steps)
            for layer in range(1, depth)
        ]
    )


def marked_history(depth=110, steps=14):
    return heatmap.marked(history(depth, steps), "delta_rms")


def curve(values):
    return DataFrame(
        [
            {
                "variant": v,
                "depth": 8,
                "epoch": e,
                "value": y,
                "low": y,
                "high": y,
                "n": 1,
                "runs": 1,
            }
            for v in VARIANTS
            for e, y in enumerate(values)
        ]
    )


def errors(variants=VARIANTS, depths=(8,), value=0.5):
    return DataFrame(
        [
            {"variant": v, "depth": d, "x": d, "value": value, "low": 0.4, "high": 0.6, "n": 2}
            for v in variants
            for d in depths
        ]
    )


def factors(variants=VARIANTS, depths=(8,)):
    return profile(variants, depths).query("step == 0").assign(predicted=0.5)


def runs(variants):
    """Runs of variants whose names begin with norm and skips, as `with_variants` names them."""
    words = [name.split() for name in variants]
    rests = list(dict.fromkeys(tuple(rest) for _, _, *rest in words))
    return DataFrame(
        {
            "variant": variants,
            "hue": [norm.replace("no-norm", "none") for norm, *_ in words],
            "residual": [skips == "residual" for _, skips, *_ in words],
            "rest": [rests.index(tuple(rest)) for _, _, *rest in words],
            "ordered": all(len(rest) == 1 and rest[0].startswith("lr=") for rest in rests),
            "model": "cnn",
            "model.residual": [skips == "residual" for _, skips, *_ in words],
            "model.depth": 20,
            "data": "digits",
            "classes": 10,
            "steps": 110,
        }
    )


def subject(table, figure="delta_rms", variants=None):
    """What a table's picture is of, among all `variants` that share the colours."""
    drawn = list(dict.fromkeys(table["variant"]))
    return Subject(runs(drawn), figure, runs(variants) if variants else None)


def phases(depths=(8, 20, 56), rates=(0.01, 0.1)):
    """Nets that train at depths below 50 with the small rate and at the least with the large."""
    found = []
    for depth, rate in itertools.product(depths, rates):
        trains = depth < 50 if rate == rates[0] else depth == depths[0]
        found.append(
            {
                "variant": "bn plain",
                "x": depth,
                "y": rate,
                "verdict": "trains" if trains else "exploding",
                "agree": 2,
                "n": 2,
                "depth": 20 if rate == rates[0] else depths[0],
            }
        )
    return DataFrame(found)


def key_subject(*keys):
    return Subject(runs(["bn plain"]), keys=keys)


def run_subject(name="CNN-20", figure="delta_rms"):
    return Subject(runs(["bn plain"]).assign(name=name, seed=0), figure)


# -------------------------------------------------------------------- specifications


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
