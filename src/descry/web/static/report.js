// What is said of leads, what can be shown of an inquiry afterwards, how long it is kept, and how it is removed for good.

import { call, file } from "./api.js";
import { dialog, el, icon, say } from "./dom.js";
import { forgetAll } from "./keep.js";
import { T } from "./strings.js";

export const VERDICTS = ["worth following", "set aside"];

/** What the searcher says of items: a verdict and a note each. Judgements about leads, never identifications. */
export class Findings {
  /** page: for the inquiry and the round on show. thumb(id, height): address of a picture. told(id): a finding changed. */
  constructor({ page, thumb, told }) {
    Object.assign(this, { page, thumb, told });
    this.kept = new Map();
    this.list = el("ul", { class: "findings", role: "list" });
    this.report = el("button", { type: "button", disabled: true, onclick: () => this.page.report() }, icon("report"), T.report.open);
    this.over = el("p", { class: "warn", hidden: true }, T.report.past);
    this.node = el(
      "section",
      { class: "found-pane", "aria-label": T.findings.title },
      el("h2", {}, T.findings.title),
      this.over,
      this.list,
      el("p", {}, this.report),
    );
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
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "judgement", onclick: () => this.edit({ id: finding.id, item }) },
        picture,
        el(
          "span",
          { class: "text" },
          badge(finding.verdict),
          el("span", { class: "where" }, where + state),
          finding.note ? el("span", { class: "said-of" }, finding.note) : null,
        ),
      ),
    );
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
    return el(
      "form",
      { class: "judge", onsubmit: keep, onkeydown: (e) => (e.ctrlKey || e.metaKey) && e.key === "Enter" && keep(e) },
      el(
        "fieldset",
        {},
        el("legend", {}, T.findings.legend),
        el(
          "div",
          { class: "row" },
          radios.map((r) => el("label", { class: "choice" }, r, T.findings.verdicts[r.value])),
        ),
      ),
      note,
      wrong,
      el(
        "div",
        { class: "row" },
        was ? el("button", { type: "button", class: "plain", onclick: drop }, T.findings.drop) : null,
        el("span", { class: "space" }),
        el("button", { type: "submit", class: "primary" }, T.findings.keep),
      ),
    );
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
    box.append(
      el(
        "div",
        { class: "judged" },
        item ? el("img", { src: this.thumb(id, 384), alt: "" }) : null,
        el(
          "div",
          {},
          facts.map((f) => el("p", { class: "note" }, f)),
          this.form(id, () => box.close()),
        ),
      ),
    );
    (box.querySelector("input:checked") ?? box.querySelector("input")).focus();
    return box;
  }
}

export const badge = (verdict) => el("span", { class: `badge ${verdict === VERDICTS[0] ? "follow" : "aside"}` }, T.findings.verdicts[verdict]);

const FORMATS = ["html", "json", "csv"];

/** The report of an inquiry: what it holds, as what file, and how long the inquiry is kept. */
export function showReport(inquiry, { purge, kept }) {
  const at = `/inquiries/${inquiry.id}`;
  const holds = el("ul", { class: "holds" }, el("li", { class: "note" }, T.report.looking));
  const formats = FORMATS.map((format) => el("input", { type: "radio", name: "format", value: format, checked: format === "html" }));
  const blur = el("input", { type: "checkbox" });
  const redact = el("input", { type: "checkbox" });
  const head = el("div", { class: "head", role: "status" });
  const go = el("button", { type: "submit", class: "primary" }, icon("report"), T.report.go);
  const form = el(
    "form",
    {
      class: "export",
      onsubmit: (event) => {
        event.preventDefault();
        exported();
      },
    },
    el(
      "fieldset",
      {},
      el("legend", {}, T.report.format),
      el(
        "div",
        { class: "row" },
        formats.map((f) => el("label", { class: "choice" }, f, T.report.formats[f.value])),
      ),
    ),
    el("label", { class: "check" }, blur, T.report.blur),
    el("label", { class: "check" }, redact, T.report.redact),
    el("div", { class: "row" }, go),
    head,
  );

  const exported = async () => {
    go.disabled = true;
    try {
      const format = formats.find((f) => f.checked).value;
      const made = await file("POST", `${at}/reports`, { format, blur_others: blur.checked, redact_paths: redact.checked });
      const address = URL.createObjectURL(made.blob);
      const link = el("a", { href: address, download: `report.${format}` }, T.report.again(format));
      head.replaceChildren(
        el("p", {}, T.report.done, " ", link),
        el("p", {}, T.report.head),
        el("code", { tabIndex: 0 }, made.head),
        el("p", { class: "note" }, T.report.headWhy),
      );
      box.addEventListener("close", () => URL.revokeObjectURL(address), { once: true });
      link.click();
      checked();
    } catch (problem) {
      head.replaceChildren(el("p", { class: "warn" }, problem.message));
    } finally {
      go.disabled = false;
    }
  };

  const until = el("input", { type: "date", value: inquiry.keep_until, onchange: () => keep(until.value || null) });
  const never = el("button", { type: "button", class: "plain", onclick: () => ((until.value = ""), keep(null)) }, T.report.noDay);
  const over = el("p", { class: "note" });
  const dated = () => {
    never.hidden = !until.value;
    over.textContent = until.value ? (past(until.value) ? T.report.past : T.report.keepWhy) : T.report.keepNone;
    over.classList.toggle("warn", past(until.value));
  };
  const keep = async (day) => {
    try {
      kept(await call("PATCH", at, { keep_until: day }));
      say(day ? T.report.keptUntil(day) : T.report.keptOn, "quiet");
    } catch (problem) {
      say(problem.message, "warn");
    }
    dated();
  };
  dated();

  const account = el("p", { class: "note" }, T.report.checking);
  const box = dialog(
    T.report.title(inquiry.name),
    "reporting",
    el("section", {}, el("h3", {}, T.report.holds), holds),
    form,
    el("section", {}, el("h3", {}, T.report.account), account),
    el(
      "section",
      {},
      el("h3", {}, T.report.keeping),
      el("div", { class: "row" }, el("label", { class: "pair" }, el("span", {}, T.report.until), until), never),
      over,
      el("p", {}, el("button", { type: "button", class: "danger", onclick: () => (box.close(), purge()) }, icon("clear"), T.purge.open)),
    ),
  );
  call("GET", `${at}/report`).then(
    ({ report }) => holds.replaceChildren(...T.report.contents(report).map((line) => el("li", {}, line))),
    (problem) => holds.replaceChildren(el("li", { class: "warn" }, problem.message)),
  );
  const checked = () =>
    call("GET", "/audit").then(
      (found) => {
        account.textContent = T.report.accountOf(found);
        account.classList.toggle("warn", !found.ok);
      },
      (problem) => (account.textContent = problem.message),
    );
  checked();
  return box;
}

/** Whether a day (YYYY-MM-DD) is over. */
export const past = (day) => Boolean(day) && day < new Date().toLocaleDateString("sv");

/** Ask before an inquiry goes for good, and say what goes and what stays. done(): it is gone. */
export async function showPurge(inquiry, done) {
  let plan;
  try {
    plan = await call("GET", `/inquiries/${inquiry.id}/purge`);
  } catch (problem) {
    return say(problem.message, "warn");
  }
  const lines = (rows) =>
    el(
      "ul",
      { class: "holds" },
      rows.map((row) => el("li", {}, row)),
    );
  const wrong = el("p", { class: "warn", role: "alert" });
  const no = el("button", { type: "button", onclick: () => box.close() }, T.purge.no);
  const yes = el(
    "button",
    {
      type: "button",
      class: "danger",
      onclick: async () => {
        yes.disabled = no.disabled = true;
        wrong.textContent = "";
        try {
          const gone = await call("DELETE", `/inquiries/${inquiry.id}`);
          await forgetAll(plan.assets);
          box.close();
          await done();
          say(T.purge.done(plan.name, gone.head));
        } catch (problem) {
          wrong.textContent = problem.message;
          yes.disabled = no.disabled = false;
        }
      },
    },
    T.purge.yes,
  );
  const box = dialog(
    T.purge.title(plan.name),
    "purging",
    el("p", {}, T.purge.goes),
    lines(T.purge.list(plan)),
    el("p", {}, T.purge.stays),
    lines(plan.what_stays),
    wrong,
    el("div", { class: "row" }, el("span", { class: "space" }), no, yes),
  );
  no.focus();
  return box;
}

/** A purge that was interrupted is finished before anything else. */
export async function finishPurge() {
  const { pending } = await call("GET", "/purge").catch(() => ({ pending: false }));
  if (!pending) return;
  const go = el(
    "button",
    {
      type: "button",
      class: "primary",
      onclick: async () => {
        go.disabled = true;
        try {
          await call("POST", "/purge");
          box.close();
          say(T.purge.finished);
        } catch (problem) {
          say(problem.message, "warn");
          go.disabled = false;
        }
      },
    },
    T.purge.finish,
  );
  const box = dialog(T.purge.pending, "purging", el("p", {}, T.purge.pendingText), el("div", { class: "row" }, el("span", { class: "space" }), go));
  go.focus();
}
