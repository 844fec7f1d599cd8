"""A snapshot of layers whose gradients are given, as layers.parquet has it."""

from pandas import DataFrame


def snapshot(step: int, deltas: list[float], cosine: float = 0.5) -> DataFrame:
    """Layers from input to output; the output layer's δ is added and must not matter."""
    count = len(deltas) + 1
    return DataFrame(
        {
            "step": step,
            "layer": range(1, count + 1),
            "delta_rms": [*deltas, 123.0],
            "sample_cosine": [*[cosine] * len(deltas), 1.0],
        }
    )


ROLES = ("query", "key", "value", "attention output", "feed-forward 1", "feed-forward 2")


def blocks(step: int, deltas: list[float], distances: list[float], share: float = 0.5) -> DataFrame:
    """An encoder's layers, of blocks whose gradients and tokens are given, from input to output.

    Queries get `share` of the gradient of their block's other layers, keys as much.
    """
    rows = [{"name": "embedding", "delta_rms": 77.0, "grad_norm": 77.0, "sample_cosine": 1.0}]
    for number, (delta, distance) in enumerate(zip(deltas, distances, strict=True), start=1):
        for role in ROLES:
            gradient = delta * share if role in ("query", "key") else delta
            last = role == "feed-forward 2"
            tokens = {"rank_one_distance": distance, "token_cosine": 1 - distance}
            rows.append(
                {
                    "name": f"block{number}.{role}",
                    "block": number,
                    "role": role,
                    "delta_rms": gradient,
                    "grad_norm": gradient,
                    "sample_cosine": 0.5 if last else 1.0,
                    **(tokens if last else {}),
                }
            )
    rows.append({"name": "output", "delta_rms": 123.0, "grad_norm": 123.0, "sample_cosine": 1.0})
    table = DataFrame(rows).assign(step=step, layer=range(1, len(rows) + 1), kind="linear")
    return table.assign(role=table["role"].fillna(""))
