# %% [markdown]
# # 7. Three mistakes with a history
#
# Kernels that did this were once in use. As schedules each of them is data, and can be looked at.
#
# ## The buffer that nobody needed
#
# In an early ring every rank **published** its chunk in every round: it copied it into an extra slot, the *exchange slot*, from where
# the neighbour was to read it. In later ones the neighbour reads the chunk's own slot, and nothing has to be published.

# %%
import json
from typing import Any

import wgccl


def instructions(s: wgccl.Schedule) -> list[dict[str, Any]]:
    return [i for lane in json.loads(s.to_json())["lanes"] for i in lane["instructions"]]


def moved(s: wgccl.Schedule) -> int:
    return sum(len(i.get("from", [])) + len(i.get("to", [])) for i in instructions(s))


for name in ("ring-exchange", "ring-staged", "ring"):
    s = wgccl.build(name, ranks=4)
    assert s.check()
    print(f"{name:<14} {s.slots} slots {s.instructions:>3} instructions {moved(s):>4} chunks read and written")

# %% [markdown]
# All three are right. The exchange slot does no harm, it costs a copy every round. The second ring leaves it out. The third also leaves
# out the copies at both ends: it reads inputs in its first round and writes outputs in its last. A proof says that a schedule is right,
# never that it is good. For that you have to look:

# %%
wgccl.build("ring-exchange", ranks=4)

# %% [markdown]
# ## Zeroing signals in the kernel
#
# Signals must be 0 before a launch. So why not let every rank zero its own, first of all?

# %%
s = wgccl.build("ring", ranks=4).edit("zero-signals:0")
report = s.check()
assert not report.ok
print(s.effect())

# %% [markdown]
# Because a neighbour may be faster. It notifies, the rank zeroes the notify, and then waits for it for ever. As long as all ranks begin
# at the same moment it works, so tests pass. Here signals are never zeroed in a launch: they count on from launch to launch, and a
# wait asks for that much more.
#
# ## The own contribution first
#
# Every rank adds up all inputs. It has its own at hand, so it begins with that:

# %%
s = wgccl.build("one-phase-own-first", ranks=4)
report = s.check()
report

# %% [markdown]
# Every proof holds but one, *bit-identical*, and that one does not forbid anything. Every rank gets the right sum, in an order of its
# own. Floats round, so ranks may differ in the last bit. In a training run the replicas then drift apart, slowly. The next page is
# about bits.

# %%
assert report.ok and not report.proofs[4].ok

# %% [markdown]
# ## Try it
#
# * `wgccl layout --algorithm ring-exchange` shows the exchange slot in a rank's window, byte by byte.
# * Break `zero-signals:2` instead. Whose notifies can be erased now, and why not those of the later rounds?
