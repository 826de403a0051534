// Ranks by levels: a row for each lane, a cell for each step; with a measured run, time instead of levels.

const GUTTER = 46;
const HEAD = 38;

class Grid {
  constructor(app) {
    this.app = app;
    this.view = new Viewport(document.querySelector('#grid .pane'), context => this.draw(context));
    const { model } = app;
    this.lanes = model.lanesOf.flat();
    this.rowOf = new Int32Array(model.lanes.length);
    this.lanes.forEach((lane, row) => { this.rowOf[lane] = row; });
    this.cursor = document.createElement('div');
    this.cursor.className = 'cursor';
    this.view.pane.append(this.cursor);
  }

  note() {
    const { timeline, timed } = this.app;
    const notes = [];
    if (timed && timeline.ordered) notes.push('Order only: lengths mean nothing.');
    if (this.thinned) notes.push(`Of ${this.thinned.toLocaleString('en')} waits some are drawn.`);
    return notes.join(' ');
  }

  layout() {
    const { view, app } = this;
    const { timeline, model } = app;
    const wide = view.width - GUTTER - 8;
    this.columns = app.timed ? 0 : timeline.columns;
    this.column = app.timed ? 0 : Math.max(15, Math.min(92, wide / Math.max(1, this.columns)));
    // Between two columns there is room for the arrows of waits.
    this.inset = this.column < 24 ? Math.min(2, this.column / 9) : Math.min(9, this.column * 0.15);
    this.scale = app.timed ? Math.max(wide * app.state.zoom, 100) / (timeline.last || 1) : 0;
    const most = Math.max(1, ...model.lanesOf.map(lanes => lanes.length));
    // Levels have traffic, moments of a launch have none.
    this.bars = app.state.bytes && !app.timed ? 64 : 0;
    const room = view.pane.dataset.room ? Number(view.pane.dataset.room) : 520;
    const fit = (room - HEAD - this.bars - 6) / this.lanes.length;
    this.row = Math.max(most > 1 ? 6 : 8, Math.min(34, fit));
    this.between = most > 1 ? 3 : 0;
    this.tops = new Float64Array(this.lanes.length + 1);
    let top = HEAD;
    this.lanes.forEach((lane, row) => {
      this.tops[row] = top;
      const last = row + 1 < this.lanes.length && model.lanes[this.lanes[row + 1]].rank !== model.lanes[lane].rank;
      top += this.row + (last ? this.between : 0);
    });
    this.tops[this.lanes.length] = top;
    this.height = top + this.bars + 6;
    view.size(app.timed ? GUTTER + 8 + timeline.last * this.scale : GUTTER + 8 + this.columns * this.column, this.height);
    view.pane.style.height = `${Math.min(this.height, 560) + 2}px`;
    this.laid = true;
  }

  refresh(relayout) {
    if (relayout) this.laid = false;
    this.view.stale = true;
  }

  // Left edge and width of a step, in the drawing.
  span(step) {
    const { timeline, timed } = this.app;
    if (!timed) return [GUTTER + timeline.column[step] * this.column, this.column];
    return [GUTTER + timeline.begin[step] * this.scale, Math.max(1, (timeline.end[step] - timeline.begin[step]) * this.scale)];
  }

  edge(moment) {
    return GUTTER + moment * (this.app.timed ? this.scale : this.column);
  }

  // Keeps the cursor in sight.
  follow() {
    const { view, app } = this;
    if (!this.laid || view.width === 0) return;
    const at = this.edge(app.state.moment);
    if (at - view.left > view.width - 30 || at - this.column - view.left < GUTTER) {
      view.pane.scrollLeft = Math.max(0, at - view.width * 0.5);
    }
  }

  // The steps of a lane that can be seen.
  visible(lane) {
    const { model, timeline, timed } = this.app;
    const { first, steps } = model.lanes[lane];
    if (timed) return [first, first + steps];
    const from = Math.floor((this.view.left - this.column) / this.column);
    const to = (this.view.left + this.view.width) / this.column;
    const search = column => {
      let [low, high] = [first, first + steps];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (timeline.column[middle] < column) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    return [search(from), search(to)];
  }

  draw(context) {
    if (!this.laid) this.layout();
    this.view.fit();
    const { view, app } = this;
    const { model, timeline, state } = app;
    const { top, width, height } = view;
    context.clearRect(0, 0, width, height);
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, width - GUTTER, height);
    context.clip();
    this.drawCursor(context);
    const mode = model.modes.find(mode => mode.name === state.dispatches);
    for (let row = 0; row < this.lanes.length; row++) {
      const y = this.tops[row] - top;
      if (y + this.row < HEAD || y > height) continue;
      const [from, to] = this.visible(this.lanes[row]);
      for (let step = from; step < to; step++) this.drawStep(context, step, y, mode);
    }
    if (this.bars > 0) this.drawBytes(context);
    this.drawWaits(context);
    if (state.critical) this.drawCritical(context);
    this.drawWrong(context);
    context.restore();
    this.drawHead(context);
    this.drawRanks(context);
    this.moveCursor();
    const note = this.view.pane.parentElement.querySelector('.note');
    if (note.textContent !== this.note()) note.textContent = this.note();
  }

  drawCursor(context) {
    const { app, view } = this;
    const { moment } = app.state;
    context.fillStyle = theme.accent;
    if (!app.timed && moment > 0) {
      const begin = this.edge(Math.ceil(moment) - 1) - view.left;
      context.globalAlpha = 0.13;
      context.fillRect(begin, 0, this.column, view.height);
      context.globalAlpha = 1;
    }
  }

  // The line at the cursor: an element of its own, so that it moves without the rest being drawn again.
  moveCursor() {
    const { view, app } = this;
    if (!this.laid) return;
    const x = this.edge(app.state.moment);
    this.cursor.hidden = x - view.left < GUTTER - 1;
    this.cursor.style.transform = `translateX(${Math.round(x) - 1}px)`;
    this.cursor.style.height = `${this.height}px`;
  }

  drawStep(context, step, y, mode) {
    const { app, view } = this;
    const { model, timeline, state } = app;
    if (app.timed && timeline.end[step] < 0) return;
    let [x, width] = this.span(step);
    x -= view.left;
    if (x > view.width || x + width < GUTTER) return;
    const pad = Math.min(2, this.row / 8);
    const inset = app.timed ? 0 : this.inset;
    const [cx, cy, cw, ch] = [x + inset, y + pad, Math.max(1, width - 2 * inset), this.row - 2 * pad];
    const stuck = model.level[step] < 0;
    const hue = timeline.hues[step];
    const done = !stuck && timeline.end[step] <= state.moment;
    const now = !stuck && timeline.start[step] < state.moment && state.moment <= timeline.end[step];
    context.globalAlpha = done || now || stuck ? 1 : 0.38;
    if (stuck) {
      context.strokeStyle = theme.bad;
      context.lineWidth = 1;
      context.globalAlpha = 0.45;
      hatch(context, cx, cy, cw, ch, theme.bad);
      context.strokeRect(cx + 0.5, cy + 0.5, cw - 1, ch - 1);
    } else {
      const color = hue === -2 ? theme.wait : hueColor(hue);
      let [mx, mw] = [cx, cw];
      if (app.timed) {
        mx = GUTTER + timeline.start[step] * this.scale - view.left;
        mw = Math.max(1, (timeline.end[step] - timeline.start[step]) * this.scale);
        context.fillStyle = theme.line;
        context.fillRect(cx, cy + ch * 0.3, Math.max(0, mx - cx), ch * 0.4);
      }
      const add = model.isReduction(step);
      context.fillStyle = color;
      if (add || hue === -2) {
        if (hue === -2 && !app.timed) context.fillRect(mx, cy + ch * 0.35, mw, ch * 0.3);
        else context.fillRect(mx, cy, mw, ch);
      } else {
        // Copies are pale with a strong edge, additions are solid.
        const alpha = context.globalAlpha;
        context.globalAlpha = alpha * 0.34;
        context.fillRect(mx, cy, mw, ch);
        context.globalAlpha = alpha;
        context.fillRect(mx, cy, Math.min(3, mw), ch);
      }
      if (app.timed && timeline.ordered) hatch(context, mx, cy, mw, ch, theme.panel, 6);
      this.label(context, step, mx, cy, mw, ch, hue, add, mode);
    }
    context.globalAlpha = 1;
    if (mode) this.drawDispatch(context, step, mode, x, y, width);
    if (app.isChosenStep(step)) {
      context.strokeStyle = theme.ink;
      context.lineWidth = 2;
      context.strokeRect(cx - 1, cy - 1, cw + 2, ch + 2);
    }
  }

  label(context, step, x, y, width, height, hue, add, mode) {
    const { model, words } = this.app;
    if (height < 9 || width < 10 || hue === -2) return;
    let size = Math.min(12, height - 1);
    const forms = [];
    if (mode) forms.push(`#${mode.dispatches[step]}`);
    else {
      const peers = model.sources(step);
      const to = model.targets(step);
      const place = words.short(model.writes(step)[0]);
      const many = list => (list.length > 2 ? `*${list.length}` : list.join(','));
      const by = peers.length > 0 ? ` ${add ? '+' : '='} ${many(peers)}` : to.length > 0 ? ` → ${many(to)}` : '';
      if (by) forms.push(`${place}${by}`);
      forms.push(place, `${hue}`);
    }
    context.font = `${size}px ${theme.font}`;
    const form = forms.find(form => context.measureText(form).width <= width - 6) ?? forms[forms.length - 1];
    if (context.measureText(form).width > width - 1) {
      size = Math.min(size, 8);
      context.font = `${size}px ${theme.font}`;
    }
    if ( context.measureText(form).width <= width - 1) {
      const alpha = context.globalAlpha;
      context.globalAlpha = Math.max(alpha, 0.75);
      const color = alpha < 1 ? theme.muted : add ? inkOn(hue) : theme.ink;
      text(context, form, x + width / 2 + (add ? 0 : 1), y + height / 2 + 0.5, { size, color });
      context.globalAlpha = alpha;
    }
  }

  // A line where a lane's next step is in another dispatch.
  drawDispatch(context, step, { dispatches }, x, y, width) {
    const { model } = this.app;
    const { first, steps } = model.lanes[model.laneOf[step]];
    if (step + 1 === first + steps || dispatches[step + 1] === dispatches[step]) return;
    context.fillStyle = theme.ink;
    context.fillRect(Math.round(x + width) - 1, y - 1, 2, this.row + 2);
  }

  middle(step) {
    return this.tops[this.rowOf[this.app.model.laneOf[step]]] + this.row / 2 - this.view.top;
  }

  // Adds the arrow from the end of `by` to the beginning of `step` to `lines` and `heads`.
  arrow(lines, heads, by, step) {
    const [ax, aw] = this.span(by);
    const [bx] = this.span(step);
    const off = this.app.timed ? 0 : this.inset;
    const [x0, y0, x1, y1] = [ax + aw - this.view.left - off, this.middle(by), bx - this.view.left + off, this.middle(step)];
    if (Math.max(x0, x1) < GUTTER || Math.min(x0, x1) > this.view.width) return;
    const reach = Math.max(Math.min(14, this.inset * 2), Math.abs(x1 - x0) * 0.5);
    const size = Math.min(8, this.row * 0.7);
    lines.moveTo(x0, y0);
    lines.bezierCurveTo(x0 + reach, y0, x1 - reach, y1, x1 - 4, y1);
    heads.moveTo(x1 + 1, y1);
    heads.lineTo(x1 + 1 - size, y1 - size / 2);
    heads.lineTo(x1 + 1 - size, y1 + size / 2);
  }

  // Arrows of one kind, as one path: there may be thousands.
  arrows(context, pairs, color, width, dash = []) {
    const [lines, heads] = [new Path2D(), new Path2D()];
    for (const [by, step] of pairs) this.arrow(lines, heads, by, step);
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke(lines);
    context.setLineDash([]);
    context.fill(heads);
  }

  drawWaits(context) {
    const { app } = this;
    const { model, timeline, state } = app;
    const pairs = [];
    if (state.waits === 'all') {
      for (const lane of this.lanes) {
        const [from, to] = this.visible(lane);
        for (let step = from; step < to; step++) {
          if (app.timed && timeline.end[step] < 0) continue;
          for (const by of model.before(step)) pairs.push([by, step]);
        }
      }
    } else if (state.waits === 'here') {
      for (const step of timeline.active(state.moment)) {
        for (const by of model.before(step)) if (model.laneOf[by] !== model.laneOf[step]) pairs.push([by, step]);
      }
    }
    // Of very many, some: all would be a grey field.
    const every = Math.ceil(pairs.length / MOST_ARROWS);
    this.thinned = every > 1 ? pairs.length : 0;
    const drawn = every > 1 ? pairs.filter((_, at) => at % every === 0) : pairs;
    context.globalAlpha = drawn.length > 600 ? 0.35 : drawn.length > 250 ? 0.6 : 0.9;
    this.arrows(context, drawn, state.waits === 'all' ? theme.wait : theme.muted, state.waits === 'all' ? 1 : 1.3);
    context.globalAlpha = 1;
    if (app.focus?.kind === 'step') {
      const step = app.focus.id;
      this.arrows(context, Array.from(model.before(step), by => [by, step]), theme.ink, 2);
      this.arrows(context, model.waiters(step).map(to => [step, to]), theme.ink, 1.5, [4, 3]);
    }
  }

  // Frames, and between them lines: through cells they would strike out what stands there.
  drawCritical(context) {
    const { app, view } = this;
    context.strokeStyle = theme.accent;
    context.lineWidth = 2.5;
    let before = -1;
    for (const step of app.model.critical) {
      if (app.timed && app.timeline.end[step] < 0) continue;
      const [x, width] = this.span(step);
      const off = app.timed ? 0 : this.inset;
      const [left, right] = [x + off - view.left, x + width - off - view.left];
      if (before >= 0) {
        const [ax, aw] = this.span(before);
        context.beginPath();
        context.moveTo(ax + aw - off - view.left, this.middle(before));
        context.lineTo(left, this.middle(step));
        context.stroke();
      }
      if (left <= view.width && right >= GUTTER) context.strokeRect(left, this.middle(step) - this.row / 2 + 1, Math.max(1, right - left), this.row - 2);
      before = step;
    }
  }

  // A circle of waits, or two accesses that nothing orders.
  drawWrong(context) {
    const { app } = this;
    if (app.stuck) {
      const edges = app.stuck.cycle.length > 0 ? app.stuck.cycle : app.stuck.waits;
      for (const { step, by } of edges) this.straight(context, step, by);
      const heads = app.stuck.cycle.length > 0 ? app.stuck.cycle.map(edge => edge.step) : app.stuck.heads;
      for (const step of heads) this.outline(context, step);
    }
    for (const step of app.marked.steps) this.outline(context, step);
    const [one, other] = app.marked.race ?? [];
    if (one !== undefined) {
      // From edge to edge: what stands in the cells stays readable.
      const [[ax, aw], [bx, bw]] = [this.span(one), this.span(other)];
      const sides = ax === bx ? [aw / 2, bw / 2] : ax < bx ? [aw - this.inset, this.inset] : [this.inset, bw - this.inset];
      const down = ax === bx ? (Math.sign(this.middle(other) - this.middle(one)) * this.row) / 2 : 0;
      context.strokeStyle = theme.bad;
      context.lineWidth = 2;
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(ax + sides[0] - this.view.left, this.middle(one) + down);
      context.lineTo(bx + sides[1] - this.view.left, this.middle(other) - down);
      context.stroke();
      context.setLineDash([]);
    }
  }

  // From a step to the one that it waits for in vain.
  straight(context, step, by) {
    const middle = of => {
      const [x, width] = this.span(of);
      return [x + width / 2 - this.view.left, this.middle(of)];
    };
    const [[ax, ay], [bx, by_]] = [middle(step), middle(by)];
    const angle = Math.atan2(by_ - ay, bx - ax);
    const short = Math.min(this.row / 2, Math.hypot(bx - ax, by_ - ay) / 3);
    const [ex, ey] = [bx - Math.cos(angle) * short, by_ - Math.sin(angle) * short];
    context.strokeStyle = context.fillStyle = theme.bad;
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(ax, ay, 3, 0, 2 * Math.PI);
    context.fill();
    context.beginPath();
    context.moveTo(ax, ay);
    context.lineTo(ex, ey);
    context.stroke();
    arrowHead(context, ex + Math.cos(angle) * 3, ey + Math.sin(angle) * 3, angle, 10);
  }

  outline(context, step) {
    const [x, width] = this.span(step);
    const off = this.app.timed ? 0 : this.inset;
    context.strokeStyle = theme.bad;
    context.lineWidth = 2.5;
    context.strokeRect(x + off - this.view.left, this.middle(step) - this.row / 2 + 1, width - 2 * off, this.row - 2);
  }

  // What every level moves.
  drawBytes(context) {
    const { app, view } = this;
    const counts = app.traffic();
    const most = counts.reduce((most, of) => Math.max(most, of), 1);
    const base = this.tops[this.lanes.length] + this.bars - 2 - view.top;
    context.fillStyle = theme.muted;
    text(context, app.amount(most), GUTTER + 4, base - this.bars + 14, { size: 10, align: 'left', color: theme.muted });
    counts.forEach((count, level) => {
      const x = GUTTER + level * this.column - view.left;
      if (x + this.column < GUTTER || x > view.width) return;
      const high = (count / most) * (this.bars - 24);
      context.fillStyle = level === Math.ceil(app.state.moment) - 1 ? theme.accent : theme.muted;
      context.fillRect(x + 2, base - high, Math.max(1, this.column - 4), high);
    });
    context.fillStyle = theme.line;
    context.fillRect(GUTTER, base, view.width, 1);
  }

  drawHead(context) {
    const { app, view } = this;
    context.fillStyle = theme.panel;
    context.fillRect(0, 0, view.width, HEAD - 1);
    if (app.timed) {
      const step = 10 ** Math.floor(Math.log10(110 / this.scale || 1));
      const tick = [1, 2, 5, 10].map(of => of * step).find(of => of * this.scale >= 70) ?? step * 10;
      for (let at = 0; at <= app.timeline.last; at += tick) {
        const x = this.edge(at) - view.left;
        if (x < GUTTER || x > view.width) continue;
        text(context, app.timeline.ordered ? `${at}` : timeNamed(at), x, HEAD - 12, { size: 10, color: theme.muted, align: at === 0 ? 'left' : 'center' });
      }
      return;
    }
    for (const { name, from, to } of this.phases()) {
      const [x, end] = [Math.max(GUTTER, this.edge(from) - view.left + this.inset), Math.min(view.width, this.edge(to) - view.left - this.inset)];
      if (end - x < 8) continue;
      context.font = `11px ${theme.font}`;
      if (context.measureText(name).width <= end - x) text(context, name, (x + end) / 2, 8, { size: 11, color: theme.muted });
      context.fillStyle = theme.line;
      context.fillRect(x, 16, end - x, 1);
    }
    const every = this.column >= 18 ? 1 : this.columns > 99 ? 4 : 2;
    const current = Math.ceil(app.state.moment);
    for (let column = 0; column < this.columns; column++) {
      const x = GUTTER + (column + 0.5) * this.column - view.left;
      if (x < GUTTER || x > view.width) continue;
      const is = column + 1 === current;
      if (column >= app.timeline.last) {
        if (column === app.timeline.last) text(context, 'never', x, HEAD - 12, { size: 10, color: theme.bad, bold: true });
      } else if (is || (column + 1) % every === 0 && Math.abs(column + 1 - current) >= every) {
        text(context, `${column + 1}`, x, HEAD - 12, { size: 11, bold: is, color: is ? theme.accent : theme.muted });
      }
    }
  }

  // Runs of levels whose steps are of one phase: what a label says but for a number at its end.
  phases() {
    const { timeline, words } = this.app;
    if (timeline.phases) return timeline.phases;
    timeline.phases = [];
    for (let level = 0; level < timeline.last; level++) {
      const names = new Set(Array.from(timeline.byLevel(level), step => words.label(step).replace(/(\s+round)?\s+\d+$/, '')));
      const [name] = names;
      const last = timeline.phases[timeline.phases.length - 1];
      if (last && last.to === level && names.size === 1 && last.name === name) last.to++;
      else if (names.size === 1) timeline.phases.push({ name, from: level, to: level + 1 });
    }
    return timeline.phases;
  }

  drawRanks(context) {
    const { app, view } = this;
    const { model } = app;
    context.fillStyle = theme.panel;
    context.fillRect(0, 0, GUTTER - 2, view.height);
    text(context, 'rank', 6, HEAD - 12, { size: 10, align: 'left', color: theme.muted });
    let labelled = -Infinity;
    for (let row = 0; row < this.lanes.length; row++) {
      const { rank, index } = model.lanes[this.lanes[row]];
      if (index > 0) continue;
      const high = this.row * model.lanesOf[rank].length;
      const y = this.tops[row] + high / 2 - view.top;
      if (y < HEAD || y > view.height || y - labelled < 11 && !app.isChosenRank(rank)) continue;
      labelled = y;
      const chosen = app.isChosenRank(rank);
      text(context, `${rank}`, GUTTER - 10, y, { size: Math.min(12, Math.max(9, high)), align: 'right', bold: chosen, color: chosen ? theme.accent : theme.ink });
      if (this.between > 0) {
        context.fillStyle = theme.line;
        context.fillRect(0, this.tops[row] - view.top - 2, GUTTER - 4, 1);
      }
    }
    context.fillStyle = theme.panel;
    context.fillRect(0, 0, GUTTER - 2, HEAD);
    text(context, 'rank', 6, HEAD - 12, { size: 10, align: 'left', color: theme.muted });
  }

  hit(event) {
    const { app, view } = this;
    const { model } = app;
    const [px, py] = view.at(event);
    const [x, y] = [px + view.left, py + view.top];
    const row = this.tops ? this.tops.findLastIndex(top => top <= y) : -1;
    if (row < 0 || row >= this.lanes.length || py < HEAD) return null;
    const lane = this.lanes[row];
    if (px < GUTTER) return { kind: 'rank', id: model.lanes[lane].rank };
    const [from, to] = this.visible(lane);
    for (let step = from; step < to; step++) {
      if (app.timed && app.timeline.end[step] < 0) continue;
      const [left, width] = this.span(step);
      if (x >= left && x < left + width) return { kind: 'step', id: step };
    }
    return null;
  }

  // The moment at a point, for clicks on the head and on nothing.
  moment(event) {
    const x = this.view.at(event)[0] + this.view.left - GUTTER;
    const { timeline, timed } = this.app;
    const at = timed ? x / this.scale : Math.ceil(x / this.column);
    return Math.max(0, Math.min(timeline.last, timed ? timeline.stopBefore(at) : at));
  }
}
