"""Pickles that ask for names, or for more memory than they hold."""

import io
import pickle
import tracemalloc

import numpy as np
import pytest

from normlab.data.pickles import ArrayUnpickler

CALL = b"cos\nsystem\n(S'true'\ntR."
# Nine bytes, by which Python's other unpickler takes 256 MB: a memo with place for 2**24 values.
LARGE_MEMO = b"\x80\x04Nr\x00\x00\x00\x010."
# A bytearray of 2**28 bytes, none of which follows.
LARGE_BYTES = b"\x80\x05\x96" + (2**28).to_bytes(8, "little") + b"."


def test_the_unpickler_in_python_is_there() -> None:
    assert hasattr(pickle, "_Unpickler"), (
        "pickle._Unpickler is gone: in normlab/data/pickles.py let ArrayUnpickler be a "
        "pickle.Unpickler with the same find_class, and before it reads go through "
        "pickletools.genops, to refuse BYTEARRAY8 and an index in PUT, BINPUT or LONG_BINPUT "
        "that is larger than the number of bytes"
    )
    # What ArrayUnpickler takes out of its table.
    assert pickle.BYTEARRAY8[0] in pickle._Unpickler.dispatch  # type: ignore[attr-defined]


def test_arrays_and_plain_values_are_read() -> None:
    values = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2], "name": b"x"}
    read = ArrayUnpickler(io.BytesIO(pickle.dumps(values, protocol=3))).load()
    assert read["labels"] == [1, 2]
    assert (read["data"] == values["data"]).all()


@pytest.mark.parametrize("content", [CALL, LARGE_MEMO, LARGE_BYTES])
def test_no_pickle_calls_anything_or_takes_more_memory_than_it_holds(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((pickle.UnpicklingError, KeyError, IndexError)):
            ArrayUnpickler(io.BytesIO(content)).load()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
