// The drawing: strokes as vectors on a board of 512 × 1024, drawn as they come, exported as black on white.

import { el } from "./dom.js";
import { T } from "./strings.js";

export const WIDTH = 512;
export const HEIGHT = 1024;
const MOST_STROKES = 2000;
const MOST_POINTS = 200000;
const BARE = { strokes: [], figure: null };
const CLICK = 9;
const WIDTHS = [3, 6, 10, 18, 34];

export class Board {
  /** changed(): after each change. refused(words): when a limit is reached. picked(x, y): a click with the figure tool,
   * which draws when it is dragged. */
  constructor({ changed, refused, picked }) {
    Object.assign(this, { changed, refused, picked });
    this.canvas = el("canvas", { width: WIDTH, height: HEIGHT, tabIndex: 0, role: "img", "aria-label": T.canvas, class: "board" });
    this.context = this.canvas.getContext("2d");
    this.dressed = el("img", { class: "dressed", alt: "", hidden: true, draggable: false });
    this.node = el("div", { class: "paper" }, this.dressed, this.canvas);
    this.past = [BARE];
    this.at = 0;
    this.tool = "figure";
    this.width = 2;
    this.shade = 0;
    this.revision = 0;
    this.costs = [];
    this.stroke = null;
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.canvas.addEventListener(name, (event) => this.timed(event, name));
    }
  }

  get strokes() {
    return this.past[this.at].strokes;
  }

  /** What the figure wears, as it was drawn: {known, picture, phrases, blank}; null for nothing. */
  get figure() {
    return this.past[this.at].figure;
  }

  /** Whether there is no drawing to search with. */
  get bare() {
    return !this.strokes.length && (this.figure?.blank ?? true);
  }

  /** Start anew with these strokes and this figure; their history is forgotten. */
  load(strokes, figure = null) {
    this.past = [{ strokes, figure }];
    this.at = 0;
    this.redraw();
    this.revision += 1;
  }

  undo() {
    if (this.at > 0) this.move(this.at - 1);
  }

  redo() {
    if (this.at < this.past.length - 1) this.move(this.at + 1);
  }

  clear() {
    if (this.strokes.length || this.figure) this.commit([], true, null);
  }

  /** A PNG of figure and strokes on white. The neutral figure only guides and is never in it. */
  async export() {
    const copy = el("canvas", { width: WIDTH, height: HEIGHT });
    const context = copy.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, WIDTH, HEIGHT);
    if (this.figure && !this.figure.blank) {
      await this.dressed.decode();
      context.drawImage(this.dressed, 0, 0, WIDTH, HEIGHT);
    }
    for (const stroke of this.strokes) draw(context, stroke, 0);
    return new Promise((done) => copy.toBlob(done, "image/png"));
  }

  // ---------------------------------------------------------------- machinery

  timed(event, name) {
    const begin = performance.now();
    this[name](event);
    if (this.costs.length < 20000) this.costs.push(performance.now() - begin);
  }

  pointerdown(event) {
    if (event.button !== 0 || this.stroke || this.erasing) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.box = this.canvas.getBoundingClientRect();
    const eraser = this.tool === "eraser" || (event.pointerType === "pen" && event.buttons === 32);
    if (eraser) {
      this.erasing = this.strokes;
      this.erase(this.point(event));
    } else if (this.strokes.length >= MOST_STROKES || this.count() >= MOST_POINTS) {
      this.refused(T.tooMuch);
    } else {
      this.stroke = { points: [this.point(event)], width: WIDTHS[this.width - 1], shade: this.shade };
      draw(this.context, this.stroke, 0);
    }
  }

  pointermove(event) {
    if (event.pointerId !== this.pointer || !(this.stroke || this.erasing)) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const point = this.point(each);
      if (this.erasing) this.erase(point);
      else if (far(this.stroke.points.at(-1), point)) {
        this.stroke.points.push(point);
        draw(this.context, this.stroke, this.stroke.points.length - 2);
      }
    }
  }

  pointerup(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    if (this.stroke) {
      const done = this.stroke;
      this.stroke = null;
      const click = done.points.every(([x, y]) => Math.hypot(x - done.points[0][0], y - done.points[0][1]) < CLICK);
      if (this.tool === "figure" && click) {
        this.redraw();
        this.picked(...done.points[0]);
      } else this.commit([...this.strokes, done], false);
    } else if (this.erasing) {
      const left = this.erasing;
      this.erasing = null;
      if (left.length !== this.strokes.length) this.commit(left);
    }
  }

  pointercancel(event) {
    this.pointerup(event);
  }

  /** Where, on the board, and how hard a pen presses (1 for mouse and finger). */
  point(event) {
    const x = ((event.clientX - this.box.left) / this.box.width) * WIDTH;
    const y = ((event.clientY - this.box.top) / this.box.height) * HEIGHT;
    const press = event.pointerType === "pen" && event.pressure > 0 ? 0.35 + 1.3 * event.pressure : 1;
    return [round(x), round(y), round(press)];
  }

  erase([x, y]) {
    const left = this.erasing.filter((stroke) => !touches(stroke, x, y));
    if (left.length === this.erasing.length) return;
    this.erasing = left;
    this.redraw(left);
  }

  commit(strokes, redraw = true, figure = this.figure) {
    this.past = [...this.past.slice(0, this.at + 1), { strokes, figure }].slice(-400);
    this.move(this.past.length - 1, redraw);
  }

  move(at, redraw = true) {
    this.at = at;
    this.revision += 1;
    if (redraw) this.redraw();
    this.changed();
  }

  redraw(strokes = this.strokes) {
    const picture = this.figure?.picture ?? this.neutral;
    this.dressed.hidden = !picture;
    this.dressed.classList.toggle("neutral", !this.figure);
    if (picture) this.dressed.src = `data:image/png;base64,${picture}`;
    this.context.clearRect(0, 0, WIDTH, HEIGHT);
    for (const stroke of strokes) draw(this.context, stroke, 0);
  }

  count() {
    return this.strokes.reduce((sum, stroke) => sum + stroke.points.length, 0);
  }
}

/** Draw a stroke from its point number `from` on; one line for each step, as wide as the pen pressed. */
function draw(context, { points, width, shade }, from) {
  context.lineCap = "round";
  context.lineJoin = "round";
  const grey = Math.round(shade * 2.2);
  context.strokeStyle = context.fillStyle = `rgb(${grey},${grey},${grey})`;
  if (points.length === 1) {
    context.beginPath();
    context.arc(points[0][0], points[0][1], (width * points[0][2]) / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  for (let i = Math.max(1, from); i < points.length; i += 1) {
    const [a, b] = [points[i - 1], points[i]];
    const before = points[i - 2] ?? a;
    context.beginPath();
    context.lineWidth = (width * (a[2] + b[2])) / 2;
    context.moveTo((before[0] + a[0]) / 2, (before[1] + a[1]) / 2);
    context.quadraticCurveTo(a[0], a[1], (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    if (i === points.length - 1) context.lineTo(b[0], b[1]);
    context.stroke();
  }
}

function touches({ points, width }, x, y) {
  const reach = (width / 2 + 10) ** 2;
  return points.some(([a, b], i) => {
    const [c, d] = points[i + 1] ?? [a, b];
    const length = (c - a) ** 2 + (d - b) ** 2;
    const t = length ? Math.max(0, Math.min(1, ((x - a) * (c - a) + (y - b) * (d - b)) / length)) : 0;
    return (x - a - t * (c - a)) ** 2 + (y - b - t * (d - b)) ** 2 <= reach;
  });
}

const far = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 > 2 || Math.abs(a[2] - b[2]) > 0.1;
const round = (x) => Math.round(x * 100) / 100;
