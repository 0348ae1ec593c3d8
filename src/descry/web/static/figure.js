// The figure that dresses itself: what is remembered of each part, chosen by click, touch or key; the server draws it.

import { call } from "./api.js";
import { el, panel, say } from "./dom.js";
import { T } from "./strings.js";

/** Where a click on the board finds a part: [part, left, top, right, bottom] on 512 × 1024; the first that holds it. */
const PLACES = [
  ["glasses", 212, 100, 300, 126],
  ["beard", 226, 140, 286, 176],
  ["headwear", 186, 30, 326, 76],
  ["hair", 186, 76, 326, 176],
  ["neckwear", 216, 176, 296, 216],
  ["bag", 0, 470, 160, 1024],
  ["carried", 352, 470, 512, 1024],
  ["over", 100, 200, 190, 520],
  ["over", 322, 200, 412, 520],
  ["top", 190, 200, 322, 520],
  ["shoes", 160, 910, 352, 1024],
  ["bottom", 160, 520, 352, 910],
];
const BENEATH = ["bare legs", "leggings"]; // what can be seen beneath a dress
const COLOURS = {
  black: "#1c1c1c",
  white: "#ffffff",
  grey: "#8d8d8d",
  red: "#c62f2f",
  blue: "#2f6fd0",
  "dark blue": "#1f2f66",
  "light blue": "#9cc8ee",
  green: "#2f8a4a",
  yellow: "#f2d340",
  orange: "#ec8b2b",
  pink: "#eda1bf",
  purple: "#7d4aa5",
  brown: "#7a5230",
  beige: "#dcc9a3",
  blond: "#e5cd84",
};

export class Figure {
  /** board: holds what is chosen, with its history. changed is the board's. */
  constructor(board) {
    this.board = board;
    this.work = Promise.resolve();
    this.node = el("div", { class: "parts", role: "group", "aria-label": T.figure.parts });
    this.parts = [];
  }

  /** Ask once which parts there are. */
  async begin() {
    this.parts = (await call("GET", "/figure")).parts;
    this.node.replaceChildren(...this.parts.flatMap((part) => this.part(part)));
    await this.see("front");
    this.render();
  }

  get known() {
    return this.board.figure?.known ?? {};
  }

  part(part) {
    part.value = el("span", { class: "value-of" });
    const label = T.figure.labels[part.name] ?? part.name;
    part.button = el("button", { type: "button", class: "part-of" }, el("span", {}, label), part.value);
    part.panel = panel(part.button, label, el("h2", {}, label), ...part.attributes.map((a) => this.row(a)));
    part.panel.classList.add("wardrobe");
    part.panel.addEventListener("keydown", (event) => this.stepped(event, part.panel));
    part.panel.addEventListener("toggle", (event) => event.newState === "open" && part.panel.querySelector("button").focus());
    return [part.button, part.panel];
  }

  /** One attribute: "don't remember", then its values; colours as swatches. */
  row(attribute) {
    const colours = attribute.name.endsWith(".colour");
    const [part, what] = attribute.name.split(".");
    const label = T.figure.labels[what ?? (part in T.figure.whole ? part : "kind")] ?? part;
    const button = (value, label) =>
      el(
        "button",
        {
          type: "button",
          class: colours && value ? "swatch" : "",
          "data-attribute": attribute.name,
          "data-value": value,
          "aria-pressed": "false",
          title: label,
          "aria-label": colours && value ? label : undefined,
          style: colours && value ? { "--swatch": COLOURS[value] ?? "transparent" } : {},
          onclick: () => this.choose(attribute.name, value),
        },
        colours && value ? null : label,
      );
    return el(
      "div",
      { class: "choices", role: "group", "aria-label": label },
      el("span", { class: "note" }, label),
      button("", T.figure.unknown),
      ...attribute.values.map((value) => button(value, T.figure.values[value] ?? value)),
    );
  }

  stepped(event, box) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const all = [...box.querySelectorAll("button")];
    all[(all.indexOf(document.activeElement) + by + all.length) % all.length].focus();
  }

  /** What was clicked on the board: open that part. */
  pick(x, y) {
    const [name] = PLACES.find(([, left, top, right, bottom]) => x >= left && x <= right && y >= top && y <= bottom) ?? ["person"];
    setTimeout(() => this.parts.find((p) => p.name === name)?.panel.showPopover());
  }

  /** Remember a value, or "" for no memory of it. One request, one step of the board's history. What it excludes goes. */
  choose(name, value) {
    return this.change((known) => {
      const next = { ...known, [name]: value };
      const [part, what] = name.split(".");
      if (value === "none") for (const other of Object.keys(next)) if (other.startsWith(`${part}.`)) delete next[other];
      if (what && value && next[part] === "none") delete next[part];
      if (next.top === "dress" && next.bottom && !BENEATH.includes(next.bottom)) {
        for (const gone of part === "bottom" ? ["top", "top.sleeves"] : ["bottom", "bottom.colour", "bottom.pattern"]) delete next[gone];
      }
      return next;
    });
  }

  /** Forget everything about a part. */
  forget(name) {
    const gone = this.parts.find((p) => p.name === name)?.attributes.map((a) => a.name) ?? [];
    return this.change((known) => Object.fromEntries(Object.entries(known).filter(([k]) => !gone.includes(k))));
  }

  /** Turn it: front, back or side; "none" hides the neutral figure. */
  async see(view) {
    this.board.node.classList.toggle("unguided", view === "none");
    this.view = view === "none" ? "front" : view;
    this.board.neutral = (await call("POST", "/figure", { known: { view: this.view } })).picture;
    if (this.board.figure) return this.change((known) => known);
    this.board.redraw();
  }

  /** Draw again with other knowledge; after what is being drawn. */
  change(of) {
    this.work = this.work.then(async () => {
      const known = Object.fromEntries(Object.entries({ ...of(this.known), view: this.view }).filter(([, value]) => value));
      if (Object.keys(known).length === 1) return this.board.commit(this.board.strokes, true, null);
      try {
        const { picture, phrases, blank, known: read } = await call("POST", "/figure", { known });
        this.board.commit(this.board.strokes, true, { known: read, picture, phrases: phrases.map((p) => ({ ...p, wanted: true })), blank });
      } catch (problem) {
        say(problem.message, "warn");
      }
    });
    return this.work;
  }

  render() {
    const { known } = this;
    for (const part of this.parts) {
      const said = part.attributes.map((a) => known[a.name]).filter((v) => v && v !== "plain");
      part.value.textContent = said.map((v) => T.figure.values[v] ?? v).join(", ") || "?";
      part.button.classList.toggle("known", said.length > 0);
      for (const button of part.panel.querySelectorAll("[data-attribute]"))
        button.setAttribute("aria-pressed", String((known[button.dataset.attribute] ?? "") === button.dataset.value));
    }
  }
}
