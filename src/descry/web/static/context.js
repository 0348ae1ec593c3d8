// The right pane: filters with counts, and the history as a tree.

import { el, tool } from "./dom.js";
import { T } from "./strings.js";

export class ContextPane {
  /** facets: cameras and days with counts. filtered(filters), go(number), drop(number): what the searcher did. */
  constructor({ facets, filtered, go, drop, thumb }) {
    Object.assign(this, { facets, filtered, go, drop, thumb });
    this.filters = none();
    this.history = el("ol", { class: "history", role: "list" });
    this.node = el(
      "section",
      { id: "context", "aria-label": T.context, class: "pane" },
      el("h2", {}, T.filters),
      (this.formed = this.form()),
      el("h2", {}, T.history),
      this.history,
    );
    this.tree(null);
  }

  form() {
    const { cameras, days } = this.facets;
    const low = days[0]?.name;
    const high = days.at(-1)?.name;
    this.boxes = cameras.map(({ name, count }) => {
      const box = el("input", { type: "checkbox", value: name, onchange: () => this.read() });
      return el("label", { class: "check" }, box, el("span", { class: "name" }, name), el("span", { class: "count" }, count.toLocaleString("en")));
    });
    const when = (label) =>
      el("input", {
        type: "datetime-local",
        "aria-label": label,
        min: low ? `${low}T00:00` : "",
        max: high ? `${high}T23:59` : "",
        onchange: () => this.read(),
      });
    this.since = when(T.since);
    this.until = when(T.until);
    this.marked = el(
      "select",
      { "aria-label": T.marks, onchange: () => this.read() },
      ...[
        ["", T.markedAll],
        ["yes", T.markedOnly],
        ["no", T.unmarkedOnly],
      ].map(([value, label]) => el("option", { value }, label)),
    );
    this.reset = el("button", { type: "button", class: "plain", onclick: () => this.set(none(), true) }, T.clearFilters);
    return el(
      "div",
      { class: "filters" },
      cameras.length ? el("fieldset", {}, el("legend", {}, T.cameras), el("div", { class: "cameras" }, this.boxes)) : null,
      days.length
        ? el("div", { class: "times" }, el("label", {}, el("span", {}, T.since), this.since), el("label", {}, el("span", {}, T.until), this.until))
        : null,
      el("label", { class: "pair" }, el("span", {}, T.marks), this.marked),
      this.reset,
    );
  }

  /** The gallery holds something else now: other cameras, other days, the same filters. */
  renew(facets) {
    this.facets = facets;
    const before = this.formed;
    this.formed = this.form();
    before.replaceWith(this.formed);
    this.set(this.filters);
  }

  read() {
    const cameras = this.boxes
      .map((b) => b.querySelector("input"))
      .filter((i) => i.checked)
      .map((i) => i.value);
    const marked = { "": null, yes: true, no: false }[this.marked.value];
    this.filters = { cameras, since: this.since.value || null, until: this.until.value || null, marked };
    this.buttons();
    this.filtered(this.filters);
  }

  /** Show these filters; tell: whether to search with them. */
  set(filters, tell = false) {
    this.filters = { ...none(), ...filters };
    for (const label of this.boxes) {
      const box = label.querySelector("input");
      box.checked = this.filters.cameras.includes(box.value);
    }
    this.since.value = (this.filters.since ?? "").slice(0, 16);
    this.until.value = (this.filters.until ?? "").slice(0, 16);
    this.marked.value = { true: "yes", false: "no" }[this.filters.marked] ?? "";
    this.buttons();
    if (tell) this.filtered(this.filters);
  }

  /** Take one filter away and search. */
  lift(name) {
    this.set({ ...this.filters, [name]: none()[name] }, true);
  }

  buttons() {
    const f = this.filters;
    this.reset.hidden = !(f.cameras.length || f.since || f.until || f.marked !== null);
  }

  /** gone: numbers of rounds that are about to be deleted. */
  tree(inquiry, gone) {
    this.buttons();
    const steps = (inquiry?.rounds ?? []).filter((step) => !gone?.has(step.number));
    if (!steps.length) return this.history.replaceChildren(el("li", { class: "note" }, T.noHistory));
    this.history.replaceChildren(...steps.map((step) => this.step(step, inquiry.head)));
  }

  step(step, head) {
    const here = step.number === head;
    const pictures = step.first.map((id) => el("img", { src: this.thumb(id, 96), alt: "", loading: "lazy" }));
    const fresh = step.parent && step.difference.new ? el("span", { class: "fresh" }, T.fresh(step.difference.new)) : null;
    const show = el(
      "button",
      { type: "button", class: "step", "aria-current": here ? "step" : undefined, onclick: () => this.go(step.number) },
      el("span", { class: "number" }, String(step.number)),
      el("span", { class: "strip" }, pictures),
      el("span", { class: "what" }, step.change),
      fresh,
    );
    return el(
      "li",
      { class: here ? "here" : "", style: { "--depth": String(Math.min(step.depth, 6)) } },
      show,
      tool("close", T.deleteRound(step.number), () => this.drop(step.number)),
    );
  }
}

const none = () => ({ cameras: [], since: null, until: null, marked: null });
