# %% [markdown]
# # 10. Bring your own file
#
# Schedules are exchanged as files. MSCCL XML is the most common format: research tools write it, MSCCL, RCCL and the Azure executor run
# it. Here is a small one, an all-reduce of two ranks. Each sends its input to the other, and reduces what it receives.

# %%
import tempfile
from pathlib import Path

import numpy as np

import wgccl

XML = """
<algo name="exchange" proto="Simple" nchannels="1" ngpus="2" nchunksperloop="1" coll="allreduce" inplace="1">
  <gpu id="0" i_chunks="1" o_chunks="1" s_chunks="0">
    <tb id="0" send="1" recv="1" chan="0">
      <step s="0" type="s" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
      <step s="1" type="rrc" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
    </tb>
  </gpu>
  <gpu id="1" i_chunks="1" o_chunks="1" s_chunks="0">
    <tb id="0" send="0" recv="0" chan="0">
      <step s="0" type="s" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
      <step s="1" type="rrc" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
    </tb>
  </gpu>
</algo>
"""
folder = Path(tempfile.mkdtemp())
path = folder / "exchange.xml"
path.write_text(XML, encoding="utf-8")

s = wgccl.load(path)
assert s.check()
s

# %% [markdown]
# A thread block has become a lane, and a connection a few slots with signals for full and empty. The labels name the file's own
# steps. It runs:

# %%
x = [np.array([1.0, 2.0]), np.array([10.0, 20.0])]
s.run(x)

# %% [markdown]
# ## A file that is wrong
#
# Suppose that the generator had a mistake: GPU 1 receives before it sends, and so does GPU 0.

# %%
lines = XML.splitlines()
for first in (4, 10):
    lines[first], lines[first + 1] = lines[first + 1].replace('s="1"', 's="0"'), lines[first].replace('s="0"', 's="1"')
wrong = wgccl.loads("\n".join(lines).strip())
report = wrong.check()
print(report)
assert not report.proofs[1].ok

# %% [markdown]
# It deadlocks whatever the timing, and the finding names GPU, thread block and step. That is worth knowing before it is on a cluster.
#
# ## From format to format
#
# What you have as a schedule, from a file or your own, goes out in other formats: MSCCL XML, Chakra traces for ASTRA-sim, GOAL for
# LogGOPSim, and a JSON document of wgccl's own.

# %%
ring = wgccl.build("ring", ranks=4)
(folder / "ring.xml").write_text(ring.to_xml(), encoding="utf-8")
(folder / "ring.json").write_text(ring.to_json(), encoding="utf-8")
(folder / "ring.goal").write_text(ring.to_goal(count=1024), encoding="utf-8")
for rank, trace in enumerate(ring.to_chakra(count=1024)):
    (folder / f"ring.{rank}.et").write_bytes(trace)
print(sorted(file.name for file in folder.iterdir()))

# %% [markdown]
# And back. The XML has become a schedule of another form, with slots for its connections; it computes the same, bit for bit.

# %%
again = wgccl.load(folder / "ring.xml")
assert again.check() and wgccl.load(folder / "ring.json") == ring
x = [np.random.default_rng(rank).standard_normal(64) for rank in range(4)]
np.testing.assert_array_equal(again.run(x), ring.run(x))

# %% [markdown]
# ## Try it
#
# * Take a file of your own: `wgccl.load("yours.xml").show()`. If it says `custom`, say what it is to compute: `collective="all-reduce"`.
# * How large must a connection be? `wgccl.load(path, fifo_slots=1)` reads the file as if it held one message.
