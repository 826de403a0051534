# %% [markdown]
# # 4. Put and get
#
# A chunk can move in two ways. Its owner **puts** it into a peer's memory, or the peer **gets** it. Both are one copy. What differs is
# who has to know what.
#
# * Before a put, the owner must know that the place is free. After it, the peer must learn that it has come.
# * Before a get, the peer must know that the chunk is there. After it, the owner must learn that it may be overwritten.

# %%
import numpy as np

import wgccl

RANKS = 4


def by_put() -> wgccl.Schedule:
    s = wgccl.Schedule("put", "broadcast", RANKS)
    root = s.rank(0, "put")
    root.copy(s.input(0)).to(s.output(0))
    for peer in range(1, RANKS):
        root.put(s.output(peer), s.input(0))
    return s


def by_get() -> wgccl.Schedule:
    s = wgccl.Schedule("get", "broadcast", RANKS)
    s.rank(0, "keep").copy(s.input(0)).to(s.output(0))
    for peer in range(1, RANKS):
        s.rank(peer, "get").get(s.output(peer), s.input(0))
    return s


for s in (by_put(), by_get()):
    assert s.check()
    print(s, "\n")

# %% [markdown]
# Outputs are free from the beginning and inputs are there from the beginning, so neither needs a signal. In the first the root does
# all the work, one chunk after the other. In the second all ranks read the root's memory at once.
#
# ## Store and forward
#
# With put and signals, a chain: every rank hands on to the next one. It takes P - 1 steps, and every rank does the same little work.

# %%
def chain(chunks: int) -> wgccl.Schedule:
    s = wgccl.Schedule("chain", "broadcast", RANKS, chunks=chunks)
    for chunk in range(chunks):
        for rank in range(RANKS):
            me = s.rank(rank, ("chunk", chunk))
            if rank == 0:
                me.copy(s.input(0, chunk)).to(s.output(0, chunk))
                source = s.input(0, chunk)
            else:
                me.wait(rank - 1, "come")
                source = s.output(rank, chunk)
            if rank + 1 < RANKS:
                me.put(s.output(rank + 1, chunk), source).signal(rank + 1, "come")
    return s


for chunks in (1, 3):
    s = chain(chunks)
    assert s.check()
x = np.arange(12.0)
for y in s.run(x):
    np.testing.assert_array_equal(y, x)
s

# %% [markdown]
# With three chunks the chain is **pipelined**: while rank 1 hands on chunk 0, rank 0 is already at chunk 1. Play it:

# %%
s.show()

# %% [markdown]
# `put`, `get`, `signal` and `wait` are the verbs of MSCCL++. Here `copy(...).to(...)` and `notify` do the same, and `put` and `get`
# check in addition whose memory it is.
#
# ## Try it
#
# * Turn the chain round with `get`: who notifies whom now?
# * Make it a tree: rank r gives to ranks 2r + 1 and 2r + 2. How many steps for 4, for 8, for 16 ranks?
