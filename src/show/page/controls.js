// Buttons, keys and the address: what people can set, and how it is kept.

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
const VIEWS = ['topology', 'grid', 'memory'];

class Controls {
  constructor(app) {
    this.app = app;
    const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
    on('first', 'click', () => app.to(0));
    on('back', 'click', () => app.step(-1));
    on('play', 'click', () => app.play(!app.state.playing));
    on('forward', 'click', () => app.step(1));
    on('last', 'click', () => app.to(app.timeline.last));
    on('scrub', 'input', event => app.to(app.timeline.stops[Number(event.target.value)] ?? 0, false));
    on('speed', 'change', event => app.set({ speed: Number(event.target.value) }));
    on('waits', 'change', event => app.set({ waits: event.target.value }));
    on('dispatches', 'change', event => app.set({ dispatches: event.target.value }));
    on('group', 'change', event => app.set({ group: Number(event.target.value) }));
    on('axis', 'change', event => app.set({ axis: event.target.value }));
    on('channel', 'change', event => app.set({ channel: Number(event.target.value) }));
    on('zoom', 'input', event => app.set({ zoom: 2 ** Number(event.target.value) }));
    on('critical', 'click', () => app.set({ critical: !app.state.critical }));
    on('bytes', 'click', () => app.set({ bytes: !app.state.bytes }));
    VIEWS.forEach(view => on(`view-${view}`, 'click', () => this.toggle(view)));
    document.addEventListener('keydown', event => this.key(event));
    for (const view of VIEWS) this.watch(view, app[view]);
    window.addEventListener('hashchange', () => {
      if (location.hash.slice(1) !== this.written) this.restore();
    });
    this.fill();
  }

  toggle(view) {
    const { views } = this.app.state;
    this.app.set({ views: views.includes(view) ? views.filter(of => of !== view) : VIEWS.filter(of => of === view || views.includes(of)) });
  }

  // The choices that depend on the schedule.
  fill() {
    const { model } = this.app;
    const option = (select, value, name) => {
      const made = document.createElement('option');
      made.value = value;
      made.textContent = name;
      document.getElementById(select).append(made);
    };
    model.modes.forEach(({ name, dispatches }) => {
      option('dispatches', name, `${name} (${dispatches.reduce((most, of) => Math.max(most, of + 1), 0)})`);
    });
    document.getElementById('dispatches-label').hidden = model.modes.length === 0;
    let groups = 0;
    for (let group = 2; group < Math.min(model.ranks, MOST_CIRCLES + 1); group++) {
      if (model.ranks % group !== 0) continue;
      option('group', group, `${group}`);
      groups++;
    }
    document.getElementById('group-label').hidden = groups === 0 || model.ranks > MOST_CIRCLES;
    document.getElementById('axis-label').hidden = !model.trace;
    this.channels = model.trace ? channelsOf(model.trace) : [];
    for (const channel of this.channels) option('channel', channel, `${channel}`);
    if (model.trace && isOrder(model.trace.clock)) document.querySelector('#axis [value="time"]').textContent = 'order';
  }

  // Pointing and clicking in a view.
  watch(name, view) {
    const { canvas, pane } = view.view;
    const { app } = this;
    canvas.addEventListener('pointermove', event => app.hover(view.hit(event)));
    canvas.addEventListener('pointerleave', () => app.hover(null));
    canvas.addEventListener('click', event => {
      const hit = view.hit(event);
      if (!hit && name === 'grid') app.to(view.moment(event));
      else app.pin(hit && app.pinned?.kind === hit.kind && app.pinned.id === hit.id ? null : hit);
    });
    pane.addEventListener('keydown', event => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (name !== 'memory' || !way || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      const place = view.beside(app.pinned?.kind === 'place' ? app.pinned.id : -1, ...way);
      if (place < 0) return;
      app.pin({ kind: 'place', id: place });
      view.reveal(place);
    });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { app } = this;
    const { tagName, type } = event.target;
    if (tagName === 'SELECT' || (tagName === 'INPUT' && type !== 'range')) return;
    if (tagName === 'INPUT' && event.key.startsWith('Arrow')) return;
    if ((tagName === 'BUTTON' || tagName === 'SUMMARY') && (event.key === ' ' || event.key === 'Enter')) return;
    const { state } = app;
    const cycle = (list, now) => list[(list.indexOf(now) + 1) % list.length];
    const faster = by => SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(state.speed) + by))];
    const acts = {
      ' ': () => app.play(!state.playing),
      ArrowLeft: () => app.step(-1),
      ArrowRight: () => app.step(1),
      ',': () => app.step(-1),
      '.': () => app.step(1),
      ArrowUp: () => app.chooseLane(-1),
      ArrowDown: () => app.chooseLane(1),
      Home: () => app.to(0),
      End: () => app.to(app.timeline.last),
      '+': () => app.set({ speed: faster(1) }),
      '=': () => app.set({ speed: faster(1) }),
      '-': () => app.set({ speed: faster(-1) }),
      1: () => this.toggle('topology'),
      2: () => this.toggle('grid'),
      3: () => this.toggle('memory'),
      w: () => app.set({ waits: cycle(['here', 'all', 'none'], state.waits) }),
      c: () => app.set({ critical: !state.critical }),
      b: () => app.set({ bytes: !state.bytes }),
      d: () => app.set({ dispatches: cycle(['', ...app.model.modes.map(mode => mode.name)], state.dispatches) }),
      Escape: () => app.pin(null),
    };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  }

  // Controls as the state says.
  show() {
    const { app } = this;
    const { state, timeline } = app;
    const set = (id, value) => {
      const control = document.getElementById(id);
      if (control.value !== `${value}`) control.value = value;
    };
    for (const id of ['waits', 'dispatches', 'group', 'axis', 'channel', 'speed']) set(id, state[id]);
    set('zoom', Math.log2(state.zoom));
    document.getElementById('zoom-label').hidden = !app.timed;
    document.getElementById('channel-label').hidden = !app.timed || this.channels.length < 2;
    for (const id of ['critical', 'bytes']) document.getElementById(id).setAttribute('aria-pressed', state[id]);
    document.getElementById('bytes').hidden = app.timed;
    for (const view of VIEWS) {
      const shown = state.views.includes(view);
      document.getElementById(`view-${view}`).setAttribute('aria-pressed', shown);
      document.getElementById(view).hidden = !shown;
    }
    const main = document.querySelector('main');
    main.classList.toggle('no-topology', !state.views.includes('topology'));
    main.classList.toggle('no-grid', !state.views.includes('grid'));
    const play = document.getElementById('play');
    play.classList.toggle('on', state.playing);
    play.setAttribute('aria-label', state.playing ? 'Pause' : 'Play');
    const scrub = document.getElementById('scrub');
    scrub.max = timeline.stops.length - 1;
    scrub.value = app.stop();
    scrub.setAttribute('aria-valuetext', app.position());
  }

  // The state as the address's fragment; what is as at first is left out.
  write() {
    const { app } = this;
    const { state } = app;
    const parts = new URLSearchParams();
    parts.set('at', app.stop());
    if (app.pinned) parts.set('on', `${app.pinned.kind}.${app.pinned.id}`);
    const { fresh } = app;
    for (const name of ['waits', 'dispatches', 'speed', 'group', 'axis', 'channel', 'zoom']) if (state[name] !== fresh[name]) parts.set(name, state[name]);
    for (const name of ['critical', 'bytes']) if (state[name]) parts.set(name, 1);
    if (state.views.length < VIEWS.length) parts.set('views', state.views.join('.'));
    if (state.order) parts.set('order', state.order);
    this.written = parts.toString();
    if (location.hash.slice(1) !== this.written) history.replaceState(null, '', `#${this.written}`);
  }

  // Takes what the fragment says, as far as it makes sense.
  restore() {
    const { app } = this;
    const { model } = app;
    const parts = new URLSearchParams(location.hash.slice(1));
    const state = { ...app.fresh };
    const choose = (name, options, of = value => value) => {
      const value = parts.has(name) ? of(parts.get(name)) : state[name];
      if (options.includes(value)) state[name] = value;
    };
    choose('waits', ['here', 'all', 'none']);
    choose('dispatches', ['', ...model.modes.map(mode => mode.name)]);
    choose('speed', SPEEDS, Number);
    choose('axis', model.trace ? ['levels', 'time'] : ['levels']);
    choose('channel', this.channels, Number);
    const options = [...document.getElementById('group').options];
    choose('group', options.map(option => Number(option.value)), Number);
    const zoom = Number(parts.get('zoom'));
    if (zoom >= 1 && zoom <= 1024) state.zoom = zoom;
    state.critical = parts.get('critical') === '1';
    state.bytes = parts.get('bytes') === '1';
    if (parts.has('views')) state.views = VIEWS.filter(view => parts.get('views').split('.').includes(view));
    if (/^\d+\.\d+$/.test(parts.get('order') ?? '')) state.order = parts.get('order');
    const [kind, id] = (parts.get('on') ?? '').split('.');
    const most = { step: model.steps, place: model.places, rank: model.ranks }[kind];
    app.pinned = most !== undefined && /^\d+$/.test(id) && Number(id) < most ? { kind, id: Number(id) } : null;
    app.focus = app.pinned;
    app.set(state, Number(parts.get('at')) || 0);
    if (app.pinned) app.pin(app.pinned);
  }
}
