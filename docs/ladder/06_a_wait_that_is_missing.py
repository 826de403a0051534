# %% [markdown]
# # 6. What breaks when a wait is missing
#
# Forget one wait, and a program may still be right a thousand times. On another day, or another device, one rank is a little slower, and
# the result is wrong. A test does not find that. A proof does.
#
# Here is the ring of the last page, and the same with one wait left out.

# %%
import numpy as np

import wgccl

ring = wgccl.build("ring", ranks=4)
broken = ring.edit("drop-wait:rank 1 RS round 3")
report = broken.check()
report

# %% [markdown]
# Two instructions touch one slot, one of them writes, and nothing says which comes first. That is a **race**. What can come of it?

# %%
assert not report.ok
print(broken.effect())

# %% [markdown]
# This is one way in which it goes wrong, step by step: rank 1 reads too early, and what it misses reaches all outputs, because the sum
# goes on round the ring. In the page below the race is red. Go to the step of rank 1, and look at what its slot holds.

# %%
broken.show()

# %% [markdown]
# A schedule that is not proved does not run:

# %%
x = [np.ones(8) for _ in range(4)]
try:
    broken.run(x)
except wgccl.ScheduleError as error:
    print(error)
    assert error.report is not None and not error.report.ok
else:
    raise AssertionError("it ran")

# %% [markdown]
# ## A notify that is missing
#
# The reverse: the wait is there, and nobody notifies. Then nothing is wrong. Nothing happens at all:

# %%
stuck = ring.edit("drop-notify:rank 0 RS round 2")
print(stuck.effect())

# %% [markdown]
# ## Which waits are needed?
#
# Is every wait of the ring needed? Leave each of them out, one at a time. (A wait and its notify, so that nothing is left over.)

# %%
needed = 0
for lane in range(4):
    for instruction in range(1, 6):
        if not ring.edit(f"drop-pair:{lane}.{instruction}").check().ok:
            needed += 1
print(f"{needed} of 20 waits are needed")
assert needed == 20

# %% [markdown]
# ## A cycle
#
# A **deadlock** is a circle of ranks, each of which waits for the next one. Two ranks are enough:

# %%
s = wgccl.Schedule("after you", "all-reduce", ranks=2)
for rank in range(2):
    other = 1 - rank
    s.rank(rank, "polite").wait(other, "done").reduce(s.input(0), s.input(1)).to(s.output(rank)).notify(other, "done")
report = s.check()
print(report.proofs[1].findings[0])
assert not report.proofs[1].ok

# %% [markdown]
# ## Try it
#
# * `wgccl.build("tree", ranks=8)`: break it in a way of your own. The edits are those of `wgccl check --break help`.
# * Where does a missing contribution get lost? Ask `broken.why("2:1")`: chunk 1 of rank 2's output.
