// The ranks on a circle and what travels between them: chunks as coloured arrows, waits as grey ones.

const MOST_CIRCLES = 64;
const MOST_ARROWS = 5000;

class Topology {
  constructor(app) {
    this.app = app;
    this.view = new Viewport(document.querySelector('#topology .pane'), context => this.draw(context));
    this.still = document.createElement('canvas');
    this.swarm = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    // Of more ranks than circles, each circle is several.
    this.share = Math.ceil(app.model.ranks / MOST_CIRCLES);
    this.circles = Math.ceil(app.model.ranks / this.share);
  }

  note() {
    const notes = [];
    if (this.share > 1) notes.push(`Each circle is ${this.share} ranks.`);
    if (this.merged) notes.push(`${this.merged.toLocaleString('en')} arrows are more than are drawn: those between the same two circles are one.`);
    return notes.join(' ');
  }

  circle(rank) {
    return Math.floor(rank / this.share);
  }

  name(circle) {
    if (this.share === 1) return `${circle}`;
    return `${circle * this.share}–${Math.min(this.app.model.ranks, (circle + 1) * this.share) - 1}`;
  }

  // Where the circles are: in groups, if ranks are grouped into nodes.
  place() {
    const { width, height } = this.view;
    const group = this.share === 1 ? this.app.state.group : 0;
    const groups = group > 1 ? Math.ceil(this.circles / group) : 0;
    const gap = groups > 1 ? 0.7 : 0;
    const slots = this.circles + groups * gap;
    this.middle = [width / 2, height / 2];
    const outer = Math.min(width, height) / 2;
    this.radius = Math.max(5, Math.min(26, (outer * 0.8 * Math.PI) / slots * 0.62));
    this.ring = Math.max(20, outer - this.radius - (groups > 1 ? 30 : 12));
    if (this.circles === 1) this.ring = 0;
    this.angles = Array.from({ length: this.circles }, (_, circle) => {
      const slot = circle + (groups > 1 ? Math.floor(circle / group) * gap + gap / 2 : 0);
      return (slot / slots) * 2 * Math.PI - Math.PI / 2;
    });
    this.groups = groups;
    this.spots = this.angles.map(angle => [
      this.middle[0] + this.ring * Math.cos(angle),
      this.middle[1] + this.ring * Math.sin(angle),
    ]);
  }

  // The arrows of the steps under way, each with the step that it is of.
  arrows() {
    const { model, timeline, state } = this.app;
    const steps = timeline.active(state.moment);
    let moves = [];
    for (const step of steps) {
      const own = this.circle(model.rankOf[step]);
      const hue = timeline.hues[step];
      const add = model.isReduction(step);
      for (const rank of model.sources(step)) moves.push({ from: this.circle(rank), to: own, hue, add, step, count: 1 });
      for (const rank of model.targets(step)) moves.push({ from: own, to: this.circle(rank), hue, add: false, step, count: 1 });
    }
    let waits = [];
    if (state.waits !== 'none') {
      for (const step of steps) {
        for (const by of model.before(step)) {
          waits.push({ from: this.circle(model.rankOf[by]), to: this.circle(model.rankOf[step]), step, by, count: 1 });
        }
      }
    }
    this.merged = 0;
    if (moves.length + waits.length > MOST_ARROWS || this.share > 1) {
      if (moves.length + waits.length > MOST_ARROWS) this.merged = moves.length + waits.length;
      const merge = list => {
        const pairs = new Map();
        for (const arrow of list) {
          const key = arrow.from * this.circles + arrow.to;
          const seen = pairs.get(key);
          if (seen) seen.count++;
          else pairs.set(key, { ...arrow });
        }
        return [...pairs.values()];
      };
      moves = merge(moves);
      waits = merge(waits);
    }
    this.moves = moves.filter(arrow => arrow.from !== arrow.to);
    this.waits = waits.filter(arrow => arrow.from !== arrow.to);
    this.spread();
    this.steps = steps;
  }

  // Several arrows between the same two circles lie beside each other.
  spread() {
    const pairs = new Map();
    const key = ({ from, to }) => from * this.circles + to;
    for (const move of this.moves) {
      move.beside = pairs.get(key(move)) ?? 0;
      pairs.set(key(move), move.beside + 1);
    }
    for (const move of this.moves) move.bend = 0.16 + move.beside * Math.min(0.08, 0.6 / pairs.get(key(move)));
  }

  // The curve of an arrow, from rim to rim, bent to the right so that two ways between two circles are two lines.
  curve({ from, to }, bend) {
    const [ax, ay] = this.spots[from];
    const [bx, by] = this.spots[to];
    const [dx, dy] = [bx - ax, by - ay];
    const length = Math.hypot(dx, dy) || 1;
    // Short ways between small circles would hide behind them.
    if (this.radius < 8) bend = Math.sign(bend) * Math.max(Math.abs(bend), Math.min(0.9, 15 / length));
    const [cx, cy] = [(ax + bx) / 2 + dy * bend, (ay + by) / 2 - dx * bend];
    const rim = (x, y) => {
      const far = Math.hypot(cx - x, cy - y) || 1;
      const off = Math.min(this.radius + 2, length * 0.4);
      return [x + ((cx - x) / far) * off, y + ((cy - y) / far) * off];
    };
    return [...rim(ax, ay), cx, cy, ...rim(bx, by)];
  }

  refresh() {
    this.arrows();
    this.view.stale = this.dirty = true;
  }

  // All but what moves, once for each level.
  drawStill() {
    const { view, app } = this;
    const { model, timeline, state } = app;
    this.place();
    if (!this.moves) this.arrows();
    for (const move of this.moves) move.curve = this.curve(move, move.bend);
    this.still.width = view.canvas.width;
    this.still.height = view.canvas.height;
    const context = this.still.getContext('2d');
    context.setTransform(view.density, 0, 0, view.density, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    const crowded = this.moves.length + this.waits.length > 300;
    const dense = this.waits.length > 100;
    const head = Math.max(4, Math.min(10, this.radius * 0.7));
    const chosen = arrow => app.isChosenStep(arrow.step) || app.isChosenStep(arrow.by);
    const focused = app.focus && app.focus.kind !== 'place' ? arrow => chosen(arrow) || app.isChosenRank(arrow.from) || app.isChosenRank(arrow.to) : null;
    if (crowded && !focused) this.drawCrowd(context);
    else for (const wait of this.waits) {
      const curve = this.curve(wait, -0.16);
      context.globalAlpha = focused ? (focused(wait) ? 1 : 0.12) : crowded || dense ? 0.25 : 0.9;
      this.stroke(context, curve, theme.wait, this.radius > 8 ? 1.2 : 0.8, [3, 3], crowded || dense ? 4 : head * 0.7);
    }
    if (!crowded || focused) for (const move of this.moves) {
      const { curve } = move;
      context.globalAlpha = focused ? (focused(move) ? 1 : 0.12) : crowded ? 0.35 : 0.85;
      const width = Math.min(7, (crowded ? 1 : this.radius > 14 ? 3 : this.radius > 8 ? 2 : 1.5) + Math.log2(move.count));
      this.stroke(context, curve, move.hue === -2 ? theme.wait : hueColor(move.hue), width, move.add ? [] : this.radius > 8 ? [7, 3] : [3, 2], crowded ? 5 : head);
    }
    context.globalAlpha = 1;
    this.drawStuck(context);
    const busy = new Map();
    for (const step of this.steps) {
      busy.set(this.circle(model.rankOf[step]), timeline.hues[step]);
    }
    const stuck = new Set(app.stuck ? app.stuck.heads.map(step => this.circle(model.rankOf[step])) : []);
    const ended = state.moment >= timeline.last;
    const share = this.done();
    this.spots.forEach(([x, y], circle) => {
      const { radius } = this;
      const hangs = ended && stuck.has(circle);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = theme.panel;
      context.fill();
      if (busy.has(circle) && radius < 9 && busy.get(circle) !== -2) {
        context.fillStyle = hueColor(busy.get(circle));
        context.fill();
      }
      context.lineWidth = 1.5;
      context.strokeStyle = hangs ? theme.bad : theme.line;
      context.stroke();
      // How much of its output is as it must be.
      if (share[circle] > 0 && radius >= 7) {
        context.beginPath();
        context.arc(x, y, radius, -Math.PI / 2, -Math.PI / 2 + share[circle] * 2 * Math.PI);
        context.strokeStyle = hangs ? theme.bad : theme.ink;
        context.lineWidth = radius > 10 ? 3 : 2;
        context.stroke();
      }
      if (busy.has(circle) && radius >= 9) {
        const hue = busy.get(circle);
        context.beginPath();
        context.arc(x, y, radius - 4, 0, 2 * Math.PI);
        context.globalAlpha = 0.22;
        context.fillStyle = hue === -2 ? theme.wait : hueColor(hue);
        context.fill();
        context.globalAlpha = 1;
      }
      if (app.isChosenRank(circle)) {
        context.beginPath();
        context.arc(x, y, radius + 4, 0, 2 * Math.PI);
        context.strokeStyle = theme.accent;
        context.lineWidth = 2;
        context.stroke();
      }
      const size = Math.min(14, radius * (this.share > 1 ? 0.62 : 1));
      if (size >= 7) text(context, this.name(circle), x, y + 0.5, { size, bold: true, color: hangs ? theme.bad : theme.ink });
      else if (circle % Math.ceil(this.circles / 16) === 0) {
        const angle = this.angles[circle];
        // Inside of the ring, where there is room.
        text(context, `${circle * this.share}`, x - 17 * Math.cos(angle), y - 17 * Math.sin(angle), { size: 10, color: theme.muted });
      }
    });
    if (this.groups > 1) this.drawGroups(context);
    this.dirty = false;
  }

  // Very many arrows: those of a colour are one path.
  drawCrowd(context) {
    const styles = new Map();
    const add = (arrow, bend, color, alpha) => {
      if (!styles.has(color)) styles.set(color, { alpha, lines: new Path2D(), heads: new Path2D() });
      const { lines, heads } = styles.get(color);
      const [ax, ay, cx, cy, bx, by] = this.curve(arrow, bend);
      const far = Math.hypot(bx - cx, by - cy) || 1;
      const [ux, uy] = [(bx - cx) / far, (by - cy) / far];
      lines.moveTo(ax, ay);
      lines.quadraticCurveTo(cx, cy, bx, by);
      heads.moveTo(bx, by);
      heads.lineTo(bx - 5 * ux - 2 * uy, by - 5 * uy + 2 * ux);
      heads.lineTo(bx - 5 * ux + 2 * uy, by - 5 * uy - 2 * ux);
    };
    for (const wait of this.waits) add(wait, -0.16, theme.wait, 0.3);
    for (const move of this.moves) add(move, move.bend, move.hue === -2 ? theme.wait : hueColor(move.hue), 0.45);
    for (const [color, { alpha, lines, heads }] of styles) {
      context.globalAlpha = alpha;
      context.strokeStyle = context.fillStyle = color;
      context.lineWidth = 1;
      context.stroke(lines);
      context.fill(heads);
    }
  }

  drawGroups(context) {
    const { group } = this.app.state;
    for (let node = 0; node < this.groups; node++) {
      const first = this.angles[node * group];
      const last = this.angles[Math.min(this.circles, (node + 1) * group) - 1];
      const far = this.ring + this.radius + 8;
      context.beginPath();
      context.arc(...this.middle, far, first - 0.08, last + 0.08);
      context.strokeStyle = theme.muted;
      context.lineWidth = 2;
      context.stroke();
      const angle = (first + last) / 2;
      const [x, y] = [Math.cos(angle), Math.sin(angle)];
      text(context, `${node}`, this.middle[0] + x * (far + 11), this.middle[1] + y * (far + 11), { size: 11, color: theme.muted });
    }
  }

  // At the end: who waits for whom for ever.
  drawStuck(context) {
    const { app } = this;
    if (!app.stuck || app.state.moment < app.timeline.last) return;
    const { model } = app;
    const edges = app.stuck.cycle.length > 0 ? app.stuck.cycle : app.stuck.waits;
    for (const { step, by } of edges) {
      const arrow = { from: this.circle(model.rankOf[step]), to: this.circle(model.rankOf[by]) };
      if (arrow.from !== arrow.to) this.stroke(context, this.curve(arrow, 0.16), theme.bad, 3, [], 11);
    }
    for (const { step, wait } of app.stuck.nobody) {
      const arrow = { from: this.circle(model.rankOf[step]), to: this.circle(wait.sender) };
      if (arrow.from !== arrow.to) this.stroke(context, this.curve(arrow, 0.16), theme.bad, 2, [2, 4], 9);
    }
  }

  // By circle: the share of its outputs that are complete.
  done() {
    const { model, timeline } = this.app;
    const right = new Float64Array(this.circles);
    const all = new Float64Array(this.circles);
    const count = model.terms.inputs.only === null ? model.ranks : 1;
    for (const [place, wanted] of model.expected) {
      const circle = this.circle(model.rankAt[place]);
      const term = timeline.held[place];
      all[circle]++;
      if (wanted.rank < 0 ? model.terms.leaves[term] === count && model.terms.chunks[term] === wanted.chunk : term === model.terms.input(wanted.rank, wanted.chunk)) right[circle]++;
    }
    return right.map((of, circle) => (all[circle] ? of / all[circle] : 0));
  }

  stroke(context, [ax, ay, cx, cy, bx, by], color, width, dash, head) {
    const angle = Math.atan2(by - cy, bx - cx);
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(ax, ay);
    context.quadraticCurveTo(cx, cy, bx - Math.cos(angle) * head * 0.6, by - Math.sin(angle) * head * 0.6);
    context.stroke();
    context.setLineDash([]);
    arrowHead(context, bx, by, angle, head);
  }

  draw(context) {
    const { view, app } = this;
    if (this.dirty || this.still.width !== view.canvas.width || this.still.height !== view.canvas.height) this.drawStill();
    context.clearRect(0, 0, view.width, view.height);
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.still, 0, 0);
    context.restore();
    const { state, timeline } = app;
    if (Number.isInteger(state.moment) && !app.timed) return;
    // What is on its way, as dots: one path for each colour.
    const size = Math.max(2.5, Math.min(8, this.radius * 0.42));
    const byHue = new Map();
    if (this.moves.length > 400) {
      this.drawSwarm(context);
      return;
    }
    for (const move of this.moves) {
      const from = timeline.start[move.step];
      const share = (state.moment - from) / (timeline.end[move.step] - from || 1);
      if (!(share > 0 && share < 1)) continue;
      const [ax, ay, cx, cy, bx, by] = move.curve;
      const rest = 1 - share;
      const x = rest * rest * ax + 2 * rest * share * cx + share * share * bx;
      const y = rest * rest * ay + 2 * rest * share * cy + share * share * by;
      if (!byHue.has(move.hue)) byHue.set(move.hue, []);
      byHue.get(move.hue).push([x, y]);
    }
    for (const [hue, spots] of byHue) {
      context.beginPath();
      for (const [x, y] of spots) {
        context.moveTo(x + size, y);
        context.arc(x, y, size, 0, 2 * Math.PI);
      }
      context.fillStyle = hue === -2 ? theme.wait : hueColor(hue);
      context.strokeStyle = theme.panel;
      context.lineWidth = 1.5;
      context.fill();
      context.stroke();
      if (size >= 7 && hue >= 0 && spots.length <= 64) for (const [x, y] of spots) text(context, `${hue}`, x, y + 0.5, { size: 10, color: inkOn(hue), bold: true });
    }
  }

  // Thousands of dots: set in an image of their own, which takes a fraction of the time of as many rectangles.
  drawSwarm(context) {
    const { view, swarm } = this;
    const { state, timeline } = this.app;
    const { width, height } = view.canvas;
    if (this.image?.width !== width || this.image.height !== height) {
      Object.assign(swarm.canvas, { width, height });
      this.image = new ImageData(width, height);
    }
    const dots = new Uint32Array(this.image.data.buffer);
    dots.fill(0);
    const colors = new Map();
    const word = hue => {
      const parts = partsOf(hue === -2 ? theme.wait : hueColor(hue));
      return new Uint32Array(Uint8Array.from([...parts, 255]).buffer)[0];
    };
    const size = Math.round(4 * view.density);
    for (const { step, hue, curve } of this.moves) {
      const from = timeline.start[step];
      const share = (state.moment - from) / (timeline.end[step] - from || 1);
      if (!(share > 0 && share < 1)) continue;
      const [ax, ay, cx, cy, bx, by] = curve;
      const rest = 1 - share;
      const left = Math.round((rest * rest * ax + 2 * rest * share * cx + share * share * bx) * view.density - size / 2);
      const top = Math.round((rest * rest * ay + 2 * rest * share * cy + share * share * by) * view.density - size / 2);
      if (left < 0 || top < 0 || left + size > width || top + size > height) continue;
      if (!colors.has(hue)) colors.set(hue, word(hue));
      for (let row = top; row < top + size; row++) dots.fill(colors.get(hue), row * width + left, row * width + left + size);
    }
    swarm.putImageData(this.image, 0, 0);
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(swarm.canvas, 0, 0);
    context.restore();
  }

  // The rank or step at a point.
  hit(event) {
    const [x, y] = this.view.at(event);
    if (!this.spots) return null;
    const circle = this.spots.findIndex(([cx, cy]) => Math.hypot(cx - x, cy - y) <= this.radius + 3);
    if (circle >= 0) return { kind: 'rank', id: circle * this.share };
    let best = null;
    let nearest = 7;
    for (const move of this.moves) {
      if (!move.curve) continue;
      const [ax, ay, cx, cy, bx, by] = move.curve;
      for (let i = 1; i < 12; i++) {
        const [s, r] = [i / 12, 1 - i / 12];
        const far = Math.hypot(r * r * ax + 2 * r * s * cx + s * s * bx - x, r * r * ay + 2 * r * s * cy + s * s * by - y);
        if (far < nearest) [best, nearest] = [move, far];
      }
    }
    return best && { kind: 'step', id: best.step };
  }
}
