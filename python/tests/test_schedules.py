"""Schedules as Python objects: written, proved, broken, run, converted and drawn."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import COLLECTIVES, inputs, uneven

import wgccl

PROOFS = ["structure", "deadlock-free", "race-free", "result", "bit-identical", "initialised"]


def two_phase(ranks: int = 4) -> wgccl.Schedule:
    """Every rank reduces its chunk, then takes the others'."""
    s = wgccl.Schedule("by hand", "all-reduce", ranks, chunks=ranks)
    for r in range(ranks):
        me = s.rank(r, "reduce")
        if ranks > 1:
            me.reduce(*[s.input(q, r) for q in range(ranks)]).to(me.output(r))
        for q in range(ranks):
            if q != r:
                me.notify(q, "reduced")
    for r in range(ranks):
        for q in range(ranks):
            if q != r:
                s.rank(r, ("take", q)).wait(q, "reduced").get(s.output(r, q), s.output(q, q))
    return s


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_schedule_is_written_proved_and_run() -> None:
    s = two_phase()
    report = s.prove()
    assert report and report.ok and [of.name for of in report.proofs] == PROOFS
    assert all(of.ok and of.verdict == "holds" and not of.findings for of in report.proofs)
    assert repr(report).splitlines()[2] == (
        "holds       race-free     conflicting accesses are ordered, no notify can be lost"
    )
    assert repr(s) == "<Schedule 'by hand': all-reduce of 4 ranks, 4 lanes, 16 instructions>"
    assert (s.name, s.collective, s.ranks, s.chunks, s.slots, s.signal_rows) == ("by hand", "all-reduce", 4, 4, 0, 1)
    x = uneven(4, (10, 3))
    y = s.run(x)
    np.testing.assert_array_equal(y, s.golden(x))
    # In the order of ranks, as numpy adds.
    np.testing.assert_array_equal(y[3], ((x[0] + x[1]) + x[2]) + x[3])
    assert wgccl.verify(x, y, s).equal == ["by hand"]
    out = [np.empty((10, 3), np.float32) for _ in range(4)]
    assert s.run(x, "max", out=out) is out
    np.testing.assert_array_equal(out, [np.max(x, axis=0)] * 4)
    np.testing.assert_array_equal(s.run(np.stack(x)), np.stack(y))
    assert s.run(inputs(4, 0))[0].shape == (0,)


def test_verbs_join_in_the_order_of_an_instruction() -> None:
    s = wgccl.Schedule("verbs", "all-reduce", 2, slots=4)
    a = s.rank(0)
    a.wait(1, "x").wait(1, "y").copy(a.input()).to(a.slot(0), a.slot(1)).notify(1, "x").signal(1, "y")
    a.wait(1, "x").reduce(a.slot(0), a.slot(1), a.input(), to=[a.output(), a.slot(2)])
    a.copy(a.slot(2), a.slot(3))
    a.notify(1, "x")
    s.rank(0).notify(1, "x")
    lanes = json.loads(s.to_json())["lanes"]
    assert len(lanes) == 1
    first, second, third, fourth = lanes[0]["instructions"]
    assert first["waits"] == [{"row": 0, "sender": 1}, {"row": 1, "sender": 1}]
    assert (first["from"], first["to"]) == (["rank 0 input[0]"], ["rank 0 slot[0]", "rank 0 slot[1]"])
    assert first["notifies"] == [{"peer": 1, "row": 0}, {"peer": 1, "row": 1}]
    # A wait awaits one notify more than those before it.
    assert second["waits"] == [{"row": 0, "sender": 1, "at_least": 2}]
    assert second["from"] == ["rank 0 slot[0]", "rank 0 slot[1]", "rank 0 input[0]"]
    assert third["notifies"] == [{"peer": 1, "row": 0}]
    assert fourth == {"label": fourth["label"], "notifies": [{"peer": 1, "row": 0}]}
    assert fourth["label"].startswith("test_schedules.py line ")


def test_put_and_get_know_whose_memory_it_is() -> None:
    s = wgccl.Schedule("put and get", "broadcast", 2, root=0)
    s.rank(0).copy(s.input(0), s.output(0)).put(s.output(1), s.input(0))
    assert s.check().ok
    me = s.rank(1)
    with pytest.raises(wgccl.InputError, match="what is put is rank 0 input.0., and must be this rank's own memory"):
        me.put(s.output(0), s.input(0))
    with pytest.raises(wgccl.InputError, match="what is got is rank 1 output.0., and must be another rank's memory"):
        me.get(me.output(), me.output())
    with pytest.raises(wgccl.InputError, match="nothing was copied or reduced"):
        me.to(me.output())
    with pytest.raises(wgccl.InputError, match="reduce takes two chunks or more"):
        me.reduce(me.input())
    with pytest.raises(wgccl.InputError, match="there is no rank 2: there are ranks 0 to 1"):
        s.rank(2)
    with pytest.raises(wgccl.InputError, match="chunk is -1"):
        s.input(0, -1)
    with pytest.raises(wgccl.InputError, match="that is no chunk"):
        me.copy(me.input(), 7)  # type: ignore[arg-type]


def test_signals_have_names_or_rows() -> None:
    s = wgccl.Schedule("names", "all-reduce", 2)
    s.rank(0).notify(1, "full").notify(1, 3)
    s.rank(0).notify(1, "empty")
    assert s.signal_rows == 5
    with pytest.raises(wgccl.InputError, match="row 4 is the signal 'empty'; use its name, or another row"):
        s.rank(0).notify(1, 4)
    report = s.check()
    assert any("[full]" in of.message for of in report.findings)
    assert any("[row 3]" in of.message for of in report.findings)


def test_several_lanes_of_a_rank() -> None:
    s = wgccl.Schedule("lanes", "all-reduce", 2, chunks=2)
    for rank in range(2):
        for lane in (0, 1):
            s.rank(rank, lane=lane).reduce(s.input(0, lane), s.input(1, lane), to=s.output(rank, lane))
    assert s.lanes == 4 and s.prove()
    x = uneven(2, 7)
    np.testing.assert_array_equal(s.run(x)[1], x[0] + x[1])


def test_parts_count_chunks_through() -> None:
    s = wgccl.Schedule("parts", "all-gather", 2, chunks=3)
    assert (s.output(1, 2, part=1).chunk, s.rank(0).output(1, part=1).chunk) == (5, 4)
    for rank in range(2):
        for part in range(2):
            s.rank(rank).copy(s.input(part), s.output(rank, part=part), chunks=3)
    assert s.prove()


def test_errors_name_the_line_that_made_the_instruction() -> None:
    s = wgccl.Schedule("racy", "all-reduce", 2)
    for rank in range(2):
        write = here() + 1
        s.rank(rank, "write").reduce(s.input(0), s.input(1)).to(s.output(rank))
    read = here() + 1
    s.rank(0, "read").copy(s.output(1)).to(s.output(0))
    with pytest.raises(wgccl.ScheduleError) as caught:
        s.prove()
    error = caught.value
    assert str(error).startswith("the schedule 'racy' is not safe to run:\nrace-free does not hold")
    assert f"rank 1 write (lane 1, instruction 0, test_schedules.py:{write})" in str(error)
    assert f"rank 0 read (lane 0, instruction 1, test_schedules.py:{read})" in str(error)
    report = error.report
    assert report is not None and not report
    (finding,) = report.proofs[2].findings
    assert (finding.rank, finding.lane, finding.instruction, finding.label) == (1, 1, 0, "write")
    assert (finding.file, finding.line) == (__file__, write)
    assert repr(report) == repr(s.check())
    with pytest.raises(wgccl.ScheduleError) as again:
        s.run(inputs(2, 3))
    assert str(again.value) == str(error)
    assert f"test_schedules.py:{read}" in s.effect() and "a run that goes wrong" in s.effect()


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("/home/me/ring.py", "ring.py line 2"),
        ("C:\\me\\ring.py", "ring.py line 2"),
        ("/tmp/ipykernel_1234/5678.py", "cell line 2"),
        ("<ipython-input-3-0a1b2c>", "cell line 2"),
        ("<stdin>", "<stdin> line 2"),
    ],
)
def test_instructions_without_a_label_are_called_by_their_line(file: str, label: str) -> None:
    s = wgccl.Schedule("lines", "all-reduce", 1)
    exec(compile("me = s.rank(0)\nme.copy(me.input()).to(me.output())", file, "exec"), {"s": s})
    assert json.loads(s.to_json())["lanes"][0]["instructions"][0]["label"] == label


def test_what_is_missing_is_told() -> None:
    s = two_phase(3)
    assert "waits for" in repr(s.edit("drop-notify:rank 0 reduce:0").check())
    broken = s.edit("shift-read:rank 1 take round 2")
    assert not broken.check() and "rank 1" in broken.effect()
    assert "in[0]" in s.why("0:1") and "rank 1 reduce" in s.why("0:1")
    assert "comes before" in s.order("rank 0 reduce", "rank 1 take round 0")
    finding = wgccl.Schedule("nothing", "all-reduce", 2).check().findings[0]
    assert finding.message and finding.rank is None
    for bad in ["drop-everything:0.0", "drop-wait:rank 9 x", "drop-wait"]:
        with pytest.raises(wgccl.InputError):
            s.edit(bad)
    with pytest.raises(wgccl.InputError, match="'nowhere' is no chunk"):
        s.why("nowhere")


def test_lines_follow_a_schedule_that_is_edited() -> None:
    s = two_phase(2)

    def lines(of: wgccl.Schedule) -> set[int | None]:
        return {finding.line for finding in of.check().findings}

    assert lines(s.edit("drop-wait:rank 0 take round 1")) <= {*range(20, 45), None}
    # One instruction more: lines would name the wrong one, so there are none.
    assert lines(s.edit("zero-signals:0")) <= {None}


def test_a_changed_schedule_is_proved_again() -> None:
    s = two_phase(2)
    x = inputs(2, 4)
    s.run(x)
    s.rank(0).copy(s.input(1)).to(s.output(0))
    with pytest.raises(wgccl.ScheduleError):
        s.run(x)


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_every_algorithm_is_built_and_runs(collective: str) -> None:
    for algorithm in wgccl.algorithms(collective):
        s = wgccl.build(algorithm, 4, collective)
        assert s.collective == collective and s.name == algorithm and s.check()
        x = uneven(4, 8)
        given = x[0] if collective in ("broadcast", "scatter") else x
        np.testing.assert_array_equal(s.run(given), s.golden(given))
        assert wgccl.verify(given, s.run(given), s)


def test_build_takes_what_the_program_takes() -> None:
    assert wgccl.build().name == "ring" and wgccl.build(ranks=8).ranks == 8
    assert wgccl.build("auto", 4, count=8).name in wgccl.algorithms()
    assert wgccl.build("hierarchical", 8, groups=[4, 4]) != wgccl.build("hierarchical", 8, groups=[2, 6])
    assert wgccl.build("ring", 4, sync="barrier").signal_rows != 0
    assert wgccl.build("tree", 4, "broadcast", root=3).root == 3 and wgccl.build().root is None
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: wgccl.build("ring", 0), "0 ranks"),
        (lambda: wgccl.build("halving-doubling", 6), "power of two"),
        (lambda: wgccl.build("hierarchical", 4, groups=5), "5 groups of 4 ranks; give 1 to 4"),
        (lambda: wgccl.build("ring", -1), "ranks is -1"),
    ]
    for call, message in cases:
        with pytest.raises(wgccl.InputError, match=message):
            call()


@pytest.mark.parametrize("algorithm", ["ring", "tree", "two-phase"])
def test_formats_say_the_same(algorithm: str, tmp_path: Path) -> None:
    s = wgccl.build(algorithm, 4)
    document = tmp_path / "s.json"
    document.write_text(s.to_json())
    assert wgccl.load(document) == s == wgccl.loads(s.to_json().encode())
    assert pickle.loads(pickle.dumps(s)) == s == copy.copy(s) == copy.deepcopy(s)
    xml = tmp_path / "s.xml"
    xml.write_text(s.to_xml(proto="LL"))
    again = wgccl.load(str(xml))
    assert again.check() and 'proto="LL"' in again.to_xml()
    x = inputs(4, 64)
    np.testing.assert_array_equal(again.run(x), s.run(x))
    assert len(s.to_chakra()) == 4 and s.to_chakra(count=4096) != s.to_chakra()
    assert s.to_goal().startswith("num_ranks 4\n") and s.to_goal(dtype="float64") != s.to_goal()


IN_PLACE = """<algo name="sum" proto="Simple" nchannels="1" ngpus="2" nchunksperloop="1" coll="allreduce" inplace="1">
<gpu id="0" i_chunks="1" o_chunks="1" s_chunks="0">
<tb id="0" send="1" recv="1" chan="0">
<step s="0" type="s" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="rrc" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
</tb></gpu>
<gpu id="1" i_chunks="1" o_chunks="1" s_chunks="0">
<tb id="0" send="0" recv="0" chan="0">
<step s="0" type="s" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="rrc" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
</tb></gpu>
</algo>
"""


def test_a_file_for_calls_in_place_runs_in_both_ways() -> None:
    s = wgccl.loads(IN_PLACE)
    assert s.in_place and s.check()
    x = inputs(2, 5)
    before = [a.copy() for a in x]
    np.testing.assert_array_equal(s.run(x), [x[0] + x[1]] * 2)
    np.testing.assert_array_equal(x, before)
    s.run(x, out=x)
    np.testing.assert_array_equal(x, [before[0] + before[1]] * 2)


def test_files_that_hold_no_schedule() -> None:
    for text, message in [
        ("ring", "it is no schedule: it begins neither like MSCCL XML"),
        ("{}", "missing field"),
        ("<algo", "text: "),
        ('<algo name="x" proto="Simple" nchannels="1" ngpus="1" nchunksperloop="1" coll="custom"></algo>', "custom"),
    ]:
        with pytest.raises(wgccl.ScheduleError, match=message):
            wgccl.loads(text)
    with pytest.raises(wgccl.InputError, match="leave collective, root, fifo_slots and elide out"):
        wgccl.loads(wgccl.build().to_json(), fifo_slots=2)
    with pytest.raises(FileNotFoundError):
        wgccl.load("no such file.xml")


def test_pictures_of_right_and_wrong_schedules(tmp_path: Path) -> None:
    for s in (wgccl.build("ring", 4), wgccl.build("ring", 4).edit("drop-wait:rank 1 RS round 2")):
        page = s.show(height=300)
        assert page.html.startswith("<!") and "</html>" in page.html
        frame = page._repr_html_()
        assert frame.startswith('<iframe srcdoc="') and 'height="300"' in frame and frame.count('"') % 2 == 0
        assert "<script" not in frame and 'sandbox="allow-scripts"' in frame
        path = tmp_path / f"{s.check().ok}.html"
        page.save(path)
        assert path.read_text(encoding="utf-8") == page.html
        assert s.svg().lstrip().startswith("<svg") and s.svg(animated=True) != s.svg()
        assert "<svg" in s._repr_html_() and "<svg" in s.check()._repr_html_()
        assert "rank 3" in str(s)
    impossible = wgccl.Schedule("impossible", "all-reduce", 1)
    impossible.rank(0).copy(impossible.input(0, 9)).to(impossible.output(0))
    with pytest.raises(wgccl.ScheduleError, match="cannot be drawn"):
        impossible.show()
    assert str(impossible) == repr(impossible) and "<svg" not in impossible._repr_html_()


class Elements(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_of_strangers_end_no_element() -> None:
    name = '"><script>alert(1)</script>'
    s = wgccl.Schedule(name, "all-reduce", 1)
    s.rank(0, "</pre><script>").copy(s.input(0)).to(s.output(0))
    page = s.show()
    ((tag, attributes),) = Elements(page._repr_html_()).found
    assert tag == "iframe" and set(attributes) == {"srcdoc", "title", "sandbox", "width", "height", "style"}
    assert attributes["srcdoc"] == page.html and attributes["title"] == f"all-reduce by {name}"
    for html in (s._repr_html_(), s.check()._repr_html_()):
        assert "script" not in {tag for tag, _ in Elements(html).found}
