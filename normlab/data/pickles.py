"""Pickles of plain values and NumPy arrays, read without executing anything of them."""

import pickle
from typing import Any

import numpy as np


def _dtype(code: Any, *_: Any) -> np.dtype[Any]:
    # Old pickles pass 0 and 1 for False and True, of which NumPy warns.
    dtype: np.dtype[Any] = np.dtype(code, copy=True)
    return dtype


class ArrayUnpickler(pickle._Unpickler):
    """Reads pickles of builtin values and NumPy arrays; any other name is refused unimported.

    Of Python's two unpicklers the one written in Python: the other, given nine bytes, fills all the
    memory there is, as its memo is an array as long as the largest index that a pickle names.
    """

    # Bytearrays are made as long as a pickle says, before anything of it is read.
    dispatch = {  # noqa: RUF012  never changed
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if code != pickle.BYTEARRAY8[0]
    }

    _admitted = {  # noqa: RUF012  never changed
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        # NumPy's function for rebuilding an array, wherever this version keeps it.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._admitted:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._admitted[module, name]
