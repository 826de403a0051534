// Why something goes wrong or has to wait, told step by step: lists of {text, step, place}. Pure.

// Steps that wrote what `step` reads, by operand and at the time when it runs; -1 of an input.
function makers(timeline, step) {
  const { model } = timeline;
  const before = timeline.end[step] - 1e-6;
  const moment = timeline.now ?? timeline.stops[0];
  timeline.seek(timeline.start[step] < before ? Math.max(timeline.start[step], 0) : before);
  const found = Array.from(model.reads(step), place => ({ place, by: timeline.writer[place], holds: timeline.held[place] }));
  timeline.seek(moment);
  return found;
}

// Two accesses of `place` that nothing orders, and what comes of the order that `race` shows.
function raceStory(words, race, place) {
  const { model } = words;
  const tell = (step, timeline) => {
    const reads = Array.from(model.reads(step)).some(first => place >= first && place < first + model.span[step]);
    const held = makers(timeline, step).find(of => place >= of.place && place < of.place + model.span[step]);
    const moment = timeline.now ?? timeline.stops[0];
    timeline.seek(Math.max(0, timeline.start[step]));
    const seen = timeline.held[place];
    timeline.seek(moment);
    const value = timeline.values(step)[0];
    if (reads && held) return `reads ${words.place(place)}, which holds ${words.value(seen)}`;
    return value === undefined ? `writes ${words.place(place)}` : `overwrites ${words.place(place)}, which holds ${words.value(seen)}, with ${words.value(value)}`;
  };
  const { early, late, timeline, right } = race;
  const told = [
    { text: `${words.step(early)} comes first and ${tell(early, timeline)}.`, step: early },
    { text: `${words.step(late)} comes after it and ${tell(late, timeline)}.`, step: late },
  ];
  const changed = [early, late].find(step => tell(step, timeline) !== tell(step, right.timeline));
  if (changed !== undefined) told.push({ text: `In the other order ${words.step(changed)} ${tell(changed, right.timeline)}.`, step: changed });
  let count = 0;
  for (const [at, fault] of timeline.faults()) {
    if (count++ < 3) told.push({ text: `In the end ${words.fault(at, fault)}.`, place: at });
  }
  if (count > 3) told.push({ text: `So do ${plural(count - 3, 'more chunk')}.` });
  if (count === 0) told.push({ text: 'This order ends right, too; that is luck, and nothing forbids that both happen at the same time.' });
  return told;
}

// Where the contribution of `rank` that output `place` lacks was last seen.
function lossStory(words, timeline, place, rank) {
  const { model } = words;
  const { terms } = model;
  const wanted = model.expected.get(place);
  const has = term => term > 0 && terms.chunks[term] === wanted.chunk && (terms.bits ? terms.has(term, rank) : terms.counts(term).has(rank));
  const carriers = [];
  const lost = [];
  timeline.steps.forEach((step, at) => {
    for (let i = timeline.writeAt[at]; i < timeline.writeAt[at + 1]; i += 4) {
      const [target, old, , value] = timeline.writes.subarray(i, i + 4);
      if (has(value)) carriers.push({ step, place: target });
      else if (has(old)) lost.push({ step, place: target });
    }
  });
  const told = [];
  const chunk = `rank ${rank}’s contribution to chunk ${wanted.chunk}`;
  if (carriers.length === 0) told.push({ text: `Nobody ever takes ${chunk} from where it is.` });
  else {
    const last = carriers[carriers.length - 1];
    const first = carriers[0];
    told.push({ text: `${words.step(first.step)} takes ${chunk} into ${words.place(first.place)}.`, step: first.step });
    if (last.step !== first.step) told.push({ text: `${words.step(last.step)} is the last that carries it, into ${words.place(last.place)}.`, step: last.step });
    const gone = lost[0];
    if (gone) told.push({ text: `${words.step(gone.step)} overwrites ${words.place(gone.place)}, where it was, with a value that lacks it.`, step: gone.step });
    else told.push({ text: `It is still in ${words.place(last.place)} in the end, and nobody took it on from there.`, place: last.place });
  }
  // Of the steps through which the value went, those of the rank itself had it at hand.
  const way = chain(timeline, place);
  const own = way.filter(step => model.rankOf[step] === rank && !Array.from(timeline.values(step)).some(has));
  const left = own[own.length - 1];
  if (left !== undefined) told.push({ text: `${words.step(left)} makes ${words.place(model.writes(left)[0], model.span[left])} without it.`, step: left });
  const first = way[way.length - 1];
  if (first !== undefined && first !== left) told.push({ text: `What ${words.place(place)} holds in the end begins with ${words.step(first)}.`, step: first });
  return told;
}

// Where output `place` got what is wrong with it.
function wrongStory(words, timeline, place, fault) {
  const { model } = words;
  const { terms } = model;
  const told = fault.missing.length > 0 ? lossStory(words, timeline, place, fault.missing[0]) : [];
  const way = chain(timeline, place).reverse();
  const first = is => way.find(step => Array.from(timeline.values(step)).some(is));
  const wanted = model.expected.get(place);
  const mixed = fault.other && wanted.rank < 0 ? first(term => term > 0 && terms.chunks[term] !== wanted.chunk) : undefined;
  if (mixed !== undefined) told.push({ text: `${words.step(mixed)} brings in another chunk: it ${words.moves(mixed)}.`, step: mixed });
  for (const rank of fault.twice.slice(0, 2)) {
    const again = first(term => terms.counts(term).get(rank) > 1);
    if (again !== undefined) told.push({ text: `${words.step(again)} adds rank ${rank}’s contribution to a sum that has it: it ${words.moves(again)}.`, step: again });
  }
  return told;
}

// The steps through which the value of `place` went, the latest first.
function chain(timeline, place, most = 64) {
  const { model } = timeline;
  const { terms } = model;
  const steps = [];
  let step = timeline.finalWriter[place];
  while (step >= 0 && steps.length < most) {
    steps.push(step);
    const from = makers(timeline, step);
    const next = from.reduce((best, of) => (of.by >= 0 && (!best || terms.leaves[of.holds] > terms.leaves[best.holds]) ? of : best), null);
    step = next ? next.by : -1;
  }
  return steps;
}

// What happens to `place` after `moment`: who still reads it, who overwrites it next, and what that one waits for.
function placeFuture(words, timeline, place, moment) {
  const { model } = words;
  const runs = model.accesses(place).filter(([step]) => timeline.end[step] > moment).sort((a, b) => timeline.end[a[0]] - timeline.end[b[0]]);
  const next = runs.find(([, writes]) => writes)?.[0] ?? -1;
  const readers = [];
  for (const [step, writes] of runs) {
    if (!writes && step !== next && (next < 0 || timeline.end[step] <= timeline.end[next])) readers.push(step);
  }
  const pastReaders = model.accesses(place).filter(([step, writes]) => !writes && timeline.end[step] >= 0 && timeline.end[step] <= moment).map(([step]) => step);
  const held = [];
  if (next >= 0) {
    for (const wait of model.waits(next)) {
      for (const by of wait.by) {
        if (readers.includes(by) || pastReaders.includes(by)) held.push({ step: by, wait });
      }
    }
  }
  return { next, readers, held };
}
