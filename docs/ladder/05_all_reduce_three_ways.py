# %% [markdown]
# # 5. All-reduce, three ways
#
# Every rank gives a vector, every rank gets the sum. The same promise, kept by three schedules.
#
# **One phase.** Every rank reads everything from everybody and adds it up. One step, and P times too much work.

# %%
import json

import numpy as np

import wgccl


def one_phase(ranks: int) -> wgccl.Schedule:
    s = wgccl.Schedule("one phase", "all-reduce", ranks)
    for rank in range(ranks):
        s.rank(rank, "add").reduce(*[s.input(peer) for peer in range(ranks)]).to(s.output(rank))
    return s


one_phase(4)

# %% [markdown]
# **Two phases.** Every rank adds up one chunk of P, then takes the other chunks from those who have added them up. Two steps, no work
# twice.

# %%
def two_phase(ranks: int) -> wgccl.Schedule:
    s = wgccl.Schedule("two phases", "all-reduce", ranks, chunks=ranks)
    for rank in range(ranks):
        me = s.rank(rank, "add")
        me.reduce(*[s.input(peer, rank) for peer in range(ranks)]).to(s.output(rank, rank))
        for peer in range(ranks):
            if peer != rank:
                me.notify(peer, "added")
    for rank in range(ranks):
        for step in range(1, ranks):
            owner = (rank + step) % ranks
            s.rank(rank, ("take", step)).wait(owner, "added").get(s.output(rank, owner), s.output(owner, owner))
    return s


two_phase(4)

# %% [markdown]
# **The ring.** Every rank talks to its neighbours only. In the first half, *reduce-scatter*, a partial sum of each chunk goes round and
# grows; in the second, *all-gather*, the finished chunks go round. 2 (P - 1) steps, and on every link the least data there can be.
#
# In round t of the first half rank r takes chunk r - t from its left neighbour and adds its own. Partial sums lie in slots, one for
# each chunk. After P - 1 rounds rank r has all of chunk r + 1, and the second half begins with that.

# %%
def ring(ranks: int) -> wgccl.Schedule:
    s = wgccl.Schedule("ring", "all-reduce", ranks, chunks=ranks, slots=ranks)
    for rank in range(ranks):
        left, right = (rank - 1) % ranks, (rank + 1) % ranks
        for t in range(1, ranks):
            chunk = (rank - t) % ranks
            me = s.rank(rank, ("RS", t))
            # In the first round the neighbour has its input only; in the last the sum is complete.
            if t > 1:
                me.wait(left, f"RS {t}")
            source = s.input(left, chunk) if t == 1 else s.slot(left, chunk)
            target = s.output(rank, chunk) if t == ranks - 1 else s.slot(rank, chunk)
            me.reduce(source, s.input(rank, chunk)).to(target)
            me.notify(right, f"RS {t + 1}" if t < ranks - 1 else "AG 1")
        for t in range(1, ranks):
            chunk = (rank + 1 - t) % ranks
            me = s.rank(rank, ("AG", t)).wait(left, f"AG {t}")
            me.copy(s.output(left, chunk)).to(s.output(rank, chunk))
            if t < ranks - 1:
                me.notify(right, f"AG {t + 1}")
    return s


s = ring(4)
print(s.check())

# %%
s.show()

# %% [markdown]
# ## What they cost
#
# Count what each reads and writes, in chunks of one rank's vector cut into P:

# %%
def moved(s: wgccl.Schedule) -> float:
    """Vectors that are read and written, over all ranks."""
    lanes = json.loads(s.to_json())["lanes"]
    touched = [len(i.get("from", [])) + len(i.get("to", [])) for lane in lanes for i in lane["instructions"]]
    return sum(touched) / s.chunks


print(f"{'ranks':>5} {'one phase':>10} {'two phases':>11} {'ring':>6}")
for ranks in (2, 4, 8, 16):
    schedules = [one_phase(ranks), two_phase(ranks), ring(ranks)]
    assert all(s.check() for s in schedules)
    print(f"{ranks:>5} {moved(schedules[0]):>10} {moved(schedules[1]):>11} {moved(schedules[2]):>6}")

# %% [markdown]
# The sums agree, but for the last bits: the ring adds every chunk in another order. Page 8 is about that.

# %%
x = [np.random.default_rng(rank).standard_normal(1000) for rank in range(4)]
for s in (one_phase(4), two_phase(4), ring(4)):
    np.testing.assert_allclose(s.run(x), [np.sum(x, axis=0)] * 4, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(s.run(x), s.golden(x))

# %% [markdown]
# ## Try it
#
# * `wgccl.algorithms()` names more. Draw `wgccl.build("tree", ranks=8)` and `wgccl.build("halving-doubling", ranks=8)`.
# * The ring above copies sums into slots. Could they lie in the output instead? Try it, and let the proof answer.
