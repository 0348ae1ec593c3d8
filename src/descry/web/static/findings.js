// What the searcher says of an item: a verdict and a note, in the inquiry. A judgement about a lead, never an identification.

import { call } from "./api.js";
import { dialog, el, icon, say } from "./dom.js";
import { past } from "./report.js";
import { T } from "./strings.js";

export const VERDICTS = ["worth following", "set aside"];

export class Findings {
  /** page: for the inquiry and the round on show. thumb(id, height): address of a picture. told(id): a finding changed. */
  constructor({ page, thumb, told }) {
    Object.assign(this, { page, thumb, told });
    this.kept = new Map();
    this.list = el("ul", { class: "findings", role: "list" });
    this.report = el("button", { type: "button", disabled: true, onclick: () => this.page.report() }, icon("report"), T.report.open);
    this.over = el("p", { class: "warn", hidden: true }, T.report.past);
    this.node = el("section", { class: "found-pane", "aria-label": T.findings.title }, el("h2", {}, T.findings.title), this.over, this.list, el("p", {}, this.report));
    this.show();
  }

  at(id) {
    return `/inquiries/${this.page.inquiry.id}/findings/${id}`;
  }

  /** The findings of the inquiry on show; none before it is begun. */
  async load() {
    const { inquiry } = this.page;
    const found = inquiry ? await call("GET", `/inquiries/${inquiry.id}/findings`).catch(() => null) : { findings: [] };
    if (!found || this.page.inquiry?.id !== inquiry?.id) return;
    const before = [...this.kept.keys()];
    this.kept = new Map(found.findings.map((f) => [f.id, f]));
    this.show();
    for (const id of new Set([...before, ...this.kept.keys()])) this.told(id);
  }

  show() {
    this.report.disabled = !this.page.inquiry;
    this.over.hidden = !past(this.page.inquiry?.keep_until);
    if (!this.kept.size) return this.list.replaceChildren(el("li", { class: "note" }, T.findings.none));
    const order = (f) => VERDICTS.indexOf(f.verdict);
    const rows = [...this.kept.values()].sort((a, b) => order(a) - order(b) || a.id - b.id);
    this.list.replaceChildren(...rows.map((f) => this.line(f)));
  }

  line(finding) {
    const { item } = finding;
    const picture = item ? el("img", { src: this.thumb(finding.id, 96), alt: "", loading: "lazy" }) : el("span", { class: "gone" }, "–");
    const where = item ? [item.camera, item.time.slice(5, 16).replace("T", " ")].filter(Boolean).join(" · ") : T.findings.removed;
    const state = finding.changed ? ` · ${T.findings.changed}` : "";
    return el("li", {}, el("button", { type: "button", class: "judgement", onclick: () => this.edit({ id: finding.id, item }) },
      picture, el("span", { class: "text" }, badge(finding.verdict), el("span", { class: "where" }, where + state), finding.note ? el("span", { class: "said-of" }, finding.note) : null)));
  }

  /** The form of one item: verdict, note, keep, take back. done(): after either. */
  form(id, done = () => {}) {
    const was = this.kept.get(id);
    const name = `verdict-${id}-${Math.random().toString(36).slice(2)}`;
    const radios = VERDICTS.map((verdict) => el("input", { type: "radio", name, value: verdict, checked: was?.verdict === verdict, required: true }));
    const note = el("textarea", { rows: 3, maxLength: 1000, value: was?.note ?? "", placeholder: T.findings.noteHint, "aria-label": T.findings.note });
    const wrong = el("p", { class: "warn", role: "alert" });
    const chosen = () => radios.find((r) => r.checked)?.value;
    const keep = async (event) => {
      event.preventDefault();
      if (!chosen()) return void (wrong.textContent = T.findings.choose);
      try {
        if (!this.page.inquiry) await this.page.begun();
        const round = was?.round || (this.page.round?.number ?? 0);
        this.kept.set(id, await call("PUT", this.at(id), { verdict: chosen(), note: note.value, round }));
        this.after(id, done, T.findings.kept);
      } catch (problem) {
        wrong.textContent = problem.message;
      }
    };
    const drop = async () => {
      try {
        await call("DELETE", this.at(id));
        this.kept.delete(id);
        this.after(id, done, T.findings.dropped);
      } catch (problem) {
        wrong.textContent = problem.message;
      }
    };
    return el("form", { class: "judge", onsubmit: keep, onkeydown: (e) => (e.ctrlKey || e.metaKey) && e.key === "Enter" && keep(e) },
      el("fieldset", {}, el("legend", {}, T.findings.legend), el("div", { class: "row" }, radios.map((r) => el("label", { class: "choice" }, r, T.findings.verdicts[r.value])))),
      note, wrong,
      el("div", { class: "row" }, was ? el("button", { type: "button", class: "plain", onclick: drop }, T.findings.drop) : null, el("span", { class: "space" }), el("button", { type: "submit", class: "primary" }, T.findings.keep)));
  }

  after(id, done, said) {
    this.show();
    this.told(id);
    done();
    say(said);
  }

  /** A small dialog about one item. */
  edit({ id, item, rank }) {
    const box = dialog(T.findings.of(rank), "judging");
    const facts = item ? [item.camera, item.time.replace("T", " "), item.name].filter(Boolean) : [T.findings.removed];
    box.append(el("div", { class: "judged" }, item ? el("img", { src: this.thumb(id, 384), alt: "" }) : null, el("div", {}, facts.map((f) => el("p", { class: "note" }, f)), this.form(id, () => box.close()))));
    (box.querySelector("input:checked") ?? box.querySelector("input")).focus();
    return box;
  }
}

export const badge = (verdict) => el("span", { class: `badge ${verdict === VERDICTS[0] ? "follow" : "aside"}` }, T.findings.verdicts[verdict]);
