// The left pane: draw, say, drop. It holds the query that is being made; the rounds that were made live on the server.

import { call, prepared, upload } from "./api.js";
import { Board } from "./board.js";
import { el, say, tool } from "./dom.js";
import { Figure } from "./figure.js";
import { keep, recall, setting } from "./keep.js";
import { T } from "./strings.js";

const IDLE = 600;

/** The name of this tab: each keeps its own draft; a new tab begins with the last one kept. */
const TAB = (sessionStorage["descry.tab"] ??= crypto.randomUUID?.() ?? String(Math.random()));

export class QueryPane {
  /** search(replace): called when something is to be searched. answers: what the model can be asked. */
  constructor({ search, limits, answers }) {
    this.search = search;
    this.limits = limits;
    this.answers = answers;
    this.phrases = [];
    this.pictures = [];
    this.conflicts = [];
    this.unsent = false;
    this.sketch = { on: true, weight: 1, asset: null, revision: -1 };
    this.board = new Board({ changed: () => this.drawn(), refused: (text) => say(text, "warn"), picked: (x, y) => this.figure.pick(x, y) });
    this.figure = new Figure(this.board);
    this.node = el("section", { id: "query", "aria-label": T.query, class: "pane" }, this.drawing(), this.saying(), this.foot());
    this.listen();
    this.render();
  }

  // ---------------------------------------------------------------- what the pane is made of

  drawing() {
    const b = this.board;
    const pick = (name) => () => this.pick(name);
    this.tools = {
      figure: tool("figure", T.figure.tool, pick("figure"), { "aria-pressed": "true" }),
      pen: tool("pen", `${T.pen} (P)`, pick("pen"), { "aria-pressed": "false" }),
      eraser: tool("eraser", `${T.eraser} (E)`, pick("eraser"), { "aria-pressed": "false" }),
      undo: tool("undo", T.undoStroke, () => b.undo()),
      redo: tool("redo", T.redoStroke, () => b.redo()),
      clear: tool("clear", T.clear, () => {
        b.clear();
        say(T.clearing);
      }),
    };
    this.width = el("input", {
      type: "range",
      min: 1,
      max: 5,
      step: 1,
      value: 2,
      "aria-label": T.width,
      title: T.width,
      oninput: (e) => (b.width = Number(e.target.value)),
    });
    this.shade = el("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 5,
      value: 0,
      "aria-label": T.shade,
      title: T.shade,
      oninput: (e) => (b.shade = Number(e.target.value)),
    });
    const under = el(
      "select",
      { title: T.underlayNote, onchange: (e) => this.figure.see(e.target.value).catch((problem) => say(problem.message, "warn")) },
      ...Object.entries(T.underlays).map(([value, label]) => el("option", { value }, label)),
    );
    under.value = "front";
    this.file = el("input", {
      type: "file",
      accept: "image/png,image/jpeg,image/webp",
      multiple: true,
      class: "unseen",
      tabIndex: -1,
      "aria-label": T.upload,
      onchange: (e) => this.take([...e.target.files]),
    });
    const add = tool("upload", T.upload, () => this.file.click());
    this.as = el("input", { type: "checkbox", onchange: () => setting("asDrawn", this.as.checked) });
    this.as.checked = setting("asDrawn") ?? false;
    this.on = el("input", { type: "checkbox", checked: true, onchange: (e) => this.set({ on: e.target.checked }) });
    this.weight = el("input", {
      type: "range",
      min: 0,
      max: 2,
      step: 0.1,
      value: 1,
      "aria-label": T.sketchWeight,
      title: T.sketchWeight,
      onchange: (e) => this.set({ weight: Number(e.target.value) }),
    });
    this.larger = tool("enlarge", T.enlarge, () => this.enlarge(), { "aria-pressed": "false" });
    const bar = el(
      "div",
      { class: "tools", role: "toolbar", "aria-label": T.draw, "aria-orientation": "vertical" },
      ...Object.values(this.tools),
      add,
      this.larger,
      this.file,
    );
    const sliders = el(
      "div",
      { class: "sliders" },
      this.figure.node,
      el("label", { class: "of-pen" }, el("span", {}, T.width), this.width),
      el("label", { class: "of-pen" }, el("span", {}, T.shade), this.shade),
      el("label", {}, el("span", {}, T.underlay), under),
    );
    const use = el(
      "div",
      { class: "use" },
      el("label", { class: "check" }, this.on, T.sketchOn),
      this.weight,
      el("label", { class: "check" }, this.as, T.asDrawn),
    );
    this.cards = el("ul", { class: "cards", role: "list", "aria-label": T.upload });
    const cannot = !this.answers.includes("sketch");
    return el(
      "div",
      { id: "draw", class: cannot ? "off" : "" },
      cannot ? el("p", { class: "note" }, T.cannotSketch) : null,
      (this.desk = el("div", { class: "desk", "data-tool": "figure" }, bar, this.board.node, sliders)),
      use,
      this.cards,
    );
  }

  saying() {
    this.text = el("textarea", {
      id: "text",
      rows: 2,
      maxLength: this.limits.characters,
      placeholder: T.textHint,
      "aria-label": T.textLabel,
      onkeydown: (e) => this.typed(e),
      oninput: () => this.kept(),
    });
    this.list = el("ul", { class: "chips", role: "list", "aria-label": T.chips });
    this.clash = el("div", { class: "clash" });
    return el(
      "div",
      { id: "say" },
      el(
        "div",
        { class: "row" },
        this.text,
        tool("plus", T.add, () => this.hear()),
      ),
      this.clash,
      this.list,
    );
  }

  foot() {
    this.go = el("button", { type: "button", class: "primary", onclick: () => this.submit() }, T.search);
    return el("div", { class: "foot" }, this.go);
  }

  listen() {
    const paper = this.board.node;
    const over = (on) => (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      paper.classList.toggle("over", on);
    };
    document.addEventListener("dragover", over(true));
    document.addEventListener("dragleave", over(false));
    document.addEventListener("drop", (event) => {
      over(false)(event);
      if (event.dataTransfer?.files.length) this.take([...event.dataTransfer.files]);
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length) {
        event.preventDefault();
        this.take(files);
      }
    });
  }

  // ---------------------------------------------------------------- drawing and pictures

  pick(name) {
    this.board.tool = this.desk.dataset.tool = name;
    for (const each of ["figure", "pen", "eraser"]) this.tools[each].setAttribute("aria-pressed", String(each === name));
  }

  thickness(n) {
    this.board.width = n;
    this.width.value = n;
  }

  /** The board over the whole window, and back. */
  enlarge(large = !this.large) {
    this.large = large;
    document.getElementById("draw").classList.toggle("large", large);
    for (const other of document.querySelectorAll("#topbar > :not(.brand), #centre, #context, #say, #query > .foot, nav.tabs")) other.inert = large;
    this.larger.setAttribute("aria-pressed", String(large));
  }

  drawn() {
    this.unsent = true;
    this.dressed();
    this.render();
    this.kept();
    clearTimeout(this.idle);
    if (this.as.checked) this.idle = setTimeout(() => !this.board.bare && this.search({ drawing: true }), IDLE);
  }

  /** The chips that the figure makes, in place of those that it made before. */
  dressed() {
    const made = this.board.figure?.phrases ?? [];
    const said = (part) => made.find((m) => m.text === part.text && m.wanted === part.wanted);
    const held = this.phrases.filter((p) => !p.part || said(p));
    this.phrases = [...held, ...made.filter((m) => !held.some((p) => p.text === m.text)).map((m) => ({ weight: 1, on: true, ...m }))];
  }

  set(change) {
    Object.assign(this.sketch, change);
    this.changed();
  }

  async take(files) {
    say("");
    for (const file of files) {
      if (file.type && !file.type.startsWith("image/")) {
        say(T.notAPicture(file.name), "warn");
        continue;
      }
      const most = this.limits.pictures - 1; // one is the drawing
      if (this.pictures.length >= most) {
        say(T.tooMany(most), "warn");
        break;
      }
      try {
        const { blob, kind } = await prepared(file);
        const made = await upload(blob);
        await keep(`picture ${made.id}`, blob);
        this.addPicture(made.id, kind);
      } catch (problem) {
        say(problem.message, "warn");
      }
    }
    this.file.value = "";
  }

  addPicture(asset, kind) {
    this.pictures = [...this.pictures.filter((p) => p.asset !== asset), { asset, kind, weight: 1, on: true }];
    this.changed();
  }

  /** The drawing as an upload; the same one as long as nothing was changed. */
  async drawnAsset() {
    const { board, sketch } = this;
    if (sketch.asset && sketch.revision === board.revision) return sketch.asset;
    const revision = board.revision;
    const made = await upload(await board.export());
    Object.assign(sketch, { asset: made.id, revision });
    const { figure, strokes } = board;
    const before = (await recall(`strokes ${made.id}`))?.figures ?? []; // colours are said and not drawn: one drawing, several figures
    await keep(`strokes ${made.id}`, { strokes, figures: [figure, ...before.filter((f) => said(f) !== said(figure))].slice(0, 20) });
    return made.id;
  }

  // ---------------------------------------------------------------- words

  typed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit();
  }

  /** Read the text as chips; true when something was named or nothing was written. */
  async hear() {
    const text = this.text.value.trim();
    if (!text) return true;
    try {
      const heard = await call("POST", "/chips", { text, held: this.phrases.map(plain) });
      if (!heard.chips.length) {
        say(heard.unclear.length ? T.unclear(heard.unclear) : T.nothingNamed, "warn");
        return false;
      }
      if (heard.unclear.length) say(T.unclear(heard.unclear), "warn");
      const said = new Set(heard.chips.map((c) => c.text));
      this.phrases = [...this.phrases.filter((p) => !said.has(p.text)), ...heard.chips].slice(0, this.limits.parts);
      this.conflicts = heard.conflicts.filter((c) => !said.has(c.old.text));
      this.text.value = "";
      say("");
      this.changed();
      return true;
    } catch (problem) {
      say(problem.message, "warn");
      return false;
    }
  }

  async submit() {
    if (await this.hear()) this.search({});
  }

  change(index, change) {
    this.phrases = this.phrases.map((p, i) => (i === index ? { ...p, ...change } : p));
    this.changed();
  }

  drop(index) {
    const { part } = this.phrases[index];
    if (part) return void this.figure.forget(part).then(() => this.text.focus());
    this.phrases = this.phrases.filter((_, i) => i !== index);
    this.changed();
    (this.list.querySelectorAll("button.text")[Math.min(index, this.phrases.length - 1)] ?? this.text).focus();
  }

  // ---------------------------------------------------------------- in and out

  get empty() {
    return !(this.phrases.some((p) => p.on) || this.pictures.some((p) => p.on) || (this.sketch.on && !this.board.bare));
  }

  /** Pictures and phrases as the server wants them; uploads what it does not hold. */
  async body() {
    const part = ({ asset, weight, on }) => ({ asset, weight, on });
    const of = (kind) => this.pictures.filter((p) => p.kind === kind).map(part);
    const sketches = of("sketch");
    if (!this.board.bare) sketches.unshift(part({ ...this.sketch, asset: await this.drawnAsset() }));
    return { sketches, photos: of("photo"), phrases: this.phrases.map(plain) };
  }

  /** Send pictures again that a server started anew does not hold. */
  async again() {
    this.sketch.revision = -1;
    for (const { asset } of this.pictures) {
      const blob = await recall(`picture ${asset}`);
      if (blob) await upload(blob);
    }
  }

  /** Show the query of a round: what was drawn as strokes where the browser still has them, else as a picture. */
  async load(query) {
    this.phrases = [...query.wanted.map((p) => ({ ...p, wanted: true })), ...query.unwanted.map((p) => ({ ...p, wanted: false }))];
    this.pictures = query.photos.map(({ sha256, weight, on }) => ({ asset: sha256, kind: "photo", weight, on }));
    let drawn = null;
    for (const { sha256, weight, on } of query.sketches) {
      const found = drawn ? undefined : await recall(`strokes ${sha256}`);
      if (!found?.strokes) {
        this.pictures.push({ asset: sha256, kind: "sketch", weight, on });
        continue;
      }
      drawn = found;
      Object.assign(this.sketch, { asset: sha256, weight, on });
    }
    const fits = (figure) => (figure?.phrases ?? []).filter((m) => this.phrases.some((p) => p.wanted && p.text === m.text)).length;
    const figure = drawn?.figures.reduce((best, f) => (fits(f) > fits(best) ? f : best)) ?? null;
    this.board.load(drawn?.strokes ?? [], figure);
    for (const { part, text, wanted } of figure?.phrases ?? []) {
      const chip = this.phrases.find((p) => p.text === text && p.wanted === wanted);
      if (chip) chip.part = part;
    }
    this.sketch.revision = drawn ? this.board.revision : -1;
    this.conflicts = [];
    this.unsent = false;
    this.render();
    this.kept();
  }

  changed() {
    this.unsent = true;
    this.render();
    this.kept();
  }

  /** Keep what is not searched yet. */
  kept() {
    const { phrases, pictures, sketch } = this;
    const draft = {
      marks: this.marks?.(),
      unsent: this.unsent,
      phrases,
      pictures,
      sketch: { on: sketch.on, weight: sketch.weight },
      strokes: this.board.strokes,
      figure: this.board.figure,
      text: this.text.value,
    };
    keep(`draft ${TAB}`, draft);
    keep("draft", draft);
  }

  async restore() {
    const draft = (await recall(`draft ${TAB}`)) ?? (await recall("draft"));
    if (!draft) return;
    this.marked = draft.marks;
    this.phrases = draft.phrases ?? [];
    this.pictures = draft.pictures ?? [];
    Object.assign(this.sketch, draft.sketch);
    this.text.value = draft.text ?? "";
    this.board.load(draft.strokes ?? [], draft.figure);
    this.unsent = draft.unsent ?? false;
    this.render();
  }

  reset() {
    this.phrases = [];
    this.pictures = [];
    this.conflicts = [];
    this.text.value = "";
    Object.assign(this.sketch, { on: true, weight: 1, asset: null, revision: -1 });
    this.board.load([]);
    this.changed();
    this.unsent = false;
  }

  // ---------------------------------------------------------------- showing

  render() {
    const { board } = this;
    this.tools.undo.disabled = board.at === 0;
    this.tools.redo.disabled = board.at >= board.past.length - 1;
    this.tools.clear.disabled = !(board.strokes.length || board.figure);
    this.figure.render();
    this.on.checked = this.sketch.on;
    this.weight.value = this.sketch.weight;
    board.node.classList.toggle("faint", !this.sketch.on);
    this.cards.replaceChildren(...this.pictures.map((p, i) => this.card(p, i)));
    this.list.replaceChildren(...(this.phrases.length ? this.phrases.map((p, i) => this.chip(p, i)) : [el("li", { class: "note" }, T.noChips)]));
    this.clash.replaceChildren(...this.conflicts.map((c) => this.question(c)));
    this.onrender?.();
  }

  card(picture, index) {
    const change = (more) => {
      this.pictures = this.pictures.map((p, i) => (i === index ? { ...p, ...more } : p));
      this.changed();
    };
    const other = picture.kind === "sketch" ? "photo" : "sketch";
    return el(
      "li",
      { class: `card ${picture.on ? "" : "off"}` },
      el("img", { src: `/api/v1/assets/${picture.asset}`, alt: T.pictureKind[picture.kind], onclick: () => change({ on: !picture.on }) }),
      el(
        "div",
        {},
        el(
          "button",
          { type: "button", class: "plain", "aria-label": T.pictureSwitch(T.pictureKind[picture.kind]), onclick: () => change({ kind: other }) },
          T.pictureKind[picture.kind],
        ),
        weigh(picture.weight, T.weight(T.pictureKind[picture.kind]), (weight) => change({ weight })),
      ),
      tool("close", T.removePicture, () => {
        this.pictures = this.pictures.filter((_, i) => i !== index);
        this.changed();
      }),
    );
  }

  chip(phrase, index) {
    const sign = el(
      "button",
      {
        type: "button",
        class: "sign",
        "aria-pressed": String(!phrase.wanted),
        "aria-label": T.flip(phrase),
        title: T.flip(phrase),
        onclick: () => this.change(index, { wanted: !phrase.wanted }),
      },
      phrase.wanted ? T.with : T.not,
    );
    const text = el(
      "button",
      {
        type: "button",
        class: "text",
        "aria-pressed": String(phrase.on),
        "aria-label": T.toggle(phrase),
        title: T.toggle(phrase),
        onclick: () => this.change(index, { on: !phrase.on }),
      },
      phrase.text,
    );
    const notes = [phrase.cut && T.cut(phrase.cut), phrase.unknown?.length && T.unknown(phrase.unknown)].filter(Boolean);
    return el(
      "li",
      { class: `chip ${phrase.wanted ? "" : "not"} ${phrase.on ? "" : "off"}` },
      sign,
      text,
      weigh(phrase.weight, T.weight(phrase.text), (weight) => this.change(index, { weight })),
      tool("close", T.remove(phrase), () => this.drop(index)),
      ...notes.map((note) => el("p", { class: "note" }, note)),
    );
  }

  question(conflict) {
    const settle = (gone) => () => {
      if (gone) this.phrases = this.phrases.filter((p) => p.text !== conflict.old.text);
      this.conflicts = this.conflicts.filter((c) => c !== conflict);
      this.changed();
    };
    return el(
      "div",
      { class: "ask small", role: "group", "aria-label": T.conflict(conflict) },
      el("span", {}, T.conflict(conflict)),
      el("button", { type: "button", onclick: settle(true) }, T.replace),
      el("button", { type: "button", onclick: settle(false) }, T.keepBoth),
    );
  }
}

function weigh(value, label, changed) {
  return el("input", {
    type: "range",
    class: "weight",
    min: 0,
    max: 2,
    step: 0.1,
    value,
    "aria-label": label,
    title: `${label}: ${value}`,
    onchange: (e) => changed(Number(e.target.value)),
  });
}

const said = (figure) => figure?.phrases.map((p) => p.text).join();

const plain = ({ text, wanted, weight, on }) => ({ text, wanted, weight, on });
