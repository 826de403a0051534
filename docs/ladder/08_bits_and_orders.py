# %% [markdown]
# # 8. Bits, and the order of additions
#
# Floats round after every addition, so the order matters:

# %%
import numpy as np

import wgccl

a, b, c = np.float32(1.0), np.float32(1e8), np.float32(-1e8)
print((a + b) + c, a + (b + c))

# %% [markdown]
# An all-reduce by a ring adds every chunk in another order than one by a tree. Both are right, and their bits differ.

# %%
x = [np.random.default_rng(rank).standard_normal(1000).astype(np.float32) for rank in range(4)]
ring = wgccl.all_reduce(x, algorithm="ring")[0]
tree = wgccl.all_reduce(x, algorithm="tree")[0]
print(f"{np.count_nonzero(ring != tree)} of 1000 elements differ, by at most {np.max(np.abs(ring - tree)):.1e}")
assert np.any(ring != tree)

# %% [markdown]
# Which order is it? The schedule says so, for every chunk:

# %%
print(wgccl.build("ring", ranks=4).why("0:1").splitlines()[0])
print(wgccl.build("tree", ranks=4).why("0:1").splitlines()[0])

# %% [markdown]
# So the exact bits of a result can be known before it is computed. That is the **golden**: the schedule's own order, evaluated in the
# element's own precision. Every executor must agree with it in every bit, whatever the timing.

# %%
s = wgccl.build("ring", ranks=4)
np.testing.assert_array_equal(s.run(x), s.golden(x))

# %% [markdown]
# ## Whose bits are these?
#
# The other way round: somebody gives you inputs and outputs. Which order gives these bits?

# %%
found = wgccl.verify(x, [tree] * 4)
print(found)
assert "tree" in found.equal

# %% [markdown]
# And numpy? It adds rank after rank:

# %%
print(wgccl.verify(x, np.sum(x, axis=0)).equal)

# %% [markdown]
# One wrong bit is found, and shown:

# %%
wrong = tree.copy()
wrong.view(np.uint32)[417] ^= 1
found = wgccl.verify(x, [tree, tree, wrong, tree], "tree")
print(found)
assert found.differing == 1 and found.first[0].index == 417

# %% [markdown]
# ## Fewer bits
#
# With fewer bits there is more to round. f16 has 11 bits of precision where f32 has 24, so its steps are 8192 times as coarse.
# Integers never round, so for them every order gives the same bits.

# %%
half = [v.astype(np.float16) for v in x]
for name in ("ring", "tree", "one-phase"):
    got = wgccl.all_reduce(half, algorithm=name)[0].astype(np.float64)
    exact = np.sum([v.astype(np.float64) for v in half], axis=0)
    print(f"{name:<10} {np.max(np.abs(got - exact)):.2e} from the exact sum")

whole = [(1000 * v).astype(np.int32) for v in x]
total = sum(whole[1:], whole[0])
assert len(wgccl.verify(whole, total).equal) == len(wgccl.algorithms())

# %% [markdown]
# ## Try it
#
# * `pip install ml_dtypes`, and take `ml_dtypes.bfloat16` or `ml_dtypes.float8_e4m3fn` for the elements.
# * Average with `op="avg"`. It multiplies by 1/4 first. For which numbers of ranks is that the same as dividing the sum?
