# %% [markdown]
# # 9. What it costs on your device
#
# Time is made of two things: what every step costs, however little it moves (**latency**), and what every byte costs (**bandwidth**).
# An algorithm with few steps wins where data is small; one that moves little wins where it is large.

# %%
import wgccl

wgccl.devices()

# %% [markdown]
# The last one is the processor, which is always there. Ranks are lanes on its cores. `bench` times launches, and compares one of
# them with the golden: `#wrong` must be 0.

# %%
records = wgccl.bench(
    "all-reduce",
    ranks=8,
    sizes=["1K", "64K", "1M"],
    algorithm=["direct", "ring", "tree", "recursive-doubling"],
    iterations=20,
)
records

# %%
print(records)
assert all(of["wrong"] == 0 for of in records)

# %% [markdown]
# * **algbw** is the size over the time.
# * **busbw** is what nccl-tests makes of it: what goes over the narrowest link between ranks that have links of their own. Here all ranks
#   share one memory, so it only compares algorithms.
#
# Which is the fastest at which size?

# %%
for size in sorted({of["bytes"] for of in records}):
    fastest = min((of for of in records if of["bytes"] == size), key=lambda of: of["median_us"])
    print(f"{size:>9} bytes: {fastest['algorithm']} in {fastest['median_us']:.1f} us")

# %% [markdown]
# `algorithm="auto"` takes what was the fastest where it was measured for this library, which need not be your machine.
#
# ## From the numbers to the two costs
#
# Fit a line through the times of one algorithm: its height at 0 bytes is the latency, its slope the cost of a byte.

# %%
import numpy as np

for name in ("direct", "ring"):
    of_name = [of for of in records if of["algorithm"] == name]
    slope, latency = np.polyfit([of["bytes"] for of in of_name], [of["median_us"] for of in of_name], 1)
    print(f"{name:<7} {max(latency, 0):7.1f} us and {1e3 * slope:7.3f} us for every 1000 bytes")

# %% [markdown]
# ## A GPU
#
# If `devices()` lists one, name it. The times are then those of the device's own clock, without the copies to it and back.

# %%
gpus = [device for device in wgccl.devices() if device.index is not None]
for device in gpus[:1]:
    assert device.index is not None
    print(wgccl.bench(sizes=["64K", "1M"], algorithm=["direct", "ring"], device=device.index, iterations=10))

# %% [markdown]
# ## Try it
#
# * With pandas: `records.frame().pivot(index="bytes", columns="algorithm", values="median_us")`.
# * Twice the ranks: which algorithm takes twice as long, which does not?
# * `wgccl bench` in a terminal does more: confidence intervals, records that can be compared, pictures.
