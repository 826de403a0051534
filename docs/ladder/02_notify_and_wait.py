# %% [markdown]
# # 2. Notify and wait
#
# Ranks run at their own pace. Where one needs what another has written, it has to **wait**, and the other has to **notify** it.
#
# A **signal** is a counter. It belongs to the rank that waits, and there is one for each rank that may notify it. A notify adds 1;
# nothing ever subtracts. A wait goes on once the counter is at least some number.
#
# An instruction does three things, in this order: it waits, it copies or reduces, it notifies.

# %%
import numpy as np

import wgccl


def publish(waits: bool) -> wgccl.Schedule:
    s = wgccl.Schedule("publish", "all-gather", ranks=3, slots=1)
    for rank in range(3):
        me = s.rank(rank, "publish")
        me.copy(s.input(rank)).to(s.slot(rank))
        for peer in range(3):
            if peer != rank and waits:
                me.notify(peer, "full")
    for rank in range(3):
        for part in range(3):
            me = s.rank(rank, ("read", part))
            if part != rank and waits:
                me.wait(part, "full")
            me.copy(s.slot(part)).to(s.output(rank, part=part))
    return s


assert not publish(waits=False).check()
s = publish(waits=True)
assert s.check()
s

# %% [markdown]
# `"full"` is the name of a signal. In a report it stands as `[full][sender 1] of rank 0`: the counter of rank 0 that rank 1
# notifies.
#
# Why is a pair of accesses *ordered*? Ask:

# %%
print(s.order("rank 1 publish", "rank 0 read round 1"))

# %%
x = [np.full(4, rank) for rank in range(3)]
np.testing.assert_array_equal(s.run(x)[0], np.concatenate(x))

# %% [markdown]
# ## Counting
#
# A signal can be used again. The second wait for it must ask for 2. In Python a wait without a number asks for one more than the
# waits before it, so you need not count. With `at_least=` you say it yourself.

# %%
s = wgccl.Schedule("twice", "broadcast", ranks=2, chunks=2, slots=1)
root, other = s.rank(0, "give"), s.rank(1, "take")
for chunk in range(2):
    if chunk > 0:
        root.wait(1, "empty")
    root.put(s.slot(1), s.input(0, chunk)).notify(1, "full")
    root.copy(s.input(0, chunk)).to(s.output(0, chunk))
    other.wait(0, "full").copy(s.slot(1)).to(s.output(1, chunk)).notify(0, "empty")
print(s.check())

# %% [markdown]
# It is refused. Read the finding: after the last chunk rank 1 notifies `empty` once more, and nobody waits for that. A counter that is
# left over would be found by the next launch. So the last notify has to go:

# %%
s = wgccl.Schedule("twice", "broadcast", ranks=2, chunks=2, slots=1)
root, other = s.rank(0, "give"), s.rank(1, "take")
for chunk in range(2):
    if chunk > 0:
        root.wait(1, "empty")
    root.put(s.slot(1), s.input(0, chunk)).notify(1, "full")
    root.copy(s.input(0, chunk)).to(s.output(0, chunk))
    other.wait(0, "full").copy(s.slot(1)).to(s.output(1, chunk))
    if chunk < 1:
        other.notify(0, "empty")
assert s.check()
s

# %% [markdown]
# ## Try it
#
# * Leave `root.wait(1, "empty")` out. Which two instructions race, and over what?
# * Give rank 1 two slots. Which signals are no longer needed?
