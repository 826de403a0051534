"""What the tests share: arrays of ranks, and what a collective must give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "broadcast",
    "reduce",
    "gather",
    "scatter",
    "all-to-all",
    "send-recv",
)


def inputs(ranks: int, shape: int | tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> list[Array]:
    """Small whole numbers, so that sums are exact in every type."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 4, size=shape).astype(dtype) for _ in range(ranks)]


def uneven(ranks: int, shape: int | tuple[int, ...], dtype: Any = np.float32) -> list[Array]:
    """Numbers whose sum depends on the order of additions."""
    return [np.random.default_rng(rank).standard_normal(shape).astype(dtype) for rank in range(ranks)]


@pytest.fixture(params=[1, 2, 4, 9])
def ranks(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number
