"""Folders of images: ImageFolder's convention, decoding, and what is wrong with a file."""

import builtins
import os

import numpy as np
import pytest
from PIL import Image

from normlab.errors import ConfigError, DataError
from tests.data.own_sets import own, png, put
from tests.data.test_data import CPU, load, one_line


def grey(value, height=4, width=4):
    return np.full((height, width), value, np.uint8)


def two_classes(root, **changes):
    images = {
        "train/cat/a.png": png(grey(10)),
        "train/cat/b.png": png(grey(20)),
        "train/dog/a.png": png(grey(30)),
        "test/cat/a.png": png(grey(40)),
        "test/dog/a.png": png(grey(50)),
    }
    return put(root, {**images, **changes})


def loaded(root, **changes):
    return load(own("folder", root, **changes), CPU)


def values(images):
    return (images[:, 0, 0, 0] * 255).round().tolist()


def test_a_folder_for_each_class_in_order(tmp_path):
    root = two_classes(
        tmp_path,
        **{
            "train/dog/deeper/B.JPEG": png(grey(60), "JPEG"),
            "train/cat/.hidden.png": b"none",
            "train/.cache/x.png": b"none",
            "train/cat/notes.txt": b"none",
            "train/readme.md": b"none",
        },
    )
    got = loaded(root)
    assert values(got.train_images) == [10, 20, 30, 60]
    assert got.train_labels.tolist() == [0, 0, 1, 1]
    assert values(got.test_images) == [40, 50]
    assert (got.test_labels.tolist(), got.classes, got.shape) == ([0, 1], 2, (1, 4, 4))


def test_a_class_without_test_images_and_other_names_of_the_test_part(tmp_path):
    root = two_classes(tmp_path)
    (root / "test/dog/a.png").unlink()
    assert loaded(root).test_labels.tolist() == [0]
    (root / "test").rename(root / "val")
    assert loaded(root).test_labels.tolist() == [0]
    put(root, {"test/dog/a.png": png(grey(1))})
    assert loaded(root).test_labels.tolist() == [1]


def test_classes_alone_need_a_share_for_testing(tmp_path):
    root = put(tmp_path / "shots", {f"{c}/{i}.png": png(grey(i)) for c in "ab" for i in range(10)})
    with pytest.raises(ConfigError, match=r"data.test_share=null: shots has no test part; data.te"):
        own("folder", root).pinned()
    got = own("folder", root, test_share=0.3).pinned().load(CPU)
    assert got.test_labels.tolist() == [0] * 3 + [1] * 3
    assert len(got.train_labels) == 14


def test_colour_is_that_of_the_files_unless_it_is_given(tmp_path):
    root = two_classes(tmp_path)
    assert own("folder", root).pinned().colour is False
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    put(root, {"train/dog/z.png": png(red)})
    pinned = own("folder", root).pinned()
    assert (pinned.colour, pinned.shape) == (True, (3, 4, 4))
    got = loaded(root).train_images
    assert (got[3, :, 0, 0] * 255).round().tolist() == [200, 0, 0]
    assert values(loaded(root, colour=False).train_images)[3] == 60  # 0.299 of red


def test_an_image_is_scaled_to_its_shorter_side_and_cut_to_the_middle(tmp_path):
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 200
    wide[::2, 8:16] = 100  # averages to 150 where it is smoothed
    root = two_classes(tmp_path, **{"train/cat/a.png": png(wide)})
    got = loaded(root, size=4).train_images
    assert got.shape == (3, 1, 4, 4)
    middle = (got[0, 0] * 255)[1:3, 1:3]
    assert middle.sub(150).abs().max() < 8
    assert own("folder", root, size=4).pinned().shape == (1, 4, 4)
    assert (loaded(root, size=7).train_images[1] * 255).round().unique().tolist() == [20]


def test_a_camera_s_rotation_is_made(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:, :4] = 255
    turned = png(pixels, "JPEG", exif=exif, quality=100)
    got = loaded(
        put(tmp_path, {f"{part}/{c}/a.jpg": turned for part in ("train", "test") for c in "ab"})
    )
    assert got.shape == (1, 8, 4)
    assert got.train_images[0, 0, :3].min() > 0.9
    assert got.train_images[0, 0, 5:].max() < 0.1


# A few bytes that say they are 10 000×10 000 pixels.
BOMB = b"P5 10000 10000 255\n" + bytes(100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train/cat/c.png": b"no image"},
            "{}/train/cat/c.png: no image that can be read (none of",
        ),
        ({"train/cat/c.png": b""}, "{}/train/cat/c.png: no image that can be read (none of PNG, J"),
        (
            {"train/cat/c.png": png(np.random.RandomState(0).randint(256, size=(64, 64)))[:2000]},
            "{}/train/cat/c.png: no image that can be read (",
        ),
        (
            {"train/cat/c.png": BOMB},
            "{}/train/cat/c.png: no image that can be read (Image size (100000000 pixels) exceeds",
        ),
        (
            {"train/cat/c.png": png(grey(1, 5, 4))},
            "{}/train/cat/c.png: has 4×5 pixels, the first image 4×4; data.size=4 makes all alike",
        ),
        (
            {"test/emu/a.png": png(grey(1))},
            "data.root={}: the test part has the class emu, of which the training part has no sam",
        ),
        ({"train/emu/a.txt": b""}, "{}/train/emu: has no image; put some there or take it away"),
    ],
)
def test_what_is_wrong_with_an_image_is_told_with_its_path(tmp_path, changes, message):
    root = two_classes(tmp_path / "photos", **changes)
    with pytest.raises(DataError) as error:
        own("folder", root).pinned().load(CPU)
    assert one_line(error).startswith(message.format(root))


def test_sixteen_bits_are_not_cut_off(tmp_path):
    root = two_classes(tmp_path)
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(root / "train/cat/c.png")
    with pytest.raises(DataError) as error:
        loaded(root)
    assert one_line(error) == (
        f"{root}/train/cat/c.png: has pixels of more than 8 bits; convert it to 8 bits"
    )


def test_folders_that_are_none(tmp_path):
    for make, message in (
        ((), "data.root={}: there is no such folder"),
        (("train",), "data.root={}: no images in train/CLASS/; wanted are train/CLASS/*.png and "),
        (("train/only",), "data.root={}: no images in train/CLASS/; wanted are"),
    ):
        root = tmp_path / "photos"
        for name in make:
            (root / name).mkdir(parents=True)
        with pytest.raises(DataError) as error:
            own("folder", root).pinned()
        assert one_line(error).startswith(message.format(root))
    (root / "train").rename(root / "test")
    with pytest.raises(DataError) as error:
        own("folder", root).pinned()
    assert one_line(error) == f"data.root={root}: has test/ and no train/"
    put(root, {"train/only/a.png": png(grey(1)), "test/only/a.png": png(grey(1))})
    with pytest.raises(DataError) as error:
        own("folder", root).pinned()
    assert one_line(error) == (
        f"data.root={root}: the training part has only the class only; must have two classes or "
        "more"
    )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_an_image_that_may_not_be_read(tmp_path):
    root = two_classes(tmp_path)
    (root / "train/cat/a.png").chmod(0)
    with pytest.raises(DataError, match=r"a.png: cannot be read \(Permission denied\)"):
        own("folder", root).pinned()


def test_without_pillow(tmp_path, monkeypatch):
    root, kept = two_classes(tmp_path), builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return kept(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError) as error:
        own("folder", root).pinned()
    assert one_line(error) == (
        "data=folder: needs the package pillow; pip install 'normlab[images]'"
    )


def test_the_hash_is_of_images_and_classes_and_not_of_names_or_settings(tmp_path):
    root = two_classes(tmp_path / "one")
    here = own("folder", root).pinned().sha256
    assert own("folder", root, size=9, colour=True).pinned().sha256 == here
    (root / "train/cat/b.png").rename(root / "train/cat/c.png")
    (root / "test/dog").rename(root / "test/elk")
    (root / "train/dog").rename(root / "train/elk")
    assert own("folder", root).pinned().sha256 == here
    (root / "train/cat/c.png").rename(root / "train/elk/c.png")
    assert own("folder", root).pinned().sha256 != here
