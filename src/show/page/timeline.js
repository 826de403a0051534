// Which steps have run at a moment, and what every place then holds. A moment is a level or a time. Pure.

class Timeline {
  // plan: order of steps; start and end of each, -1 of one that never runs; the moments at which a cursor stops; values by step.
  constructor(model, plan) {
    this.model = model;
    Object.assign(this, plan);
    this.steps = Int32Array.from(plan.order).filter(step => plan.end[step] >= 0);
    const turn = new Int32Array(model.steps);
    plan.order.forEach((step, at) => { turn[step] = at; });
    this.steps.sort((a, b) => plan.end[a] - plan.end[b] || turn[a] - turn[b]);
    this.last = this.stops[this.stops.length - 1];
    this.held = model.initial();
    this.writer = new Int32Array(model.places).fill(-1);
    this.applied = 0;
    // Every write: place, what it held, who had written that, and what it holds then.
    this.writeAt = offsets(this.steps.map(step => 4 * model.writes(step).length * this.values(step).length));
    this.writes = new Int32Array(this.writeAt[this.steps.length]);
    let next = 0;
    for (const step of this.steps) {
      const values = this.values(step);
      for (const first of model.writes(step)) {
        for (let k = 0; k < values.length; k++) {
          this.writes[next++] = first + k;
          this.writes[next++] = this.held[first + k];
          this.writes[next++] = this.writer[first + k];
          this.writes[next++] = values[k];
          this.held[first + k] = values[k];
          this.writer[first + k] = step;
        }
      }
    }
    this.final = this.held.slice();
    this.finalWriter = this.writer.slice();
    this.applied = this.steps.length;
    this.seek(this.stops[0]);
    // The colour of what each step writes first; -2 where it writes nothing.
    this.hues = new Int32Array(model.steps).fill(-2);
    for (const step of this.steps) {
      const values = this.values(step);
      if (values.length > 0) this.hues[step] = model.hue(values[0]);
    }
  }

  // Brings `held` and `writer` to what is done at `moment`.
  seek(moment) {
    const { steps, end, writes, writeAt, held, writer } = this;
    while (this.applied < steps.length && end[steps[this.applied]] <= moment) {
      const step = steps[this.applied++];
      for (let i = writeAt[this.applied - 1]; i < writeAt[this.applied]; i += 4) {
        held[writes[i]] = writes[i + 3];
        writer[writes[i]] = step;
      }
    }
    while (this.applied > 0 && end[steps[this.applied - 1]] > moment) {
      this.applied--;
      for (let i = writeAt[this.applied + 1] - 4; i >= writeAt[this.applied]; i -= 4) {
        held[writes[i]] = writes[i + 1];
        writer[writes[i]] = writes[i + 2];
      }
    }
  }

  // Steps under way at `moment`; at a stop, those that end there and those that go on.
  active(moment) {
    if (this.byLevel) return moment > 0 ? this.byLevel(Math.ceil(moment) - 1) : new Int32Array(0);
    return this.steps.filter(step => this.start[step] < moment && moment <= this.end[step]);
  }

  stopAfter(moment) {
    return this.stops.find(stop => stop > moment + 1e-9) ?? this.last;
  }

  stopBefore(moment) {
    let found = this.stops[0];
    for (const stop of this.stops) {
      if (stop >= moment - 1e-9) break;
      found = stop;
    }
    return found;
  }

  // Output places that do not end as they must, in places' order.
  faults() {
    if (!this.wrong) {
      this.wrong = new Map();
      for (const place of this.model.expected.keys()) {
        const fault = this.model.fault(place, this.final[place]);
        if (fault) this.wrong.set(place, fault);
      }
    }
    return this.wrong;
  }
}

// The timeline whose moments are levels: moment n is when n levels are done.
function byLevels(model, { order, level, values }) {
  let levels = 0;
  for (const step of order) levels = Math.max(levels, level[step] + 1);
  const timeline = new Timeline(model, {
    order,
    level,
    start: level,
    end: level.map(of => (of < 0 ? -1 : of + 1)),
    stops: Array.from({ length: levels + 1 }, (_, stop) => stop),
    values,
  });
  timeline.byLevel = grouped(levels, model.steps, step => level[step]);
  // Where steps stand in the grid: those that never run behind the last of their lane that does.
  timeline.column = Int32Array.from(level);
  for (const lane of model.lanes) {
    let next = 0;
    for (let step = lane.first; step < lane.first + lane.steps; step++) {
      if (level[step] < 0) timeline.column[step] = next;
      next = timeline.column[step] + 1;
    }
  }
  timeline.columns = timeline.column.reduce((most, at) => Math.max(most, at + 1), 0);
  return timeline;
}

// The schedule once more, with `late` kept waiting until `early` is done: another order that is allowed where both race.
// With -1 for both: everything as early as it can be.
function interleaved(model, early, late) {
  const waiting = new Int32Array(model.steps);
  const level = new Int32Array(model.steps).fill(-1);
  const next = new Int32Array(model.steps);
  const before = step => (early >= 0 && step === late ? [...model.previous(step), early] : model.previous(step));
  const after = step => (early >= 0 && step === early ? [...model.following(step), late] : model.following(step));
  const ready = [];
  for (let step = 0; step < model.steps; step++) {
    waiting[step] = before(step).length;
    if (waiting[step] === 0) ready.push(step);
  }
  for (let at = 0; at < ready.length; at++) {
    const step = ready[at];
    level[step] = next[step];
    for (const to of after(step)) {
      next[to] = Math.max(next[to], level[step] + 1);
      if (--waiting[to] === 0) ready.push(to);
    }
  }
  const turn = new Map(Array.from(model.order, (step, at) => [step, at]));
  ready.sort((a, b) => level[a] - level[b] || turn.get(a) - turn.get(b));
  const held = model.initial();
  const made = new Map();
  for (const step of ready) {
    const reads = model.reads(step);
    const values = reads.length === 0 ? [] : Array.from({ length: model.span[step] }, (_, k) => {
      let value = held[reads[0] + k];
      for (let i = 1; i < reads.length; i++) value = model.terms.reduce(value, held[reads[i] + k]);
      return value;
    });
    for (const first of model.writes(step)) values.forEach((value, k) => { held[first + k] = value; });
    made.set(step, values);
  }
  return byLevels(model, { order: ready, level, values: step => made.get(step) ?? [] });
}

// Of two steps that race, the order that ends wrong, or that in which one sees what it must not: {early, late, timeline}.
function wrongOrder(model, one, other) {
  const orders = [[one, other], [other, one]].map(([early, late]) => {
    return { early, late, timeline: interleaved(model, early, late) };
  });
  const wrong = orders.filter(({ timeline }) => timeline.faults().size > 0);
  const [first, second] = orders;
  return { ...(wrong[0] ?? first), right: wrong[0] === first ? second : first, ends: wrong.length > 0 };
}

// Whether a clock only orders: the device said what came after what, and no times.
function isOrder(clock) {
  return Boolean(clock?.order);
}

// The channels of a run: each goes through all instructions by itself. None where they were not told apart.
function channelsOf(trace) {
  return [...new Set(column(trace.channel))].filter(channel => channel >= 0).sort((a, b) => a - b);
}

// What one channel did in a run: {clock, lane, instruction, channel, begin, ready, end}, columns by span.
function byTrace(model, base, trace, chosen) {
  const begin = new Float64Array(model.steps).fill(-1);
  const start = new Float64Array(model.steps).fill(-1);
  const end = new Float64Array(model.steps).fill(-1);
  const [lanes, instructions, channels] = [trace.lane, trace.instruction, trace.channel].map(packed => column(packed));
  const [begins, waited, moved] = [trace.begin, trace.ready, trace.end].map(packed => longColumn(packed));
  const zero = begins.reduce((least, of) => Math.min(least, of), Infinity);
  lanes.forEach((number, span) => {
    const lane = model.lanes[number];
    if (!lane || instructions[span] >= lane.steps || (channels[span] >= 0 && channels[span] !== chosen)) return;
    const step = lane.first + instructions[span];
    const from = begins[span] - zero;
    const ready = from + waited[span];
    begin[step] = from;
    start[step] = ready;
    end[step] = ready + moved[span];
  });
  const order = Array.from(base.steps).filter(step => end[step] >= 0);
  const stops = [0, ...new Set(order.map(step => end[step]))].sort((a, b) => a - b);
  const timeline = new Timeline(model, { order, start, end, stops: [...new Set(stops)], values: base.values });
  const ordered = isOrder(trace.clock);
  return Object.assign(timeline, { begin, level: base.level, column: base.column, columns: base.columns, ordered });
}
