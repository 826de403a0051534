// What the picture shows, in words: names of places, steps and values. Pure, so that what is read aloud is tested.

const BUFFERS = ['input', 'output', 'slot'];

function plural(count, what) {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}

// "0, 1, 4–7"
function listed(numbers) {
  const parts = [];
  for (let i = 0; i < numbers.length;) {
    let run = 1;
    while (i + run < numbers.length && numbers[i + run] === numbers[i] + run) run++;
    if (run < 3) run = 1;
    parts.push(run === 1 ? `${numbers[i]}` : `${numbers[i]}–${numbers[i + run - 1]}`);
    i += run;
  }
  return parts.join(', ');
}

function ranksNamed(ranks) {
  return `rank${ranks.length === 1 ? '' : 's'} ${listed(ranks)}`;
}

function bytesNamed(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${bytes >= 100 || Number.isInteger(bytes) ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

function timeNamed(nanoseconds) {
  if (nanoseconds < 1e3) return `${Math.round(nanoseconds)} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toFixed(2)} µs`;
  return nanoseconds < 1e9 ? `${(nanoseconds / 1e6).toFixed(2)} ms` : `${(nanoseconds / 1e9).toFixed(2)} s`;
}

class Words {
  constructor(model) {
    this.model = model;
  }

  // "rank 1 output[3]"; with `own`, the rank's own places go without a rank.
  place(first, chunks = 1, own = -1) {
    const of = this.model.buffers[this.model.bufferOf[first]];
    if (!of) return `place ${first}`;
    const chunk = first - of.first;
    const range = chunks > 1 ? `${chunk}–${chunk + chunks - 1}` : chunk;
    const name = `${BUFFERS[of.kind]}[${range}]`;
    return of.rank === own ? name : `rank ${of.rank} ${name}`;
  }

  short(first) {
    const of = this.model.buffers[this.model.bufferOf[first]];
    return of ? `${'ios'[of.kind]}${first - of.first}` : `${first}`;
  }

  label(step) {
    return this.model.labels[this.model.label[step]];
  }

  // "rank 2 AG round 1"; a lane is named where its rank has several.
  step(step) {
    const rank = this.model.rankOf[step];
    const lane = this.model.lanes[this.model.laneOf[step]];
    const which = this.model.lanesOf[rank].length > 1 ? ` lane ${lane.index}` : '';
    return `rank ${rank}${which} ${this.label(step)}`;
  }

  signal(wait) {
    const times = wait.atLeast > 1 ? ` ${wait.atLeast} times` : '';
    return `signal [row ${wait.row}][sender ${wait.sender}]${times}`;
  }

  // Signals of one row by steps of one name are said together.
  waits(step, most = 4) {
    const groups = new Map();
    for (const wait of this.model.waits(step)) {
      const by = wait.by.length > 0 ? wait.by[wait.by.length - 1] : -1;
      const key = `${wait.row} ${wait.atLeast} ${by < 0 ? '' : this.model.label[by]}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push({ wait, by });
    }
    const named = [...groups.values()].flatMap(group => {
      const [{ wait, by }] = group;
      if (group.length > 2) {
        const times = wait.atLeast > 1 ? ` ${wait.atLeast} times` : '';
        const after = by < 0 ? 'which nobody sends' : `by their ${this.label(by)}`;
        return [`signals [row ${wait.row}] of ${ranksNamed(group.map(({ wait }) => wait.sender))}${times}, ${after}`];
      }
      return group.map(({ wait, by }) => `${this.signal(wait)}, ${by < 0 ? 'which nobody sends' : `by ${this.step(by)}`}`);
    });
    if (named.length > most) named.splice(most, Infinity, `${named.length - most} more`);
    return named.join('; ');
  }

  // Places by name; the same place of several ranks as "input[0] of ranks 0–15".
  places(step, places) {
    const { model } = this;
    const [own, span] = [model.rankOf[step], model.span[step]];
    const ranks = Array.from(places, place => model.rankAt[place]);
    const names = Array.from(places, (place, at) => this.place(place, span, ranks[at]));
    if (places.length > 2 && new Set(names).size === 1) return [`${names[0]} of ${ranksNamed(ranks)}`];
    const list = Array.from(places, place => this.place(place, span, own));
    return list.length > 4 ? [...list.slice(0, 3), `${list.length - 3} more`] : list;
  }

  moves(step) {
    const { model } = this;
    const from = this.places(step, model.reads(step));
    const to = this.places(step, model.writes(step));
    if (from.length === 0) return to.length > 0 ? `writes ${to.join(', ')}` : '';
    const names = from.length > 1 ? `${from.slice(0, -1).join(', ')} with ${from[from.length - 1]}` : from[0];
    const moves = `${model.isReduction(step) ? 'reduces' : 'copies'} ${names}`;
    return to.length > 0 ? `${moves} into ${to.join(', ')}` : moves;
  }

  notifies(step, most = 4) {
    const rows = new Map();
    for (const { peer, row } of this.model.notifies(step)) rows.set(row, [...(rows.get(row) ?? []), peer]);
    const named = Array.from(rows, ([row, peers]) => `${ranksNamed(peers)} [row ${row}]`);
    if (named.length > most) named.splice(most, Infinity, `${named.length - most} more`);
    return named.join(', ');
  }

  sentence(step) {
    const parts = [];
    const waits = this.waits(step, 2);
    if (this.model.zeroes.has(step)) parts.push('zeroes the signals of its rank');
    if (waits) parts.push(`waits for ${waits}`);
    const moves = this.moves(step);
    if (moves) parts.push(moves);
    const notifies = this.notifies(step, 3);
    if (notifies) parts.push(`notifies ${notifies}`);
    return `${this.step(step)}: ${parts.join('; ') || 'does nothing'}.`;
  }

  // What a value is: "chunk 3 of ranks 0–2 (3 of 8)".
  value(term) {
    const { terms, reduces, ranks } = this.model;
    if (term === 0) return 'nothing that anybody wrote';
    const counts = terms.counts(term);
    const members = [...counts.keys()].sort((a, b) => a - b);
    const twice = members.filter(rank => counts.get(rank) > 1);
    const chunk = terms.chunks[term] < 0 ? 'different chunks' : `chunk ${terms.chunks[term]}`;
    const share = reduces && terms.inputs.only === null ? ` (${members.length} of ${ranks})` : '';
    const more = twice.length > 0 ? `, of ${ranksNamed(twice)} more than once` : '';
    return `${chunk} of ${ranksNamed(members)}${share}${more}`;
  }

  // The order of additions, as "((r1 + r2) + r3) + r0"; null where it is longer than `most` characters.
  sum(term, most = 2000) {
    const { terms } = this.model;
    let text = '';
    const stack = [[term, false]];
    while (stack.length > 0 && text.length <= most) {
      const next = stack.pop();
      if (typeof next === 'string') {
        text += next;
        continue;
      }
      const [of, inner] = next;
      const operands = terms.operands(of);
      if (operands) {
        if (inner) stack.push(')');
        stack.push([operands[1], true], ' + ', [operands[0], true]);
        if (inner) stack.push('(');
      } else {
        text += of === 0 ? 'nothing' : `r${terms.sources[of]}`;
        if (of > 0 && terms.chunks[term] < 0) text += `[${terms.chunks[of]}]`;
      }
    }
    return text.length > most ? null : text;
  }

  // What is wrong with the final value of an output.
  fault(place, { unknown, missing, twice, other }) {
    const parts = [];
    if (unknown) parts.push('holds nothing that anybody wrote');
    else if (missing.length > 0) parts.push(`lacks the contribution of ${ranksNamed(missing)}`);
    if (twice.length > 0) parts.push(`holds that of ${ranksNamed(twice)} more than once`);
    if (other && parts.length === 0) parts.push('holds something else than it must');
    return `${this.place(place)} ${parts.join(' and ')}`;
  }

  // What all ranks do at a level, if one formula says it: "rank r reads from rank r − 1".
  pattern(steps) {
    const { model } = this;
    const { ranks } = model;
    if (steps.length !== ranks || ranks < 3) return '';
    const formula = (of, words) => {
      const peers = Array.from(steps, step => [model.rankOf[step], of(step)]);
      if (peers.some(([, found]) => found.length !== 1)) return '';
      const distance = (peers[0][1][0] - peers[0][0] + ranks) % ranks;
      if (peers.every(([rank, [peer]]) => (rank + distance) % ranks === peer)) {
        return `rank r ${words} rank r ${ranks - distance < distance ? `− ${ranks - distance}` : `+ ${distance}`}`;
      }
      const mask = peers[0][0] ^ peers[0][1][0];
      return peers.every(([rank, [peer]]) => (rank ^ mask) === peer) ? `rank r ${words} rank r xor ${mask}` : '';
    };
    return formula(step => model.sources(step), 'reads from') || formula(step => model.targets(step), 'writes to');
  }
}
