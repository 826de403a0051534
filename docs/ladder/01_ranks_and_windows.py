# %% [markdown]
# # 1. Ranks and windows
#
# A *collective* is something that several participants do together. A participant is a **rank**; there are P of them, from 0 on. On a
# cluster each rank is a GPU. Here all ranks are in one process, so you can look at them.
#
# A rank has three memories, each cut into **chunks**:
#
# | memory | what is in it | who may write |
# | --- | --- | --- |
# | input | what the rank gives | nobody |
# | output | what the rank gets | every rank |
# | window | **slots**, one chunk each, for what is on its way | every rank |
#
# Every rank can read and write the memory of every other rank.

# %%
import numpy as np

import wgccl

x = [np.array([1.0, 2.0]), np.array([10.0, 20.0]), np.array([100.0, 200.0])]
wgccl.all_reduce(x)

# %% [markdown]
# That was a collective: an **all-reduce** of three ranks. Each gave two numbers, and each got the sums.
#
# How it is done is a **schedule**: a list of instructions for each rank. Let us write one. It is an **all-gather**: every rank gets
# the inputs of all ranks. So every output has three *parts*, one of each rank.

# %%
s = wgccl.Schedule("mine", "all-gather", ranks=3)
for rank in range(3):
    for part in range(3):
        s.rank(rank).copy(s.input(part)).to(s.output(rank, part=part))
s

# %% [markdown]
# The picture has a row for each rank. Inputs are there from the beginning and nobody writes them, so nobody has to wait for
# anybody. Is it right? We do not try it out. We ask for a proof:

# %%
report = s.check()
report

# %%
assert report.ok
s.run(x)

# %% [markdown]
# ## Slots
#
# Now the same through the window: every rank puts its input into a slot of its own first, and the others read it there. A rank
# that reads a slot must know that something is in it. We have not said how, and the proof finds that:

# %%
racy = wgccl.Schedule("through slots", "all-gather", ranks=3, slots=1)
for rank in range(3):
    racy.rank(rank, "publish").copy(racy.input(rank)).to(racy.slot(rank))
for rank in range(3):
    for part in range(3):
        racy.rank(rank, ("read", part)).copy(racy.slot(part)).to(racy.output(rank, part=part))
report = racy.check()
report

# %%
assert not report.ok
print(report.proofs[2].findings[0])

# %% [markdown]
# The finding names the ranks, the instructions, and the line of this page that made them. What is missing is the next page.
#
# ## Try it
#
# * Write a `"broadcast"` of rank 0 to four ranks. Only the root has an input: `s.input(0)`.
# * Cut the payload into `chunks=2`, and copy both with one instruction: `copy(..., chunks=2)`.
