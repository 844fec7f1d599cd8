from normlab.training import (
    LAYER_COLUMNS,
    METRIC_COLUMNS,
    OLDEST_METRIC_COLUMNS,
    Evaluation,
    LayerName,
    Measurement,
)


def test_the_columns_of_both_tables_and_their_order() -> None:
    """Files of every version have these."""
    assert (
        *("step", "epoch", "train_loss", "train_acc", "test_loss", "test_acc"),
        *("batch_loss", "lr", "seconds"),
    ) == OLDEST_METRIC_COLUMNS
    assert (
        *OLDEST_METRIC_COLUMNS,
        *("clip_factor", "probe_loss_train_mode", "probe_loss_eval_mode"),
    ) == METRIC_COLUMNS
    assert LAYER_COLUMNS == ("step", "layer", "name", "kind")


def test_an_evaluation_is_a_row() -> None:
    row = Evaluation(4, 0.5, 1.0, 0.25, 2.0, 0.125, 1.5, 0.1, 3.0, 0.5, 1.25, 2.25).as_row()
    assert tuple(row) == METRIC_COLUMNS
    assert list(row.values()) == [
        *(4, 0.5, 1.0, 0.25, 2.0, 0.125, 1.5, 0.1, 3.0),
        *(0.5, 1.25, 2.25),
    ]


def test_a_measurement_is_a_row_for_each_layer() -> None:
    layers = [LayerName(1, "hidden1", "linear"), LayerName(2, "output", "linear")]
    rows = Measurement(3, layers, {"delta_rms": [0.5, 0.25], "grad_norm": [7.0, 8.0]}).rows()
    assert rows == [
        {**about, "delta_rms": delta, "grad_norm": norm}
        for about, delta, norm in (
            ({"step": 3, "layer": 1, "name": "hidden1", "kind": "linear"}, 0.5, 7.0),
            ({"step": 3, "layer": 2, "name": "output", "kind": "linear"}, 0.25, 8.0),
        )
    ]
    assert all(tuple(row) == (*LAYER_COLUMNS, "delta_rms", "grad_norm") for row in rows)
