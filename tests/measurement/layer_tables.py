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
