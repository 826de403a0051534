# %% [markdown]
# # 3. A barrier by hand
#
# In a **barrier** nobody gives or gets anything. It holds one promise: no rank leaves before all ranks have arrived. So it is made of
# signals alone.
#
# The simple way: everybody tells everybody.

# %%
import wgccl


def all_to_all(ranks: int) -> wgccl.Schedule:
    s = wgccl.Schedule("tell everybody", "barrier", ranks)
    for rank in range(ranks):
        me = s.rank(rank, "arrive")
        for peer in range(ranks):
            if peer != rank:
                me.notify(peer, "here")
    for rank in range(ranks):
        me = s.rank(rank, "leave")
        for peer in range(ranks):
            if peer != rank:
                me.wait(peer, "here")
    return s


s = all_to_all(4)
assert s.check()
s

# %% [markdown]
# Of P ranks it takes P (P - 1) signals, in one step. Here is a way that takes P log2 P, in log2 P steps. In round k every rank tells
# the one 2^k places on. It knows then of twice as many ranks as before.

# %%
def dissemination(ranks: int) -> wgccl.Schedule:
    s = wgccl.Schedule("dissemination", "barrier", ranks)
    rounds = (ranks - 1).bit_length()
    for rank in range(ranks):
        me = s.rank(rank, "arrive")
        for k in range(rounds):
            me.notify((rank + 2**k) % ranks, f"round {k}")
            me.wait((rank - 2**k) % ranks, f"round {k}")
    return s


for ranks in (2, 3, 4, 8, 13):
    assert dissemination(ranks).check()
s = dissemination(8)
s

# %% [markdown]
# What if we stop a round early? Every rank then knows of four ranks out of eight. Nothing hangs, nothing races. But somebody may
# leave before somebody else has come, which is the promise of a barrier, and the proof of the *result* says who:

# %%
s = wgccl.Schedule("a round too few", "barrier", 8)
for rank in range(8):
    me = s.rank(rank, "arrive")
    for k in range(2):
        me.notify((rank + 2**k) % 8, f"round {k}").wait((rank - 2**k) % 8, f"round {k}")
report = s.check()
finding = report.proofs[3].findings[0]
print(finding)
assert not report and report.proofs[1].ok and finding.lacks

# %% [markdown]
# ## Try it
#
# * A third way: rank 0 waits for all, then tells all. How many steps, how many signals?
# * Why does each round have a signal of its own? Use one name for all rounds, and ask the proof.
