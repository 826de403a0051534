// The page: one state, one cursor, three views that follow it.

let wake = () => {};

class App {
  constructor(data) {
    this.model = new Model(data);
    this.words = new Words(this.model);
    const { model } = this;
    // Where accesses race, the picture's order is one of several: that of levels is the one that can be drawn.
    const races = model.proofs.some(proof => proof.name === 'race-free' && proof.verdict === 'fails');
    this.base = races ? interleaved(model, -1, -1) : byLevels(model, { order: model.order, level: model.level, values: model.values });
    this.timeline = this.base;
    this.timed = false;
    this.fresh = {
      moment: 0, playing: false, speed: 1, waits: 'here', dispatches: '', critical: false, bytes: false,
      group: 0, axis: model.trace ? 'time' : 'levels', zoom: 1, channel: model.trace ? channelsOf(model.trace)[0] ?? 0 : 0, views: ['topology', 'grid', 'memory'], order: '',
    };
    this.state = { ...this.fresh };
    this.focus = this.pinned = this.pointed = null;
    this.stuck = model.order.length < model.steps ? model.stuck() : null;
    this.marked = { steps: [], places: [], race: null };
    this.races = new Map();
    this.runs = new Map();
    theme.read();
    this.topology = new Topology(this);
    this.grid = new Grid(this);
    this.memory = new Memory(this);
    this.details = new Details(this);
    this.head();
    this.controls = new Controls(this);
    const scheme = window.matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', () => {
      theme.read();
      this.redraw();
    });
    this.calm = window.matchMedia('(prefers-reduced-motion: reduce)');
    this.pending = false;
    wake = () => {
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(now => this.frame(now));
    };
    this.controls.restore();
  }

  // Title, facts, verdicts, legends, what is wrong.
  head() {
    const { model } = this;
    document.getElementById('title').textContent = `${model.collective} by ${model.origin}`;
    const facts = [plural(model.ranks, 'rank'), plural(model.chunks, 'chunk'), `${plural(model.steps, 'instruction')} in ${plural(model.levels, 'level')}`];
    if (model.chunkBytes) facts.push(`chunks of ${bytesNamed(model.chunkBytes)}`);
    if (model.inPlace) facts.push('in place');
    if (model.trace) {
      const { clock, named, pieces } = model.trace;
      facts.push(`a launch ${isOrder(clock) ? 'in' : 'by'} ${named}${pieces > 1 ? `, the first of ${pieces} pieces` : ''}`);
    }
    document.getElementById('facts').textContent = facts.join(' · ');
    const verdicts = document.getElementById('verdicts');
    for (const proof of model.proofs) {
      const [sign, said] = { holds: ['✓', 'holds'], fails: proof.information ? ['–', 'does not hold; that is information'] : ['✗', 'fails'], 'not-reached': ['·', 'not reached'] }[proof.verdict];
      const findings = proof.findings.map(finding => finding.message).join('\n');
      const button = make('button', { title: `${proof.statement}${findings ? `\n${findings}` : ''}`, onclick: () => this.tell(proof) }, make('b', { 'aria-hidden': 'true' }, sign), ` ${proof.name}`, make('span', { class: 'unseen' }, `: ${said}`));
      const bad = proof.verdict === 'fails' && !proof.information;
      verdicts.append(make('li', { class: bad ? 'fails' : proof.verdict }, button));
    }
    const hues = document.getElementById('hues');
    const what = model.byChunk ? 'chunk' : 'from rank';
    if (model.places > 0) {
      hues.append(make('span', null, `${what}:`));
      for (let hue = 0; hue < Math.min(model.hues, 8); hue++) {
        const swatch = make('i');
        swatch.style.background = hueColor(hue);
        hues.append(make('span', null, swatch, `${hue}`));
      }
      if (model.hues > 8) hues.append(make('span', null, `… ${model.hues - 1}`));
      const solid = make('i', { class: 'line' });
      hues.append(make('span', null, solid, 'reduced'), make('span', null, make('i', { class: 'line dashed' }), 'copied'));
    }
    hues.append(make('span', null, make('i', { class: 'line dotted' }), 'signals awaited'));
    const key = model.reduces && model.ranks > 1
      ? `The number is the chunk, the bar has ${model.ranks} parts: one for each rank, filled where its contribution is in the value. Dark frames or edges: written at this level; grey ones: read.`
      : `The number is ${model.byChunk ? 'the chunk' : 'rank and chunk of where it comes from'}. Dark frames or edges: written at this level; grey ones: read.`;
    document.getElementById('memory-key').textContent = model.places > 0 ? key : '';
    document.getElementById('stuck-key').hidden = !this.stuck;
    this.banner();
    document.title = `${model.collective} by ${model.origin}`;
  }

  banner() {
    const { model } = this;
    const wrong = document.getElementById('wrong');
    const failed = model.proofs.map((proof, number) => [proof, number]).filter(([proof]) => proof.verdict === 'fails' && !proof.information);
    if (failed.length === 0) return;
    wrong.hidden = false;
    wrong.append(make('h2', null, 'What is wrong'));
    for (const [proof, number] of failed) {
      wrong.append(make('p', null, `${proof.name}: ${proof.statement}`));
      const list = make('ul');
      proof.findings.slice(0, 3).forEach((finding, index) => {
        const item = make('li', null, make('span', null, finding.message));
        const buttons = make('div');
        if (finding.steps.length + finding.places.length > 0 && !(this.stuck?.cycle.length && finding.steps.length < 2)) {
          buttons.append(make('button', { onclick: () => this.showFinding(`${number}.${index}`) }, 'Show it'));
        }
        if (this.raceOf(`${number}.${index}`)) {
          const order = `${number}.${index}`;
          buttons.append(make('button', { class: 'order', 'data-order': order, onclick: () => this.set({ order: this.state.order === order ? '' : order }, 0) }, 'Play an order that goes wrong'));
        }
        item.append(buttons);
        list.append(item);
      });
      if (proof.count > 3) list.append(make('li', null, `and ${proof.count - Math.min(3, proof.findings.length)} more`));
      wrong.append(list);
    }
    if (this.stuck) wrong.append(make('button', { onclick: () => { this.pin(null); this.to(this.timeline.last); } }, this.stuck.cycle.length > 0 ? 'Show the circle of waits' : 'Show where lanes hang'));
    const faults = this.stuck ? [] : [...this.base.faults().keys()];
    if (faults.length > 0) wrong.append(make('button', { onclick: () => { this.to(this.timeline.last); this.pin({ kind: 'place', id: faults[0] }); } }, 'Show a wrong chunk, and where it went wrong'));
    this.told = make('div', { id: 'told' });
    wrong.append(this.told);
  }

  finding(name) {
    const [proof, index] = name.split('.').map(Number);
    return [this.model.proofs[proof], this.model.proofs[proof]?.findings[index]];
  }

  // Of a race: the two steps and the place; null of other findings.
  raceOf(name) {
    if (this.races.has(name)) return this.races.get(name);
    const [proof, finding] = this.finding(name);
    let race = null;
    if (proof?.name === 'race-free' && finding?.steps.length > 0 && this.model.order.length === this.model.steps) {
      const [one, other] = finding.steps;
      const rival = other === undefined ? this.model.rival(one) : [other, finding.places[0] ?? this.shared(one, other)];
      if (rival) race = { steps: [one, rival[0]], place: rival[1] };
    }
    this.races.set(name, race);
    return race;
  }

  // A place that both steps access.
  shared(one, other) {
    const { model } = this;
    const of = step => [...model.writes(step), ...model.reads(step)].flatMap(first => Array.from({ length: model.span[step] }, (_, k) => first + k));
    const places = new Set(of(other));
    return of(one).find(place => places.has(place)) ?? model.reads(one)[0] ?? model.writes(one)[0];
  }

  showFinding(name) {
    const [, finding] = this.finding(name);
    const race = this.raceOf(name);
    this.marked = { steps: race ? race.steps : finding.steps, places: race ? [race.place] : finding.places, race: race?.steps ?? null };
    const step = finding.steps[0];
    if (step !== undefined) this.visit({ kind: 'step', id: step });
    else if (finding.places.length > 0) {
      this.to(this.timeline.last);
      this.pin({ kind: 'place', id: finding.places[0] });
    }
    this.redraw();
  }

  // A proof in the panel of details.
  tell(proof) {
    this.pin(null);
    const list = make('ol');
    for (const finding of proof.findings) list.append(make('li', null, finding.message));
    const verdict = { holds: 'holds', fails: 'does not hold', 'not-reached': 'was not reached: an earlier proof failed' }[proof.verdict];
    this.details.root.replaceChildren(make('h3', null, `${proof.name} ${verdict}`), make('p', null, proof.statement), list);
    document.getElementById('details').scrollIntoView({ block: 'nearest' });
    this.say(`${proof.name} ${verdict}: ${proof.statement}`);
  }

  // Which timeline the state asks for.
  choose() {
    const { state, model } = this;
    this.timed = state.axis === 'time' && model.trace !== null;
    const race = state.order && this.raceOf(state.order);
    if (!race) state.order = '';
    if (!race && this.ordered) this.marked = { steps: [], places: [], race: null };
    this.ordered = Boolean(race);
    if (race) {
      race.shown ??= wrongOrder(model, ...race.steps);
      this.timed = false;
      this.timeline = race.shown.timeline;
      this.marked = { steps: race.steps, places: [race.place], race: race.steps };
    } else if (this.timed) {
      if (!this.runs.has(state.channel)) this.runs.set(state.channel, byTrace(model, this.base, model.trace, state.channel));
      this.timeline = this.runs.get(state.channel);
    } else {
      this.timeline = this.base;
    }
    if (this.told) {
      this.told.replaceChildren();
      if (race) {
        const words = race.shown.ends ? 'This order goes wrong' : 'Another order that nothing forbids';
        this.told.append(make('h2', null, words), this.details.story(raceStory(this.words, race.shown, race.place)));
      }
      for (const button of document.querySelectorAll('#wrong .order')) {
        const on = state.order !== '' && button.dataset.order === state.order;
        button.setAttribute('aria-pressed', on);
      }
    }
  }

  // Changes the state; `stop` is where the cursor then stands, if not where it is.
  set(changes, stop) {
    const before = this.timeline;
    const { axis } = this.state;
    Object.assign(this.state, changes);
    this.choose();
    const at = stop ?? (this.timeline === before ? null : axis === this.state.axis ? this.stopIn(before) : 0);
    const { stops } = this.timeline;
    if (at !== null) this.state.moment = stops[Math.max(0, Math.min(Math.floor(at), stops.length - 1))];
    this.topology.place();
    this.changed();
    this.controls.show();
    this.redraw();
    this.grid.follow();
  }

  stopIn(timeline) {
    let [low, high] = [0, timeline.stops.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (timeline.stops[middle] <= this.state.moment + 1e-9) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  stop() {
    return this.stopIn(this.timeline);
  }

  to(moment, aloud = true) {
    this.state.playing = false;
    this.state.moment = Math.max(0, Math.min(this.timeline.last, moment));
    this.changed();
    this.controls.show();
    this.grid.follow();
    if (aloud) this.say(`${this.position()}. ${this.summary()}`);
  }

  step(way) {
    const { timeline, state } = this;
    this.to(way > 0 ? timeline.stopAfter(state.moment) : timeline.stopBefore(state.moment));
  }

  play(on) {
    const { state, timeline } = this;
    if (on && state.moment >= timeline.last) state.moment = timeline.stops[0];
    state.playing = on && timeline.last > 0;
    this.previous = null;
    this.changed();
    this.controls.show();
    if (!on) this.say(this.position());
  }

  hover(target) {
    if (target?.kind === this.pointed?.kind && target?.id === this.pointed?.id) return;
    this.point(target);
    if (!target && this.pinned === null) this.details.draw();
  }

  // Shows what is pointed at, without going there.
  point(target) {
    this.pointed = target;
    this.focus = target ?? this.pinned;
    this.marks();
    if (!document.getElementById('about').matches(':hover')) this.details.draw();
  }

  // What is wrong with an output, once everything has run.
  faultAt(place) {
    return this.state.moment >= this.timeline.last && !this.stuck ? this.timeline.faults().get(place) : undefined;
  }

  pin(target) {
    this.pinned = target;
    this.pointed = null;
    this.focus = target;
    if (!target && !this.state.order) this.marked = { steps: [], places: [], race: null };
    const fault = target?.kind === 'place' ? this.faultAt(target.id) : undefined;
    if (fault) {
      const told = wrongStory(this.words, this.timeline, target.id, fault);
      this.marked = { steps: told.flatMap(({ step }) => step ?? []), places: [target.id], race: null };
    }
    this.marks();
    this.details.draw();
    this.controls.write();
    if (target) this.say(document.getElementById('about').innerText.slice(0, 600));
  }

  // Pins a step and goes to its level; pins a place or rank.
  visit(target) {
    if (target.kind === 'step') {
      const end = this.timeline.end[target.id];
      this.state.playing = false;
      this.state.moment = end < 0 ? this.timeline.last : end;
      this.changed();
      this.controls.show();
      this.grid.follow();
    }
    this.pin(target);
  }

  // The step of the lane above or below at this level.
  chooseLane(way) {
    const { model, timeline, state, grid, pinned } = this;
    const current = pinned?.kind === 'step' ? grid.rowOf[model.laneOf[pinned.id]] : pinned?.kind === 'rank' ? grid.rowOf[model.lanesOf[pinned.id][0]] : -1;
    const row = current < 0 ? (way > 0 ? 0 : grid.lanes.length - 1) : current + way;
    if (row < 0 || row >= grid.lanes.length) return;
    const { first, steps, rank } = model.lanes[grid.lanes[row]];
    let found = -1;
    for (let step = first; step < first + steps; step++) {
      if (timeline.end[step] >= 0 && timeline.start[step] < state.moment && state.moment <= timeline.end[step]) found = step;
    }
    this.pin(found < 0 ? { kind: 'rank', id: rank } : { kind: 'step', id: found });
  }

  isChosenStep(step) {
    return this.focus?.kind === 'step' && this.focus.id === step;
  }

  isChosenRank(rank) {
    const { focus, model, topology } = this;
    if (!focus) return false;
    const of = focus.kind === 'rank' ? focus.id : focus.kind === 'step' ? model.rankOf[focus.id] : model.rankAt[focus.id];
    return of === rank || (topology?.share > 1 && Math.floor(of / topology.share) === rank);
  }

  isHung() {
    return this.stuck !== null && this.state.moment >= this.timeline.last;
  }

  // By level: chunks that go between ranks.
  traffic() {
    const { model, timeline } = this;
    if (timeline.traffic) return timeline.traffic;
    timeline.traffic = new Float64Array(Math.max(1, timeline.columns));
    for (const step of timeline.steps) {
      const own = model.rankOf[step];
      const count = places => places.reduce((sum, place) => sum + (model.rankAt[place] === own ? 0 : 1), 0);
      timeline.traffic[timeline.level[step]] += model.span[step] * (count(model.reads(step)) + count(model.writes(step)));
    }
    return timeline.traffic;
  }

  amount(chunks) {
    const { chunkBytes } = this.model;
    return chunkBytes ? bytesNamed(chunks * chunkBytes) : plural(chunks, 'chunk');
  }

  // Where the cursor is, in a few words.
  position() {
    const { timeline, state, timed } = this;
    if (timed) return timeline.ordered ? `Place ${Math.round(state.moment)} of ${Math.round(timeline.last)}` : `${timeNamed(state.moment)} of ${timeNamed(timeline.last)}`;
    if (this.isHung()) return timeline.last === 0 ? 'Nothing can begin' : `After level ${timeline.last}: nothing can go on`;
    if (state.moment === 0) return 'Start';
    return `Level ${Math.ceil(state.moment)} of ${timeline.last}`;
  }

  summary() {
    const { model, words, timeline, state } = this;
    const steps = timeline.active(state.moment);
    if (this.isHung()) return `${plural(this.stuck.heads.length, 'lane')} of ${model.lanes.length} never ${this.stuck.heads.length === 1 ? 'reaches its' : 'reach their'} end`;
    if (steps.length === 0) return 'nothing has run';
    const labels = [...new Set(Array.from(steps, step => words.label(step)))];
    const label = labels.length > 3 ? `${labels.slice(0, 2).join(', ')} and ${labels.length - 2} more` : labels.join(', ');
    const pattern = words.pattern(steps);
    const moved = this.timed ? 0 : this.traffic()[Math.ceil(state.moment) - 1];
    return [label, pattern || plural(steps.length, 'instruction'), moved > 0 ? `${this.amount(moved)} between ranks` : ''].filter(Boolean).join(' · ');
  }

  say(words) {
    document.getElementById('said').textContent = words;
  }

  // After the cursor moved.
  changed() {
    const { state, timeline } = this;
    timeline.seek(state.moment);
    timeline.now = state.moment;
    const key = this.timed ? state.moment : Math.ceil(state.moment);
    const done = timeline.applied;
    if (key !== this.seenKey || done !== this.seenDone || timeline !== this.seen) {
      Object.assign(this, { seenKey: key, seenDone: done, seen: timeline });
      this.topology.refresh();
      this.memory.refresh();
      this.grid.refresh();
      const status = document.getElementById('status');
      status.replaceChildren(make('b', null, this.position()), make('span', null, ` · ${this.summary()}`));
      if (!state.playing) this.details.draw();
      const [grid, topology, memory] = ['grid', 'topology', 'memory'].map(id => document.querySelector(`#${id} canvas`));
      grid.setAttribute('aria-label', `Grid of ${plural(this.grid.lanes.length, 'lane')} by ${plural(timeline.columns, 'level')}. ${this.position()}`);
      topology.setAttribute('aria-label', `${plural(this.model.ranks, 'rank')} on a circle. ${this.position()}. ${this.summary()}`);
      memory.setAttribute('aria-label', `Memory of ${plural(this.model.ranks, 'rank')}, ${plural(this.model.places, 'cell')}. ${this.position()}`);
      this.notes();
      this.controls.show();
    }
    if (this.timed) this.grid.refresh();
    this.grid.moveCursor();
    this.topology.view.stale = true;
    if (!state.playing) this.controls.write();
    wake();
  }

  notes() {
    for (const id of ['topology', 'grid', 'memory']) document.querySelector(`#${id} .note`).textContent = this[id].note();
  }

  // After what is pointed at changed.
  marks() {
    this.topology.refresh();
    this.grid.refresh();
    this.memory.refresh();
    wake();
  }

  redraw() {
    this.topology.refresh();
    this.grid.refresh(true);
    this.memory.refresh(true);
    this.details.draw();
    wake();
  }

  frame(now) {
    this.pending = false;
    const { state, timeline } = this;
    if (state.playing) {
      const passed = this.previous === null ? 0 : Math.min(0.1, (now - this.previous) / 1000);
      this.previous = now;
      // A level takes a second; a measured run ten.
      const rate = this.timed ? timeline.last / 10 : 1;
      this.travelled = (this.travelled ?? state.moment) + passed * rate * state.speed;
      let moment = Math.max(state.moment, this.travelled);
      if (this.calm.matches && !this.timed) moment = Math.floor(moment);
      if (moment >= timeline.last) {
        moment = timeline.last;
        state.playing = false;
      }
      state.moment = moment;
      this.changed();
      this.grid.follow();
      if (!state.playing) {
        this.details.draw();
        this.controls.show();
        this.controls.write();
        this.say(`${this.position()}. ${this.summary()}`);
      }
    }
    if (!state.playing) this.travelled = undefined;
    for (const of of [this.topology, this.grid, this.memory]) {
      if (of.view.pane.offsetParent === null) continue;
      const { width } = of.view;
      of.view.fit();
      if (of.view.width !== width) of.refresh(true);
      of.view.draw();
    }
    if (!this.opened) {
      this.opened = true;
      this.grid.follow();
      wake();
    }
    if (state.playing) wake();
  }
}

const app = new App(JSON.parse(document.getElementById('picture').textContent));
