"""Rows as `series` gives them, and what is asked of the charts made of them."""

import itertools

from pandas import DataFrame

from normlab.show import Subject

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
            {"variant": v, "depth": d, "value": value, "low": 0.4, "high": 0.6, "n": 2}
            for v in variants
            for d in depths
        ]
    )


def factors(variants=VARIANTS, depths=(8,)):
    return profile(variants, depths).query("step == 0").assign(predicted=0.5)


def runs(variants):
    """Runs of variants whose names begin with norm and skips, as `with_variants` names them."""
    words = [name.split() for name in variants]
    return DataFrame(
        {
            "variant": variants,
            "norm": [norm.replace("no-norm", "none") for norm, *_ in words],
            "residual": [skips == "residual" for _, skips, *_ in words],
            "plain_variant": [len(parts) == 2 for parts in words],
        }
    )


def subject(table, figure="delta_rms", variants=None):
    """What a table's picture is of, among all `variants` that share the colours."""
    drawn = list(dict.fromkeys(table["variant"]))
    return Subject(runs(drawn), figure, runs(variants) if variants else None)


def run_subject(name="CNN-20", figure="delta_rms"):
    return Subject(DataFrame({"name": [name], "seed": [0]}), figure)


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
