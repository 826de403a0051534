// Every rank's inputs, outputs and slots as cells: the colour says which chunk, the bar whose contributions are in it.

const MEMORY_HEAD = 22;

class Memory {
  constructor(app) {
    this.app = app;
    this.view = new Viewport(document.querySelector('#memory .pane'), context => this.draw(context));
    const { model } = app;
    // Groups of columns. In place, inputs and outputs are one buffer.
    const kinds = model.inPlace ? [[INPUT, OUTPUT], [SLOT]] : [[INPUT], [OUTPUT], [SLOT]];
    const names = model.inPlace ? ['buffer (in place)', 'slots'] : ['input', 'output', 'slots'];
    this.columnOf = new Int32Array(model.places).fill(-1);
    this.groups = [];
    this.columns = 0;
    kinds.forEach((of, number) => {
      const members = model.buffers.filter(buffer => of.includes(buffer.kind));
      if (members.length === 0) return;
      const base = new Map();
      for (const { rank, first } of members) base.set(rank, Math.min(first, base.get(rank) ?? Infinity));
      let width = 0;
      for (const { rank, first, chunks } of members) {
        for (let chunk = 0; chunk < chunks; chunk++) {
          const column = first + chunk - base.get(rank);
          this.columnOf[first + chunk] = this.columns + column;
          width = Math.max(width, column + 1);
        }
      }
      this.groups.push({ name: names[number], first: this.columns, width, kind: of[0] });
      this.columns += width;
    });
    this.placesOf = Array.from({ length: model.ranks }, () => new Int32Array(this.columns).fill(-1));
    for (let place = 0; place < model.places; place++) {
      if (this.columnOf[place] >= 0) this.placesOf[model.rankAt[place]][this.columnOf[place]] = place;
    }
    this.looks = new Float64Array(model.places);
    this.marks = document.createElement('div');
    this.view.pane.append(this.marks);
    this.groupOf = new Int32Array(this.columns);
    this.groups.forEach(({ first, width }, number) => this.groupOf.fill(number, first, first + width));
  }

  note() {
    return this.columns === 0 ? 'This collective moves no data.' : '';
  }

  layout() {
    const { view, app } = this;
    const gaps = (this.groups.length - 1) * 16;
    const wide = (view.width - GUTTER - gaps - 8) / Math.max(1, this.columns);
    this.cell = Math.max(4, Math.min(64, wide));
    this.row = Math.max(7, Math.min(30, (520 - MEMORY_HEAD) / app.model.ranks));
    this.height = this.columns > 0 ? MEMORY_HEAD + app.model.ranks * this.row + 4 : 0;
    view.size(this.x(this.columns) + 8, this.height);
    view.pane.style.height = `${Math.min(this.height, 560) + 2}px`;
    this.laid = true;
  }

  x(column) {
    const group = column < this.columns ? this.groupOf[column] : this.groups.length - 1;
    return GUTTER + column * this.cell + Math.max(0, group) * 16;
  }

  refresh(relayout) {
    if (relayout) this.laid = false;
    this.view.stale = true;
  }

  // What decides how everything but single cells is drawn; where it is as before, only cells that changed are drawn.
  frame() {
    const { view, app } = this;
    const { focus } = app;
    const rank = focus && (focus.kind === 'rank' ? focus.id : focus.kind === 'step' ? app.model.rankOf[focus.id] : app.model.rankAt[focus.id]);
    return [view.left, view.top, view.width, view.height, view.density, this.cell, this.row, theme.ink, rank].join();
  }

  draw(context) {
    if (!this.laid) this.layout();
    this.view.fit();
    const { view, app } = this;
    const { model, timeline, state } = app;
    if (this.columns === 0) return;
    const { left, top, width, height } = view;
    context.save();
    context.beginPath();
    context.rect(GUTTER, MEMORY_HEAD, width - GUTTER, height);
    context.clip();
    const touched = this.touched(timeline.active(state.moment));
    const ended = state.moment >= timeline.last;
    const frame = this.frame();
    const whole = frame !== this.seen || this.timeline !== timeline;
    Object.assign(this, { seen: frame, timeline });
    if (whole) context.clearRect(0, 0, width, height);
    const faults = ended && !app.stuck ? timeline.faults() : null;
    for (let rank = Math.max(0, Math.floor((top - MEMORY_HEAD) / this.row)); rank < model.ranks; rank++) {
      const y = MEMORY_HEAD + rank * this.row - top;
      if (y > height) break;
      const places = this.placesOf[rank];
      for (let column = 0; column < this.columns; column++) {
        const x = this.x(column) - left;
        if (x > width) break;
        if (x + this.cell < GUTTER || places[column] < 0) continue;
        const place = places[column];
        const touch = touched.get(place) ?? 0;
        const looks = (timeline.held[place] * 4 + touch) * 2 + (faults?.has(place) ? 1 : 0);
        if (!whole && this.looks[place] === looks) continue;
        this.looks[place] = looks;
        if (!whole) context.clearRect(x, y, this.cell, this.row);
        this.drawCell(context, place, x, y, touch, faults);
      }
    }
    context.restore();
    if (whole) this.drawHead(context);
    this.placeMarks();
  }

  // What the steps under way read and write: 1 reads, 2 writes.
  touched(steps) {
    const { model } = this.app;
    const touched = new Map();
    for (const step of steps) {
      for (const [places, bit] of [[model.reads(step), 1], [model.writes(step), 2]]) {
        for (const first of places) {
          for (let k = 0; k < model.span[step]; k++) touched.set(first + k, touched.get(first + k) | bit);
        }
      }
    }
    return touched;
  }

  drawCell(context, place, x, y, touch, faults) {
    const { model, timeline } = this.app;
    const term = timeline.held[place];
    const small = this.row < 15 || this.cell < 13;
    const pad = small ? 0.5 : 1.5;
    const [cx, cy, cw, ch] = [x + pad, y + pad, this.cell - 2 * pad, this.row - 2 * pad];
    if (term === 0) {
      // Nobody wrote it.
      context.fillStyle = context.strokeStyle = theme.line;
      context.lineWidth = 1;
      if (small) {
        context.globalAlpha = 0.35;
        context.fillRect(cx, cy, cw, ch);
        context.globalAlpha = 1;
      } else {
        context.setLineDash([2, 2]);
        context.strokeRect(cx + 0.5, cy + 0.5, cw - 1, ch - 1);
        context.setLineDash([]);
      }
    } else {
      const hue = model.hue(term);
      const color = hueColor(hue);
      context.fillStyle = color;
      const parts = model.reduces || !model.byChunk ? model.ranks : 1;
      const share = model.reduces ? Math.min(1, model.terms.leaves[term] / parts) : 1;
      if (small) {
        context.globalAlpha = 0.22;
        context.fillRect(cx, cy, cw, ch);
        context.globalAlpha = 1;
        const high = ch * share;
        context.fillRect(cx, cy + ch - high, cw, high);
      } else {
        context.globalAlpha = 0.2;
        context.fillRect(cx, cy, cw, ch);
        context.globalAlpha = 1;
        const bar = Math.max(4, ch * 0.36);
        this.drawBar(context, term, cx, cy + ch - bar, cw, bar, color, parts);
        const size = Math.min(12, ch - bar - 1);
        if (size >= 7 && cw >= 12) {
          const name = model.byChunk ? (hue < 0 ? '≠' : `${hue}`) : `${model.terms.sources[term]}.${model.terms.chunks[term]}`;
          context.font = `${size}px ${theme.font}`;
          const fits = context.measureText(name).width <= cw - 2;
          text(context, fits ? name : `${hue}`, x + this.cell / 2, cy + (ch - bar) / 2 + 1, { size, color: hue < 0 ? theme.bad : theme.ink });
        }
      }
      if (hue < 0) hatch(context, cx, cy, cw, ch, theme.bad);
    }
    if (touch) {
      const writes = (touch & 2) !== 0;
      context.strokeStyle = context.fillStyle = writes ? theme.ink : theme.muted;
      context.lineWidth = writes ? 2 : 1;
      if (small) {
        // There is no room for a frame.
        context.fillRect(cx, cy, cw, writes ? 2 : 1);
      } else {
        if (!writes) context.setLineDash([3, 2]);
        context.strokeRect(cx + 0.5, cy + 0.5, cw - 1, ch - 1);
        context.setLineDash([]);
      }
    }
    if (faults?.has(place)) {
      context.strokeStyle = theme.bad;
      context.lineWidth = 2;
      context.strokeRect(cx + 0.5, cy + 0.5, cw - 1, ch - 1);
      if (!small) text(context, '!', cx + cw - 5, cy + 7, { size: 11, bold: true, color: theme.bad });
    }
  }

  // A part for each rank, filled where its contribution is in the value.
  drawBar(context, term, x, y, width, height, color, parts) {
    const { terms } = this.app.model;
    context.fillStyle = theme.panel;
    context.fillRect(x, y, width, height);
    context.fillStyle = color;
    const part = width / parts;
    if (terms.bits === null || part < 0.8) {
      context.fillRect(x, y, width * Math.min(1, terms.leaves[term] / parts), height);
    } else if (parts === 1) {
      context.fillRect(x, y, width, height);
    } else {
      const gap = part > 4 ? 1 : 0;
      // Runs in one piece, or seams would show between them.
      for (let rank = 0; rank < parts; rank++) {
        if (!terms.has(term, rank)) continue;
        let end = rank + 1;
        if (gap === 0) while (end < parts && terms.has(term, end)) end++;
        context.fillRect(x + rank * part, y, (end - rank) * part - gap, height);
        rank = end - 1;
      }
    }
    context.strokeStyle = color;
    context.lineWidth = 1;
    context.globalAlpha = 0.55;
    context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
    context.globalAlpha = 1;
  }

  box(place) {
    const { rankAt } = this.app.model;
    return [this.x(this.columnOf[place]) - this.view.left, MEMORY_HEAD + rankAt[place] * this.row - this.view.top, this.cell, this.row];
  }

  // Frames around what is pointed at and what is wrong: elements, so that cells need not be drawn again.
  placeMarks() {
    const { app, view } = this;
    const { model, focus } = app;
    const MOST = 256;
    const marks = app.marked.places.map(place => [place, 'bad']);
    if (focus?.kind === 'place') marks.push([focus.id, 'strong']);
    if (focus?.kind === 'step') {
      for (const places of [model.reads(focus.id), model.writes(focus.id)]) {
        for (const first of places) for (let k = 0; k < model.span[focus.id] && marks.length < MOST; k++) marks.push([first + k, '']);
      }
    }
    const frames = marks.flatMap(([place, kind]) => {
      if (this.columnOf[place] === undefined || this.columnOf[place] < 0) return [];
      const [x, y, width, height] = this.box(place);
      if (x < GUTTER - 1 || y < MEMORY_HEAD - 1) return [];
      const frame = document.createElement('div');
      frame.className = `mark ${kind}`;
      frame.style.cssText = `left:${x + view.left}px;top:${y + view.top}px;width:${width}px;height:${height}px`;
      return [frame];
    });
    this.marks.replaceChildren(...frames);
  }

  drawHead(context) {
    const { app, view } = this;
    const { model } = app;
    context.fillStyle = theme.panel;
    context.fillRect(0, 0, view.width, MEMORY_HEAD);
    context.fillRect(0, 0, GUTTER - 2, view.height);
    for (const { name, first, width } of this.groups) {
      const x = this.x(first) - view.left;
      const end = x + width * this.cell;
      if (end < GUTTER || x > view.width) continue;
      const from = Math.max(GUTTER, x);
      context.font = `11px ${theme.font}`;
      if (context.measureText(name).width <= Math.min(end, view.width) - from + 10) {
        text(context, name, from, MEMORY_HEAD / 2, { size: 11, align: 'left', color: theme.muted });
      }
      context.fillStyle = theme.line;
      context.fillRect(from, MEMORY_HEAD - 3, Math.max(0, end - from), 1);
    }
    context.fillStyle = theme.panel;
    context.fillRect(0, 0, GUTTER - 2, MEMORY_HEAD);
    text(context, 'rank', 6, MEMORY_HEAD / 2, { size: 10, align: 'left', color: theme.muted });
    let labelled = -Infinity;
    for (let rank = 0; rank < model.ranks; rank++) {
      const y = MEMORY_HEAD + (rank + 0.5) * this.row - view.top;
      const chosen = app.isChosenRank(rank);
      if (y < MEMORY_HEAD + 3 || y > view.height || y - labelled < 11 && !chosen) continue;
      labelled = y;
      text(context, `${rank}`, GUTTER - 10, y, { size: Math.min(12, Math.max(9, this.row)), align: 'right', bold: chosen, color: chosen ? theme.accent : theme.ink });
    }
  }

  hit(event) {
    const [px, py] = this.view.at(event);
    const rank = Math.floor((py + this.view.top - MEMORY_HEAD) / this.row);
    if (py < MEMORY_HEAD || rank < 0 || rank >= this.app.model.ranks) return null;
    if (px < GUTTER) return { kind: 'rank', id: rank };
    const x = px + this.view.left;
    for (let column = 0; column < this.columns; column++) {
      const left = this.x(column);
      if (x >= left && x < left + this.cell) {
        const place = this.placesOf[rank][column];
        return place < 0 ? null : { kind: 'place', id: place };
      }
    }
    return null;
  }

  // The place a key leads to from `place`.
  beside(place, dx, dy) {
    const { rankAt, ranks } = this.app.model;
    let [rank, column] = place >= 0 ? [rankAt[place], this.columnOf[place]] : [0, -1];
    do {
      rank += dy;
      column += dx;
      if (rank < 0 || rank >= ranks || column < 0 || column >= this.columns) return place;
    } while (this.placesOf[rank][column] < 0);
    return this.placesOf[rank][column];
  }

  reveal(place) {
    const { pane } = this.view;
    const [x, y] = this.box(place);
    if (x < GUTTER || x + this.cell > this.view.width) pane.scrollLeft += x - this.view.width / 2;
    if (y < MEMORY_HEAD || y + this.row > this.view.height) pane.scrollTop += y - this.view.height / 2;
  }
}
