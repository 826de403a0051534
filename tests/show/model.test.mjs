// The pure scripts of a page, over the pages' own data: what every place holds at every level, and what is said of it.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const { WGCCL_PAGES: folder } = process.env;
const parts = new URL('../../src/show/page/', import.meta.url);
const source = ['model', 'timeline', 'words', 'stories'].map(name => readFileSync(new URL(`${name}.js`, parts), 'utf8')).join('');
const page = new Function(`'use strict'; ${source}
return { column, Model, Words, byLevels, byTrace, channelsOf, interleaved, wrongOrder, raceStory, wrongStory, placeFuture, listed };`)();

function open(name) {
  const html = readFileSync(join(folder, `${name}.html`), 'utf8');
  const model = new page.Model(JSON.parse(html.split('id="picture">')[1].split('</script>')[0]));
  const timeline = page.byLevels(model, { order: model.order, level: model.level, values: model.values });
  return { model, timeline, words: new page.Words(model) };
}

const RIGHT = ['ring2', 'ring4', 'ring8', 'ring72', 'direct24', 'barrier16', 'staged4', 'tree8', 'doubling8', 'gather6', 'to-all8', 'broadcast5', 'barrier6'];

test('columns come apart as they were', () => {
  for (const [packed, numbers] of [
    [[], []],
    [[3, -1, 4], [3, -1, 4]],
    [{ d: [0, 1, 1, 4] }, [0, 1, 2, 3, 4]],
    [{ d: [5, 1, 0, 4, -6, 1] }, [5, 5, 5, 5, 5, -1]],
  ]) assert.deepEqual([...page.column(packed)], numbers);
});

test('in the end every output holds what it must', () => {
  for (const name of RIGHT) {
    const { model, timeline } = open(name);
    assert.deepEqual([...timeline.faults()], [], name);
    timeline.seek(timeline.last);
    for (const [place, wanted] of model.expected) {
      if (wanted.rank < 0) assert.equal(model.terms.leaves[timeline.held[place]], model.ranks, name);
    }
    assert.ok(model.expected.size > 0 || name === 'barrier6', name);
  }
});

test('the last step of a right schedule cannot be left out', () => {
  for (const name of RIGHT.filter(name => name !== 'barrier6')) {
    const { model, timeline } = open(name);
    timeline.seek(timeline.last - 1);
    const right = [...model.expected.keys()].every(place => model.fault(place, timeline.held[place]) === null);
    assert.equal(right, false, name);
  }
});

test('any way to a level leads to the same', () => {
  for (const name of ['ring8', 'staged4', 'tree8', 'to-all8', 'deadlock']) {
    const { timeline } = open(name);
    const seen = timeline.stops.map(stop => {
      timeline.seek(stop);
      return [timeline.held.slice(), timeline.writer.slice()];
    });
    for (let turn = 0; turn < 60; turn++) {
      const stop = (turn * 7919) % seen.length;
      timeline.seek(stop);
      assert.deepEqual([timeline.held, timeline.writer], seen[stop], `${name} ${stop}`);
    }
  }
});

test('sets are what trees hold', () => {
  for (const name of ['ring8', 'ring72', 'tree8', 'mixed', 'gather6']) {
    const { terms, ranks } = open(name).model;
    for (let term = 0; term < terms.leaves.length; term++) {
      const counts = terms.counts(term);
      assert.equal([...counts.values()].reduce((sum, of) => sum + of, 0), terms.leaves[term]);
      for (let rank = 0; rank < ranks; rank++) assert.equal(terms.has(term, rank), counts.has(rank));
    }
  }
});

test('values that are made again are the same', () => {
  for (const name of RIGHT) {
    const { model, timeline } = open(name);
    const again = page.interleaved(model, -1, -1);
    assert.deepEqual(again.final, timeline.final, name);
    assert.deepEqual(again.level, model.level, name);
    for (const step of model.order) assert.deepEqual([...again.values(step)], [...model.values(step)], name);
  }
});

test('the order of additions is said as it is', () => {
  const { model, timeline, words } = open('ring4');
  const output = model.buffers.find(of => of.rank === 0 && of.kind === 1);
  timeline.seek(timeline.last);
  assert.equal(words.sum(timeline.held[output.first]), '((r1 + r2) + r3) + r0');
  assert.equal(words.value(timeline.held[output.first]), 'chunk 0 of ranks 0–3 (4 of 4)');
  assert.equal(words.sum(timeline.held[output.first], 10), null);
});

test('steps are said in words', () => {
  const { model, timeline, words } = open('ring4');
  assert.equal(
    words.sentence(model.lanes[2].first + 4),
    'rank 2 AG round 2: waits for signal [row 4][sender 1], by rank 1 AG round 1; copies rank 1 output[0] into output[0]; notifies rank 3 [row 5].',
  );
  assert.equal(words.pattern(timeline.active(2)), 'rank r reads from rank r − 1');
  const [first] = timeline.active(1);
  assert.equal(words.waits(first), '');
  assert.equal(page.listed([0, 1, 2, 5, 7, 8]), '0–2, 5, 7, 8');
});

test('who still reads a place, and who waits for that', () => {
  const { model, timeline, words } = open('staged4');
  let seen = 0;
  for (let place = 0; place < model.places; place++) {
    const { next, readers, held } = page.placeFuture(words, timeline, place, 1);
    if (next < 0) continue;
    for (const reader of readers) assert.ok(timeline.end[reader] <= timeline.end[next]);
    for (const { step } of held) assert.ok(model.before(next).includes(step));
    seen++;
  }
  assert.ok(seen > 0);
});

test('a deadlock is a circle of waits', () => {
  const { model } = open('deadlock');
  const { cycle, heads } = model.stuck();
  assert.equal(heads.length, 4);
  assert.equal(cycle.length, 4);
  cycle.forEach(({ step, by, head }, at) => {
    assert.ok(model.before(step).includes(by));
    assert.equal(head, cycle[(at + 1) % 4].step);
    assert.equal(model.laneOf[by], model.laneOf[head]);
  });
});

test('a race has an order that goes wrong', () => {
  const { model, words } = open('race');
  const proof = model.proofs.find(of => of.name === 'race-free');
  assert.equal(proof.verdict, 'fails');
  for (const finding of proof.findings) {
    const [one] = finding.steps;
    const [other, place] = model.rival(one);
    const race = page.wrongOrder(model, one, other);
    assert.ok(race.ends && race.timeline.faults().size > 0);
    assert.ok(race.timeline.level[race.late] > race.timeline.level[race.early]);
    // No wait of the schedule is broken by it.
    for (let step = 0; step < model.steps; step++) {
      for (const before of model.previous(step)) assert.ok(race.timeline.level[before] < race.timeline.level[step]);
    }
    const told = page.raceStory(words, race, place).map(({ text }) => text).join('\n');
    assert.match(told, /comes first and reads.*\n.*comes after it and overwrites/);
    assert.match(told, /In the end rank \d output/);
  }
  // Where nothing races there is no rival.
  const right = open('ring4').model;
  for (let step = 0; step < right.steps; step++) assert.equal(right.rival(step), null);
});

test('what an output lacks is traced to where it was left out', () => {
  for (const [name, missing, said] of [
    ['lost', [2], /^rank 2 RS round 3 makes output\[\d\] without it|rank 2 RS round 3 makes rank 2 output\[\d\] without it/m],
    ['mixed', [], /rank 2 RS round 2 brings in another chunk: it reduces .*input\[0\]/],
  ]) {
    const { timeline, words } = open(name);
    assert.equal(timeline.faults().size, 4, name);
    for (const [place, fault] of timeline.faults()) {
      assert.deepEqual(fault.missing, missing);
      assert.match(page.wrongStory(words, timeline, place, fault).map(({ text }) => text).join('\n'), said);
    }
  }
});

test('a measured run ends as the schedule does, and is played by its own times', () => {
  for (const name of ['timed', 'ordered']) {
    const { model, timeline } = open(name);
    assert.deepEqual(page.channelsOf(model.trace), name === 'timed' ? [0, 1] : []);
    const run = page.byTrace(model, timeline, model.trace, 0);
    if (name === 'timed') assert.equal(page.byTrace(model, timeline, model.trace, 1).last, run.last + 5000);
    assert.equal(run.ordered, name === 'ordered');
    assert.deepEqual(run.final, timeline.final);
    run.seek(run.last / 2);
    for (const step of run.steps) {
      const done = run.end[step] <= run.last / 2;
      if (done) for (const place of model.writes(step)) assert.ok(run.writer[place] >= 0);
    }
    assert.ok(run.active(run.stops[3]).length > 0);
  }
});

test('every page is one of a test', () => {
  const known = [...RIGHT, 'deadlock', 'race', 'lost', 'mixed', 'hostile', 'timed', 'ordered'];
  const found = readdirSync(folder).filter(name => name.endsWith('.html')).map(name => name.slice(0, -5));
  assert.deepEqual(found.sort(), known.sort());
});
