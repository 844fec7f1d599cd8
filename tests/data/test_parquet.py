"""Parquet files as Hugging Face stores sets of images: shards, columns, what is wrong."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from normlab.errors import DataError
from tests.data.own_sets import own, png
from tests.data.test_data import CPU, load, one_line

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(file, values, labels, image="image", label="label", features=None, **options):
    """Images of one grey value each, in a column of structs."""
    encoded = [
        {"bytes": png(np.full((4, 4), v)) if isinstance(v, int) else v, "path": None}
        for v in values
    ]
    table = pa.table({image: pa.array(encoded, IMAGE), label: labels})
    if features:
        info = {"info": {"features": {name: {"_type": kind} for name, kind in features.items()}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, **options)


def shards(root, **changes):
    write(root / "train-00000-of-00002.parquet", [10, 20], [3, 5], **changes)
    write(root / "train-00001-of-00002.parquet", [30], [3], **changes)
    write(root / "test-00000-of-00001.parquet", [40], [5], **changes)
    return root


def loaded(root, **changes):
    return load(own("parquet", root, **changes), CPU)


def values(images):
    return (images[:, 0, 0, 0] * 255).round().tolist()


@pytest.mark.parametrize("place", ["", "data", "plain_text"])
def test_shards_in_order_wherever_the_repository_has_them(tmp_path, place):
    shards(tmp_path / place)
    (tmp_path / ".git").mkdir()
    got = loaded(tmp_path)
    assert values(got.train_images) == [10, 20, 30]
    assert got.train_labels.tolist() == [0, 1, 0]
    assert (values(got.test_images), got.test_labels.tolist()) == ([40], [1])
    assert (got.classes, got.shape) == (2, (1, 4, 4))


def test_files_of_a_folder_for_each_part_and_a_validation_part(tmp_path):
    write(tmp_path / "default/train/0000.parquet", [10, 20], [0, 1], row_group_size=1)
    write(tmp_path / "default/validation/0000.parquet", [30], [1])
    got = loaded(tmp_path)
    assert (values(got.train_images), values(got.test_images)) == ([10, 20], [30])


def test_columns_by_their_types_by_their_names_and_as_given(tmp_path):
    typed = {"photo": "Image", "kind": "ClassLabel", "who": "Value"}
    shards(tmp_path / "a", image="photo", label="kind", features=typed)
    pinned = own("parquet", tmp_path / "a").pinned()
    assert (pinned.image_column, pinned.label_column) == ("photo", "kind")
    hundred = {"img": "Image", "label": "ClassLabel", "fine_label": "ClassLabel"}
    shards(tmp_path / "b", image="img", features=hundred)
    pinned = own("parquet", tmp_path / "b").pinned()
    assert (pinned.image_column, pinned.label_column) == ("img", "label")
    shards(tmp_path / "c", image="photo", label="kind")
    given = own("parquet", tmp_path / "c", image_column="photo", label_column="kind")
    assert given.pinned().sha256 == pinned.sha256
    with pytest.raises(DataError) as error:
        own("parquet", tmp_path / "c", image_column="photo").pinned()
    file = tmp_path / "c/train-00000-of-00002.parquet"
    assert one_line(error) == (
        f"data.label_column=null: {file} has the columns photo, kind; give data.label_column one "
        "of them"
    )


def test_labels_as_text_and_images_as_bytes(tmp_path):
    labels = pa.array(["b", "a", "b"]).dictionary_encode()
    table = {"image": [png(np.full((4, 4), v)) for v in (1, 2, 3)], "label": labels}
    for part in ("train", "test"):
        pq.write_table(pa.table(table), tmp_path / f"{part}.parquet")
    assert loaded(tmp_path).train_labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        ([10, b"none"], [0, 1], "{}: image of row 1: no image that can be read (none of PNG"),
        (
            [10, None],
            [0, 1],
            "{}: image of row 1: holds no encoded image, bytes or a struct of byt",
        ),
        ([10, 20], [0, None], "{}: label has 1 empty labels"),
        ([10, 20], [0, -1], "{}: label has -1, which stands for no label; take the file away, and"),
        ([10, 20], [0.5, 1.5], "{}: label holds double; labels must be whole numbers or text"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, values, labels, message):
    root = shards(tmp_path)
    file = root / "train-00001-of-00002.parquet"
    write(file, values, labels)
    with pytest.raises(DataError) as error:
        own("parquet", root).pinned().load(CPU)
    assert one_line(error).startswith(message.format(file))


def test_folders_and_files_that_are_none(tmp_path):
    with pytest.raises(DataError) as error:
        own("parquet", tmp_path).pinned()
    assert one_line(error) == (
        f"data.root={tmp_path}: has no train-*.parquet; wanted are such and test-*.parquet"
    )
    for name in ("fine", "coarse"):
        shards(tmp_path / name)
    with pytest.raises(DataError) as error:
        own("parquet", tmp_path).pinned()
    assert one_line(error) == (
        f"data.root={tmp_path}: has coarse, fine, each with train-*.parquet; name one of them"
    )
    file = tmp_path / "fine/train-00000-of-00002.parquet"
    whole = file.read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-9] + b"\xff" * 9):
        file.write_bytes(content)
        with pytest.raises(DataError) as error:
            own("parquet", tmp_path / "fine").pinned()
        assert one_line(error).startswith(f"{file}: no Parquet file that can be read (")
