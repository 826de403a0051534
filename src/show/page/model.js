// A picture as the page works with it: columns taken apart, terms with the contributions in them, what stands where.
// Pure: it knows no document, so that tests run it alone.

// A column is a list, or {d: [difference, times, ...]}.
function column(packed) {
  return expanded(packed, Int32Array);
}

// A column of nanoseconds, which are longer than 32 bits.
function longColumn(packed) {
  return expanded(packed, Float64Array);
}

function expanded(packed, Numbers) {
  if (Array.isArray(packed)) return Numbers.from(packed);
  const runs = packed.d;
  let length = 0;
  for (let i = 1; i < runs.length; i += 2) length += runs[i];
  const numbers = new Numbers(length);
  let at = 0;
  let value = 0;
  for (let i = 0; i < runs.length; i += 2) {
    for (let times = runs[i + 1]; times > 0; times--) numbers[at++] = value += runs[i];
  }
  return numbers;
}

// Where the items of each begin, from how many there are of each.
function offsets(counts) {
  const at = new Int32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) at[i + 1] = at[i] + counts[i];
  return at;
}

// Lists of which each item stands in the list that `key` names.
function grouped(groups, count, key) {
  const sizes = new Int32Array(groups);
  for (let i = 0; i < count; i++) if (key(i) >= 0) sizes[key(i)]++;
  const at = offsets(sizes);
  const next = at.slice();
  const items = new Int32Array(at[groups]);
  for (let i = 0; i < count; i++) if (key(i) >= 0) items[next[key(i)]++] = i;
  return group => items.subarray(at[group], at[group + 1]);
}

// Values: 0 is what nobody wrote, then come contributions, then reductions of two earlier ones.
class Terms {
  constructor(ranks, inputs, left, right) {
    this.ranks = ranks;
    this.inputs = inputs;
    this.left = Array.from(left);
    this.right = Array.from(right);
    this.words = Math.ceil(ranks / 32);
    this.known = null;
    const count = 1 + inputs.terms + this.left.length;
    // Sets of contributions, 32 ranks a word. Of very many only their sizes are kept.
    this.bits = count * this.words <= 1 << 25 ? new Uint32Array(count * this.words) : null;
    this.leaves = new Array(count);
    this.chunks = new Array(count);
    this.sources = new Array(count);
    for (let term = 0; term < count; term++) this.fill(term);
  }

  fill(term) {
    const input = term - 1;
    const { bits, words } = this;
    if (term === 0) {
      this.leaves[0] = 0;
      this.chunks[0] = this.sources[0] = -1;
    } else if (input < this.inputs.terms) {
      const rank = this.inputs.only ?? Math.floor(input / this.inputs.chunks);
      this.leaves[term] = 1;
      this.chunks[term] = input % this.inputs.chunks;
      this.sources[term] = rank;
      if (bits) bits[term * words + (rank >> 5)] |= 1 << (rank & 31);
    } else {
      const [a, b] = this.operands(term);
      this.leaves[term] = this.leaves[a] + this.leaves[b];
      // Different chunks in one sum are a mistake.
      this.chunks[term] = this.chunks[a] === this.chunks[b] ? this.chunks[a] : -1;
      this.sources[term] = this.sources[a];
      if (bits) for (let w = 0; w < words; w++) bits[term * words + w] = bits[a * words + w] | bits[b * words + w];
    }
  }

  operands(term) {
    const at = term - 1 - this.inputs.terms;
    return at < 0 ? null : [this.left[at], this.right[at]];
  }

  // Reduction is commutative in every bit, so both orders of two operands are one term.
  reduce(a, b) {
    if (a === 0 || b === 0) return 0;
    const key = (x, y) => Math.min(x, y) * 2 ** 26 + Math.max(x, y);
    if (!this.known) {
      this.known = new Map(this.left.map((x, at) => [key(x, this.right[at]), 1 + this.inputs.terms + at]));
    }
    let term = this.known.get(key(a, b));
    if (term === undefined) {
      term = 1 + this.inputs.terms + this.left.length;
      this.left.push(a);
      this.right.push(b);
      this.known.set(key(a, b), term);
      if (this.bits && this.bits.length < (term + 1) * this.words) {
        const more = new Uint32Array(2 * this.bits.length);
        more.set(this.bits);
        this.bits = more;
      }
      this.fill(term);
    }
    return term;
  }

  input(rank, chunk) {
    return this.inputs.only === null ? 1 + rank * this.inputs.chunks + chunk : 1 + chunk;
  }

  has(term, rank) {
    return this.bits !== null && (this.bits[term * this.words + (rank >> 5)] >>> (rank & 31) & 1) === 1;
  }

  // How often each rank's contribution is in it: a map from rank.
  counts(term) {
    const counts = new Map();
    const stack = [term];
    while (stack.length > 0) {
      const next = stack.pop();
      const operands = this.operands(next);
      if (operands) stack.push(operands[1], operands[0]);
      else if (next > 0) counts.set(this.sources[next], (counts.get(this.sources[next]) ?? 0) + 1);
    }
    return counts;
  }
}

const INPUT = 0;
const OUTPUT = 1;
const SLOT = 2;

class Model {
  constructor(data) {
    const { collective, origin, ranks, chunks, levels, labels, proofs, inputs, trace } = data;
    Object.assign(this, { collective, origin, ranks, chunks, levels, labels, proofs, trace });
    this.inPlace = data.in_place;
    this.chunkBytes = data.chunk_bytes;
    const [laneRanks, laneSteps] = data.lanes.map(column);
    const firsts = offsets(laneSteps);
    this.lanesOf = Array.from({ length: ranks }, () => []);
    this.lanes = Array.from(laneRanks, (rank, number) => {
      const index = this.lanesOf[rank].push(number) - 1;
      return { rank, index, first: firsts[number], steps: laneSteps[number] };
    });
    this.steps = firsts[this.lanes.length];
    this.laneOf = new Int32Array(this.steps);
    this.rankOf = new Int32Array(this.steps);
    this.lanes.forEach((lane, number) => {
      this.laneOf.fill(number, lane.first, lane.first + lane.steps);
      this.rankOf.fill(lane.rank, lane.first, lane.first + lane.steps);
    });
    this.order = column(data.order);
    this.critical = column(data.critical);
    this.label = column(data.label);
    this.level = column(data.level);
    this.span = column(data.span);
    const lists = ([counts, items]) => {
      const at = offsets(column(counts));
      const all = column(items);
      return step => all.subarray(at[step], at[step + 1]);
    };
    this.reads = lists(data.from);
    this.writes = lists(data.to);
    this.values = lists(data.values);
    this.adds = Uint8Array.from({ length: this.steps }, (_, step) => (this.reads(step).length > 1 ? 1 : 0));
    this.zeroes = new Set(column(data.zeroes));
    this.modes = data.modes.map(([name, dispatches]) => ({ name, dispatches: column(dispatches) }));
    this.readWaits(data.waits.map(column));
    const [notifyCounts, peers, rows] = data.notifies.map(column);
    const notifyAt = offsets(notifyCounts);
    this.notifies = step => {
      const found = [];
      for (let i = notifyAt[step]; i < notifyAt[step + 1]; i++) found.push({ peer: peers[i], row: rows[i] });
      return found;
    };
    this.readBuffers(data.buffers.map(column), data.expected.map(column));
    const [left, right] = data.reductions.map(column);
    this.terms = new Terms(ranks, inputs, left, right);
    // Colours are those of chunks where chunks are summed, else those of the ranks that they come from.
    this.reduces = left.length > 0 || [...this.expected.values()].some(({ rank }) => rank < 0);
    this.byChunk = this.reduces || inputs.only !== null || ranks === 1;
    this.hues = this.byChunk ? Math.max(1, inputs.chunks) : ranks;
  }

  readWaits([counts, rows, senders, least, endings, by]) {
    const at = offsets(counts);
    const byAt = offsets(endings);
    this.waits = step => {
      const found = [];
      for (let i = at[step]; i < at[step + 1]; i++) {
        const ended = by.subarray(byAt[i], byAt[i + 1]);
        found.push({ row: rows[i], sender: senders[i], atLeast: least[i], by: ended });
      }
      return found;
    };
    // All steps that must have notified before `step` goes on.
    this.before = step => by.subarray(byAt[at[step]], byAt[at[step + 1]]);
    const waiter = new Int32Array(by.length);
    for (let step = 0; step < this.steps; step++) waiter.fill(step, byAt[at[step]], byAt[at[step + 1]]);
    const groups = grouped(this.steps, by.length, i => by[i]);
    this.waiters = step => Array.from(groups(step), i => waiter[i]);
    this.waitCount = by.length;
  }

  readBuffers([ranks, kinds, firsts, chunks], [gives, parts]) {
    this.buffers = Array.from(ranks, (rank, i) => ({ rank, kind: kinds[i], first: firsts[i], chunks: chunks[i] }));
    this.places = this.buffers.reduce((most, of) => Math.max(most, of.first + of.chunks), 0);
    this.bufferOf = new Int32Array(this.places).fill(-1);
    // In place, what input and output share is output.
    this.buffers.forEach((of, number) => this.bufferOf.fill(number, of.first, of.first + of.chunks));
    this.rankAt = Int32Array.from(this.bufferOf, of => (of < 0 ? -1 : this.buffers[of].rank));
    this.expected = new Map();
    let part = 0;
    for (const of of this.buffers.filter(of => of.kind === OUTPUT)) {
      for (let chunk = 0; chunk < of.chunks; chunk++) {
        const number = part + Math.floor(chunk / this.chunks);
        const from = parts[number] * this.chunks + chunk % this.chunks;
        this.expected.set(of.first + chunk, { rank: gives[number], chunk: from });
      }
      part += of.chunks / this.chunks;
    }
  }

  // What every place holds before anything ran.
  initial() {
    const held = new Int32Array(this.places);
    for (const of of this.buffers) {
      if (of.kind !== INPUT) continue;
      for (let chunk = 0; chunk < of.chunks; chunk++) held[of.first + chunk] = this.terms.input(of.rank, chunk);
    }
    return held;
  }

  isReduction(step) {
    return this.adds[step] === 1;
  }

  // The number of the colour in which a value is drawn; -1 of one that mixes chunks or is unknown.
  hue(term) {
    return this.byChunk ? this.terms.chunks[term] : this.terms.sources[term];
  }

  // What is wrong with `term` as the final value of output `place`; null of nothing.
  fault(place, term) {
    const wanted = this.expected.get(place);
    if (!wanted) return null;
    const { terms } = this;
    if (wanted.rank >= 0) {
      const right = terms.input(wanted.rank, wanted.chunk);
      return term === right ? null : { unknown: term === 0, missing: [wanted.rank], twice: [], other: term !== 0 };
    }
    const count = terms.inputs.only === null ? this.ranks : 1;
    const complete = terms.leaves[term] === count && terms.chunks[term] === wanted.chunk;
    if (complete && this.ranks <= 64 && terms.bits === null) return null;
    const counts = complete && terms.bits ? null : terms.counts(term);
    const has = rank => (counts ? counts.has(rank) : terms.has(term, rank));
    const missing = [];
    for (let rank = 0; rank < this.ranks; rank++) if (!has(rank)) missing.push(rank);
    if (complete && missing.length === 0) return null;
    const twice = [...(counts ?? [])].filter(([, times]) => times > 1).map(([rank]) => rank);
    return { unknown: term === 0, missing, twice, other: term !== 0 && terms.chunks[term] !== wanted.chunk };
  }

  // Ranks whose memory a step reads, and those whose memory it writes, but for its own; each once.
  sources(step) {
    return this.others(step, this.reads(step));
  }

  targets(step) {
    return this.others(step, this.writes(step));
  }

  others(step, places) {
    const own = this.rankOf[step];
    const ranks = [];
    for (const place of places) {
      const rank = this.rankAt[place];
      if (rank !== own && !ranks.includes(rank)) ranks.push(rank);
    }
    return ranks;
  }

  // Steps by place, as [step, writes] in the order of steps; made when it is first asked for.
  accesses(place) {
    if (!this.accessed) {
      const each = act => {
        for (let step = 0; step < this.steps; step++) {
          for (const [places, writes] of [[this.reads(step), 0], [this.writes(step), 1]]) {
            for (const first of places) for (let k = 0; k < this.span[step]; k++) act(first + k, 2 * step + writes);
          }
        }
      };
      const counts = new Int32Array(this.places);
      each(at => counts[at]++);
      const firsts = offsets(counts);
      const next = firsts.slice();
      const all = new Int32Array(firsts[this.places]);
      each((at, access) => { all[next[at]++] = access; });
      this.accessed = at => Array.from(all.subarray(firsts[at], firsts[at + 1]), access => [access >> 1, (access & 1) === 1]);
    }
    return this.accessed(place);
  }

  // The steps that `next` leads to from `step`, and it.
  closure(step, next) {
    const found = new Set([step]);
    for (const at of found) for (const to of next(at)) found.add(to);
    return found;
  }

  previous(step) {
    const { first } = this.lanes[this.laneOf[step]];
    return step > first ? [step - 1, ...this.before(step)] : [...this.before(step)];
  }

  following(step) {
    const { first, steps } = this.lanes[this.laneOf[step]];
    return step + 1 < first + steps ? [step + 1, ...this.waiters(step)] : this.waiters(step);
  }

  // A step that accesses a place of `step`, one of both writing, with nothing that orders the two: [it, the place].
  rival(step) {
    const before = this.closure(step, at => this.previous(at));
    const after = this.closure(step, at => this.following(at));
    for (const [places, writes] of [[this.writes(step), true], [this.reads(step), false]]) {
      for (const first of places) {
        for (let place = first; place < first + this.span[step]; place++) {
          const free = ([other, otherWrites]) => (writes || otherWrites) && !before.has(other) && !after.has(other);
          const found = this.accesses(place).find(free);
          if (found) return [found[0], place];
        }
      }
    }
    return null;
  }

  // Why steps never get their turn: the step at which each lane stands, for whom it waits there, and a circle of these waits.
  stuck() {
    const heads = [];
    const edges = new Map();
    const nobody = [];
    for (const lane of this.lanes) {
      let step = lane.first;
      const end = lane.first + lane.steps;
      while (step < end && this.level[step] >= 0) step++;
      if (step === end) continue;
      heads.push(step);
      for (const wait of this.waits(step)) {
        const by = Array.from(wait.by).find(by => this.level[by] < 0);
        if (by !== undefined) edges.set(step, { step, by, wait, head: -1 });
        else if (wait.by.length === 0) nobody.push({ step, wait });
      }
    }
    const headOf = new Map(heads.map(step => [this.laneOf[step], step]));
    for (const edge of edges.values()) edge.head = headOf.get(this.laneOf[edge.by]);
    for (const start of edges.keys()) {
      const path = new Map();
      for (let at = start; edges.has(at); at = edges.get(at).head) {
        if (path.has(at)) return { heads, nobody, cycle: [...path.values()].slice([...path.keys()].indexOf(at)) };
        path.set(at, edges.get(at));
      }
    }
    return { heads, nobody, cycle: [], waits: [...edges.values()] };
  }
}
