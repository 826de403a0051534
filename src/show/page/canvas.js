// What all three views need to draw: colours, sharp canvases, canvases that show a part of something larger.

// Okabe and Ito's colours, in an order in which neighbours also differ in grey.
const HUES = ['#0072b2', '#e69f00', '#009e73', '#56b4e9', '#d55e00', '#f0e442', '#7a5195', '#cc79a7'];

const mixed = new Map();

function rgb(hex) {
  return [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
}

// The colour of hue `number`: later rounds of the eight are lighter, then darker.
function hueColor(number) {
  if (number < 0) return theme.bad;
  if (!mixed.has(number)) {
    const round = Math.floor(number / HUES.length) % 3;
    const [toward, share] = [[0, 0], [255, 0.42], [0, 0.38]][round];
    const parts = rgb(HUES[number % HUES.length]).map(part => Math.round(part + (toward - part) * share));
    mixed.set(number, `rgb(${parts.join(' ')})`);
  }
  return mixed.get(number);
}

// Red, green and blue of a colour, as the page writes colours.
function partsOf(color) {
  return color.startsWith('#') ? rgb(color) : color.match(/\d+/g).map(Number);
}

// Black or white, whichever is read better on the hue.
function inkOn(number) {
  if (number < 0) return '#fff';
  const [r, g, b] = partsOf(hueColor(number));
  return 0.299 * r + 0.587 * g + 0.114 * b > 128 ? '#111' : '#fff';
}

// Colours of the page, which follow the system's light or dark.
const theme = {
  read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ['ink', 'muted', 'faint', 'line', 'panel', 'ground', 'accent', 'bad', 'good', 'wait']) {
      this[name] = style.getPropertyValue(`--${name}`).trim();
    }
    this.font = getComputedStyle(document.body).fontFamily;
  },
};

function text(context, string, x, y, { size = 11, color = theme.ink, align = 'center', bold = false } = {}) {
  context.font = `${bold ? '600 ' : ''}${size}px ${theme.font}`;
  context.fillStyle = color;
  context.textAlign = align;
  context.textBaseline = 'middle';
  context.fillText(string, x, y);
}

function arrowHead(context, x, y, angle, size) {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x - size * Math.cos(angle - 0.45), y - size * Math.sin(angle - 0.45));
  context.lineTo(x - size * Math.cos(angle + 0.45), y - size * Math.sin(angle + 0.45));
  context.closePath();
  context.fill();
}

// Slanted lines in a rectangle: a mark that is seen without colour.
function hatch(context, x, y, width, height, color, gap = 5) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.beginPath();
  for (let at = -height; at < width; at += gap) {
    context.moveTo(x + at, y + height);
    context.lineTo(x + at + height, y);
  }
  context.stroke();
  context.restore();
}

// A canvas in `pane` that shows the visible part of a drawing that may be larger than it. `draw` gets a context in CSS pixels.
class Viewport {
  constructor(pane, draw) {
    this.pane = pane;
    this.drawing = draw;
    this.canvas = pane.querySelector('canvas');
    this.spacer = document.createElement('div');
    this.spacer.className = 'spacer';
    pane.append(this.spacer);
    this.context = this.canvas.getContext('2d');
    this.stale = true;
    this.width = this.height = 0;
    pane.addEventListener('scroll', () => {
      this.stale = true;
      wake();
    }, { passive: true });
    new ResizeObserver(() => wake()).observe(pane);
  }

  // Says how large the drawing is; the pane scrolls where it is smaller.
  size(width, height) {
    this.spacer.style.width = `${width}px`;
    this.spacer.style.height = `${height}px`;
  }

  get left() {
    return this.pane.scrollLeft;
  }

  get top() {
    return this.pane.scrollTop;
  }

  fit() {
    const { clientWidth, clientHeight } = this.pane;
    const density = window.devicePixelRatio || 1;
    if (clientWidth === this.width && clientHeight === this.height && density === this.density) return;
    Object.assign(this, { width: clientWidth, height: clientHeight, density, stale: true });
    this.canvas.width = Math.max(1, Math.round(clientWidth * density));
    this.canvas.height = Math.max(1, Math.round(clientHeight * density));
    this.canvas.style.width = `${clientWidth}px`;
    this.canvas.style.height = `${clientHeight}px`;
  }

  draw() {
    if (!this.stale || this.width === 0) return;
    this.stale = false;
    this.context.setTransform(this.density, 0, 0, this.density, 0, 0);
    this.drawing(this.context);
  }

  // Where in the drawing a mouse event is, before scrolling.
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}
