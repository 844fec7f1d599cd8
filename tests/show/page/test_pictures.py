"""Which pictures a page has, and what it says of those that it has not."""

from normlab.analysis import read_results, series
from normlab.show.page.pictures import page_pictures
from tests.tools.synthetic_results import write_runs


def pictures_of(root, **options):
    write_runs(40, root, **options)
    frame, _ = read_results([root])
    pictures, notes = page_pictures(series.with_variants(frame))
    return [picture.name for picture in pictures], notes


def test_pictures_stand_in_their_order(tmp_path):
    names, notes = pictures_of(tmp_path, with_tables=True)
    assert (names, notes) == (["error", "gradient", "accuracy"], [])


def test_runs_without_layers_say_so(tmp_path):
    names, notes = pictures_of(tmp_path)
    assert names == ["error"]
    assert "No picture of the gradient: no layers.parquet of 40 runs can be read." in notes
    assert "No picture of the accuracy: no metrics.parquet of 40 runs can be read." in notes
