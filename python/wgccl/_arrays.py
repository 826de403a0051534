"""What is no numpy array, as one: without a copy where its elements lie in the host's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._errors import InputError

_CPU = (1, 3)
"""DLPack's numbers of devices that are the host's memory."""


def as_array(given: Any) -> Any:
    """An array of what was given."""
    if hasattr(given, "__dlpack__"):
        return _from_dlpack(given)
    array = np.asarray(given)
    if array.dtype == object:
        raise InputError(f"a {type(given).__name__} is no array of numbers; give numpy arrays, or anything with DLPack")
    return array


def as_output(given: Any) -> Any:
    """An array over the memory of what was given."""
    if hasattr(given, "__dlpack__"):
        return _from_dlpack(given)
    raise InputError(f"a {type(given).__name__} cannot be written to; give numpy arrays as out, or anything with DLPack")


def _from_dlpack(given: Any) -> Any:
    device = given.__dlpack_device__()
    if int(device[0]) not in _CPU:
        raise InputError("the elements lie in a device's memory, not in the host's; copy them to the host first")
    if type(given).__module__.partition(".")[0] == "torch":
        return _from_torch(given)
    try:
        return np.from_dlpack(given)
    except (BufferError, RuntimeError, TypeError) as error:
        # numpy's DLPack knows its own types only; jax, for one, has arrays of ml_dtypes' as well.
        if hasattr(given, "__array__"):
            return np.asarray(given)
        raise InputError(f"numpy cannot take it by DLPack: {error}") from error


def _from_torch(given: Any) -> Any:
    """numpy has no bf16 and fp8 of its own, and takes them under another name."""
    given = given.detach()
    name = str(given.dtype).removeprefix("torch.")
    if name not in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return given.numpy()
    import ml_dtypes
    import torch

    bits = given.view(torch.int16 if name == "bfloat16" else torch.int8)
    return bits.numpy().view(getattr(ml_dtypes, name))
