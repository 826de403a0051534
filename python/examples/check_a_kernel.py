"""Checks the output of an all-reduce kernel from elsewhere, bit by bit, and says in which order it adds.

    python check_a_kernel.py                       # two kernels made up here, one of them wrong
    python check_a_kernel.py in0.npy in1.npy -- out0.npy out1.npy
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

import wgccl

Vectors = list[npt.NDArray[np.float32]]


def tree_kernel(x: Vectors) -> Vectors:
    """What somebody may have written for a GPU: pairs, then pairs of pairs."""
    distance = 1
    x = [v.copy() for v in x]
    while distance < len(x):
        x = [x[rank & ~distance] + x[rank | distance] for rank in range(len(x))]
        distance *= 2
    return x


def racy_kernel(x: Vectors) -> Vectors:
    """The same, where one rank reads a piece of its partner's vector before it is written."""
    y = tree_kernel(x)
    y[2][100:103] = x[2][100:103] + x[3][100:103]
    return y


def check(x: Vectors, y: Vectors) -> wgccl.Verification:
    found = wgccl.verify(x, y)
    print(found)
    # Not these bits, but near them? Then it adds in an order that is not known here.
    if not found and wgccl.verify(x, y, rtol=1e-5, atol=1e-6):
        print("close to it: an order of its own")
    return found


def main(arguments: list[str]) -> None:
    if arguments:
        cut = arguments.index("--")
        x, y = ([np.load(name) for name in names] for names in (arguments[:cut], arguments[cut + 1 :]))
        sys.exit(0 if check(x, y) else 1)
    x = [np.random.default_rng(rank).standard_normal(1000).astype(np.float32) for rank in range(8)]
    print("a kernel that is right:")
    assert "recursive-doubling" in check(x, tree_kernel(x)).equal
    print("\na kernel that is wrong:")
    found = check(x, racy_kernel(x))
    assert (found.against, found.differing) == ("recursive-doubling", 3)
    assert [(of.rank, of.index) for of in found.first] == [(2, 100), (2, 101), (2, 102)]


if __name__ == "__main__":
    main(sys.argv[1:])
