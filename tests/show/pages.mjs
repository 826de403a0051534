// Writes the pages that the tests look at: node pages.mjs PROGRAM FOLDER
//
// By the program, right schedules by name and wrong ones from documents, so that both ways are tested.

import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [program, folder] = process.argv.slice(2).map(path => resolve(path));

const wgccl = args => execFileSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });

const page = (name, ...args) => wgccl(['show', ...args, '--html', join(folder, `${name}.html`)]);

const document = ranks => JSON.parse(wgccl(['convert', 'ring', '-P', `${ranks}`, '--to', 'wgccl']));

// A ring of `ranks` that `edit` has changed.
function broken(name, ranks, edit) {
  const schedule = document(ranks);
  edit(schedule, schedule.lanes.map(lane => lane.instructions));
  const file = join(folder, `${name}.json`);
  writeFileSync(file, JSON.stringify(schedule));
  page(name, file);
}

// What a name can hold to get out of where it stands.
const HOSTILE = '</script><img src=x onerror=alert(1)>&amp;"\'<!--';

// A run in which rank r is r microseconds late and channel 1 five more, as a page gets it from a launch that was traced.
function traced(name, clock, named, from) {
  const [ranks, steps] = [8, 14];
  const run = { clock, named, pieces: 1, lane: [], instruction: [], channel: [], begin: [], ready: [], end: [] };
  for (const channel of clock.order ? [-1] : [0, 1]) {
    for (let lane = 0; lane < ranks; lane++) {
      for (let instruction = 0; instruction < steps; instruction++) {
        const begin = clock.order ? instruction * ranks + lane : instruction * 2000 + lane * 1000 + channel * 5000;
        const [waited, moved] = clock.order ? [0, 1] : [500, 1500];
        for (const [column, number] of Object.entries({ lane, instruction, channel, begin, ready: waited, end: moved })) run[column].push(number);
      }
    }
  }
  const html = readFileSync(join(folder, `${from}.html`), 'utf8');
  const with_trace = html.replace('"trace":null', `"trace":${JSON.stringify(run)}`);
  if (with_trace === html) throw new Error('the page has no place for a trace');
  writeFileSync(join(folder, `${name}.html`), with_trace);
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
page('ring2', 'ring', '-P', '2');
page('ring4', 'ring', '-P', '4');
page('ring8', 'ring', '-P', '8');
page('ring72', 'ring', '-P', '72');
page('direct24', 'direct', '-P', '24');
page('barrier16', 'ring', '-P', '16', '--sync', 'barrier');
page('staged4', 'ring-staged', '-P', '4', '--in-place');
page('tree8', 'tree', '-P', '8');
page('doubling8', 'halving-doubling', '-P', '8');
page('gather6', 'all-gather', '-P', '6');
page('to-all8', 'all-to-all', '-P', '8');
page('broadcast5', 'broadcast', '-P', '5');
page('barrier6', 'barrier', '-P', '6');
// Every rank waits for a round that its neighbour would only make after one that waits for it.
broken('deadlock', 4, (_, lanes) => {
  for (const lane of lanes) [lane[1], lane[2]] = [lane[2], lane[1]];
});
// One round without signals.
broken('race', 4, (_, lanes) => {
  const other = of => of.row !== 2;
  for (const instruction of lanes.flat()) {
    if (instruction.waits) instruction.waits = instruction.waits.filter(other);
    if (instruction.notifies) instruction.notifies = instruction.notifies.filter(other);
  }
});
// Rank 2 leaves its own contribution out.
broken('lost', 4, (_, lanes) => {
  lanes[2][2].from = lanes[2][2].from.filter(from => !from.startsWith('rank 2 '));
});
// Rank 2 adds another chunk.
broken('mixed', 4, (_, lanes) => {
  lanes[2][1].from = lanes[2][1].from.map(from => (from.startsWith('rank 2 ') ? 'rank 2 input[0]' : from));
});
broken('hostile', 2, (schedule, lanes) => {
  schedule.name = HOSTILE;
  lanes[0][0].label = HOSTILE;
});
traced('timed', { device: { calibrated: true } }, 'the device\u2019s clock', 'ring8');
traced('ordered', { order: { measured: true } }, 'order only; no times', 'ring8');
