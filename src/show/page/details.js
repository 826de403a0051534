// The panel of details: what a step, a place or a rank is and does, in words, with links to what it is about.

// An element. What stands in it is text and elements, never markup: names in a picture are strangers' text.
function make(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === 'class') made.className = value;
    else if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined && child !== ''));
  return made;
}

function drawn(tag, attributes, content) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (content !== undefined) made.textContent = content;
  return made;
}

class Details {
  constructor(app) {
    this.app = app;
    this.root = document.getElementById('about');
  }

  // A link to a step, a place or a rank. To point at it shows it, to click goes there.
  link(kind, id, name) {
    const { app } = this;
    const target = { kind, id };
    return make('a', {
      href: `#on=${kind}.${id}`,
      onclick: event => {
        event.preventDefault();
        app.visit(target);
      },
      onpointerenter: () => app.point(target),
      onpointerleave: () => app.point(null),
    }, name);
  }

  step(step, name) {
    return this.link('step', step, name ?? this.app.words.step(step));
  }

  place(place, chunks, own) {
    return this.link('place', place, this.app.words.place(place, chunks, own));
  }

  draw() {
    const { focus } = this.app;
    const parts = { step: () => this.ofStep(focus.id), place: () => this.ofPlace(focus.id), rank: () => this.ofRank(focus.id) };
    this.root.replaceChildren(...(focus ? parts[focus.kind]() : this.ofLevel()));
  }

  // A list of terms and what belongs to them.
  list(entries) {
    const list = make('dl');
    for (const [name, ...of] of entries) if (of.length > 0) list.append(make('dt', null, name), make('dd', null, ...of));
    return list;
  }

  lines(nodes, most = 12) {
    const shown = nodes.slice(0, most).map(node => make('div', null, ...[node].flat()));
    if (nodes.length > most) shown.push(make('div', { class: 'sub' }, `and ${nodes.length - most} more`));
    return shown;
  }

  ofLevel() {
    const { app } = this;
    const { timeline, words, state } = app;
    const steps = timeline.active(state.moment);
    const parts = [make('h3', null, app.position())];
    if (app.isHung()) parts.push(...this.ofStuck());
    else if (steps.length === 0) {
      parts.push(make('p', null, 'Nothing has run. Inputs hold their own rank’s contributions; outputs and slots hold nothing.'));
      parts.push(make('p', { class: 'sub' }, 'Point at a cell, a circle or an arrow, or choose one by its key, to read about it.'));
    }
    if (app.isHung() && steps.length > 0) parts.push(make('h4', null, 'The last that ran'));
    const MOST = 24;
    const list = make('ol', { 'aria-label': 'What runs at this level' });
    for (const step of steps.slice(0, MOST)) {
      const [name, ...rest] = words.sentence(step).split(': ');
      list.append(make('li', null, this.step(step, name), `: ${rest.join(': ')}`));
    }
    parts.push(list);
    if (steps.length > MOST) parts.push(make('p', { class: 'sub' }, `and ${steps.length - MOST} more`));
    return parts;
  }

  ofStuck() {
    const { app } = this;
    const { stuck, words } = app;
    if (!stuck) return [];
    const parts = [];
    const edges = stuck.cycle.length > 0 ? stuck.cycle : stuck.waits ?? [];
    if (stuck.cycle.length > 0) parts.push(make('p', { class: 'bad' }, `A circle of ${plural(stuck.cycle.length, 'wait')}: none of these ever ends.`));
    const list = make('ol');
    for (const { step, by, wait } of edges.slice(0, 16)) {
      list.append(make('li', null, this.step(step), ` waits for ${words.signal(wait)}, which `, this.step(by), ' would send'));
    }
    for (const { step, wait } of stuck.nobody.slice(0, 16)) list.append(make('li', null, this.step(step), ` waits for ${words.signal(wait)}, which nobody sends`));
    parts.push(list);
    return parts;
  }

  ofStep(step) {
    const { model, words, timeline } = this.app;
    const own = model.rankOf[step];
    const span = model.span[step];
    const lane = model.lanes[model.laneOf[step]];
    const level = timeline.level[step];
    const where = [level < 0 ? 'never runs' : `level ${level + 1} of ${timeline.byLevel ? timeline.last : model.levels}`];
    if (model.lanesOf[own].length > 1) where.push(`lane ${lane.index}`);
    where.push(`instruction ${step - lane.first + 1} of ${lane.steps}`);
    const parts = [make('h3', null, words.step(step)), make('p', { class: 'sub' }, where.join(' · '))];
    const waits = model.waits(step).map(wait => [
      `${words.signal(wait)}, `,
      wait.by.length === 0 ? make('span', { class: 'bad' }, 'which nobody sends') : 'by ',
      ...(wait.by.length === 0 ? [] : [this.step(wait.by[wait.by.length - 1])]),
    ]);
    const values = timeline.values(step);
    const from = values.length > 0 ? makers(timeline, step) : Array.from(model.reads(step), place => ({ place, by: -1, holds: 0 }));
    const reads = from.map(({ place, by, holds }) => [
      this.place(place, span, own),
      holds > 0 ? ` – ${words.value(holds)}` : '',
      by >= 0 ? ', made by ' : '',
      by >= 0 ? this.step(by) : '',
    ]);
    const notifies = model.notifies(step).map(({ peer, row }) => {
      const waiter = model.waiters(step).find(to => model.rankOf[to] === peer && model.waits(to).some(wait => wait.row === row && wait.by.includes(step)));
      return [`rank ${peer} [row ${row}]`, ...(waiter === undefined ? [', for which nobody waits'] : [', for which ', this.step(waiter), ' waits'])];
    });
    parts.push(this.list([
      ['waits for', ...this.lines(waits)],
      [model.isReduction(step) ? 'reduces' : 'copies', ...this.lines(reads)],
      ['into', ...this.lines(Array.from(model.writes(step), place => this.place(place, span, own)))],
      ['notifies', ...this.lines(notifies)],
      ...(model.zeroes.has(step) ? [['zeroes', 'its rank’s signals']] : []),
      ...model.modes.map(({ name, dispatches }) => [name, `dispatch ${dispatches[step] + 1} of ${dispatches.reduce((most, of) => Math.max(most, of + 1), 0)}`]),
      ...this.times(step),
      ...(model.critical.includes(step) ? [['critical', 'is on the longest chain']] : []),
    ]));
    if (values.length > 0 && values[0] > 0) parts.push(...this.ofValue(values[0], span > 1 ? 'Its first chunk' : 'Its result'));
    return parts;
  }

  times(step) {
    const { timeline, timed } = this.app;
    if (!timed || timeline.ordered || timeline.end[step] < 0) return [];
    return [
      ['waited', timeNamed(timeline.start[step] - timeline.begin[step])],
      ['moved', timeNamed(timeline.end[step] - timeline.start[step])],
    ];
  }

  ofPlace(place) {
    const { app } = this;
    const { model, words, timeline, state } = app;
    const term = timeline.held[place];
    const by = timeline.writer[place];
    const parts = [make('h3', null, words.place(place)), make('p', { class: 'sub' }, `at ${app.position().replace(/^./, c => c.toLowerCase())}`)];
    const wanted = model.expected.get(place);
    const future = placeFuture(words, timeline, place, state.moment);
    const must = !wanted ? '' : wanted.rank < 0 ? `chunk ${wanted.chunk} of all ranks` : `chunk ${wanted.chunk} of rank ${wanted.rank}`;
    const held = future.held.map(({ step, wait }) => [`${words.signal(wait)}, by `, this.step(step), ', which reads it']);
    parts.push(this.list([
      ['holds', words.value(term)],
      ...(must ? [['must hold', `${must} in the end`]] : []),
      ['written by', ...(by >= 0 ? [this.step(by)] : [term > 0 ? 'the caller' : 'nobody yet'])],
      ...(future.readers.length > 0 ? [['still read by', ...this.lines(future.readers.map(step => this.step(step)), 6)]] : []),
      ...(future.next >= 0 ? [['next written', 'by ', this.step(future.next)]] : []),
      ...(held.length > 0 ? [['not before', ...this.lines(held, 6)]] : []),
    ]));
    if (term > 0) parts.push(...this.ofValue(term));
    const fault = app.faultAt(place);
    if (fault) {
      parts.push(make('p', { class: 'warn bad' }, `${words.fault(place, fault)}.`));
      parts.push(make('h4', null, 'Where it went wrong'), this.story(wrongStory(words, timeline, place, fault)));
    }
    return parts;
  }

  story(told) {
    const list = make('ol');
    for (const { text, step, place } of told) {
      list.append(make('li', null, step !== undefined ? this.step(step, text) : place !== undefined ? this.link('place', place, text) : text));
    }
    return list;
  }

  // Whose contributions, and the order of additions as a tree and as text.
  ofValue(term, title = 'Contributions') {
    const { model, words } = this.app;
    const { terms } = model;
    const parts = [make('h4', null, `${title}: ${words.value(term)}`)];
    const color = hueColor(model.hue(term));
    if (terms.inputs.only === null && model.ranks > 1) {
      const counts = terms.counts(term);
      const bar = make('div', { class: model.ranks > 24 ? 'bar many' : 'bar', role: 'img', 'aria-label': words.value(term) });
      for (let rank = 0; rank < Math.min(model.ranks, 512); rank++) {
        const part = make('i', { title: `rank ${rank}` });
        if (counts.has(rank)) part.style.background = counts.get(rank) > 1 ? theme.bad : color;
        bar.append(part);
      }
      parts.push(bar);
    }
    if (terms.operands(term)) {
      parts.push(make('h4', null, 'Order of additions'));
      if (terms.leaves[term] <= 64) parts.push(this.tree(term, color));
      parts.push(make('p', { class: 'sum' }, words.sum(term) ?? `of ${plural(terms.leaves[term], 'contribution')}, too long to be written here`));
    }
    return parts;
  }

  tree(term, color) {
    const { terms } = this.app.model;
    const leaves = terms.leaves[term];
    const wide = Math.max(18, Math.min(34, 290 / leaves));
    let next = 0;
    const nodes = [];
    const lay = of => {
      const operands = terms.operands(of);
      if (!operands) {
        const leaf = { x: (next++ + 0.5) * wide, depth: 0, name: of === 0 ? '?' : `${terms.sources[of]}` };
        nodes.push(leaf);
        return leaf;
      }
      const [a, b] = operands.map(lay);
      const node = { x: (a.x + b.x) / 2, depth: 1 + Math.max(a.depth, b.depth), children: [a, b] };
      nodes.push(node);
      return node;
    };
    const root = lay(term);
    const high = Math.max(2.6, Math.min(20, 170 / root.depth));
    const height = root.depth * high + 30;
    const y = node => height - 18 - node.depth * high;
    const picture = drawn('svg', { width: Math.ceil(leaves * wide), height, role: 'img', 'aria-label': 'Order of additions' });
    for (const node of nodes) {
      for (const child of node.children ?? []) {
        picture.append(drawn('path', { d: `M${child.x} ${y(child)}V${y(node)}H${node.x}` }));
      }
    }
    for (const node of nodes) {
      if (node.children) picture.append(drawn('circle', { cx: node.x, cy: y(node), r: high > 12 ? 4 : high > 6 ? 2.5 : 1.2, fill: color }));
      else picture.append(drawn('text', { x: node.x, y: height - 5 }, node.name));
    }
    return make('div', { class: 'tree' }, picture);
  }

  ofRank(rank) {
    const { model, words, timeline, state } = this.app;
    const parts = [make('h3', null, `rank ${rank}`)];
    const lanes = model.lanesOf[rank];
    parts.push(make('p', { class: 'sub' }, `${plural(lanes.length, 'lane')} · ${plural(lanes.reduce((sum, lane) => sum + model.lanes[lane].steps, 0), 'instruction')}`));
    const entries = [];
    for (const number of lanes.slice(0, 8)) {
      const { first, steps, index } = model.lanes[number];
      const name = lanes.length > 1 ? `lane ${index} ` : '';
      let now = -1;
      let next = -1;
      for (let step = first; step < first + steps; step++) {
        if (timeline.end[step] >= 0 && timeline.start[step] < state.moment && state.moment <= timeline.end[step]) now = step;
        if (next < 0 && !(timeline.end[step] >= 0 && timeline.end[step] <= state.moment)) next = step;
      }
      if (now >= 0) entries.push([`${name}now`, this.step(now), `: ${words.sentence(now).split(': ').slice(1).join(': ')}`]);
      if (next < 0) entries.push([`${name}then`, 'is done']);
      else {
        const waits = words.waits(next);
        entries.push([`${name}next`, this.step(next), waits ? ` waits for ${waits}` : ' waits for nobody']);
      }
    }
    parts.push(this.list(entries));
    if (lanes.length > 8) parts.push(make('p', { class: 'sub' }, `and ${lanes.length - 8} more lanes`));
    return parts;
  }
}
