// The page: three panes around one inquiry. The server holds inquiry and rounds; the page shows the one at the head.

import { alive, call, listen } from "./api.js";
import { ContextPane } from "./context.js";
import { el, icon, panel, say, tool } from "./dom.js";
import { enter, listenToKeys, login, showHelp, tokenIn, tour } from "./guide.js";
import { Indexing } from "./indexing.js";
import { keep, recall, setting } from "./keep.js";
import { Grid, partName, showCompare, showLead, Timeline } from "./leads.js";
import { QueryPane } from "./query.js";
import { Findings, finishPurge, past, showPurge, showReport } from "./report.js";
import { T } from "./strings.js";

class Page {
  constructor(about, gallery, facets) {
    Object.assign(this, { about, gallery });
    this.inquiry = null;
    this.round = null;
    this.leads = [];
    this.marks = new Map();
    this.pending = new Map();
    this.tray = [];
    this.items = `/api/v1/galleries/${encodeURIComponent(gallery.id)}/items`;
    this.thumb = (id, height) => `${this.items}/${id}/thumb?h=${Math.round(height)}`;
    this.query = new QueryPane({ search: (how) => this.search(how), limits: about.limits, answers: gallery.answers });
    this.query.onrender = () => this.buttons();
    this.query.marks = () => ({ inquiry: this.inquiry?.id, round: this.round?.number, pending: [...this.pending] });
    this.context = new ContextPane({
      facets,
      thumb: this.thumb,
      go: (n) => this.head({ round: n }),
      drop: (n) => this.prune(n),
      filtered: () => this.round && this.search({}),
    });
    this.findings = new Findings({ page: this, thumb: this.thumb, told: (id) => this.grid.marked(id) });
    this.context.node.querySelector(".history").previousElementSibling.before(this.findings.node);
    this.grid = new Grid({
      finding: (lead) => this.judge(lead),
      verdict: (id) => this.findings.kept.get(id)?.verdict,
      thumb: this.thumb,
      open: (lead) => showLead(lead, this.desk),
      mark: (id, mark) => this.mark(id, mark),
      closest: (lead) => this.closest(lead),
      compare: (lead) => this.compare(lead),
      compared: (id) => this.tray.some((l) => l.item.id === id),
      fits: (id) => this.fitsOf(id),
      more: () => this.more(),
    });
    this.desk = {
      gallery: encodeURIComponent(gallery.id),
      items: this.items,
      thumb: this.thumb,
      inquiry: () => this.inquiry.id,
      round: () => this.round.number,
      leads: () => this.leads,
      parts: () => this.parts,
      markOf: (id) => this.marks.get(id) ?? "",
      mark: (id, mark, exactly) => this.mark(id, mark, exactly),
      closest: (lead) => this.closest(lead),
      judge: (lead) => this.judge(lead),
      findings: this.findings,
      compare: (lead) => this.compare(lead),
      example: (lead) => this.example(lead),
      fits: (id) => this.fitsOf(id),
      compared: (id) => this.tray.some((l) => l.item.id === id),
      refocus: () => this.grid.refocus(),
      beside: (lead, by) => this.leads[lead.rank - 1 + by],
      letters: () => setting("letters") ?? true,
    };
    this.indexing = new Indexing({
      gallery: gallery.id,
      changed: () => this.renew(),
      search: () => (this.round ? this.tab("centre") : (this.tab("query"), this.query.text.focus())),
    });
    document.getElementById("app").replaceChildren(this.bar(), this.panes(), this.tabs());
    listenToKeys(this);
    this.buttons();
  }

  // ---------------------------------------------------------------- what the page is made of

  bar() {
    this.names = el("select", { "aria-label": T.inquiries, onchange: (e) => (e.target.value ? this.open(e.target.value) : this.fresh()) });
    this.back = tool("undo", `${T.undo} ([)`, () => this.head({ step: "undo" }));
    this.forth = tool("redo", `${T.redo} (])`, () => this.head({ step: "redo" }));
    const themes = ["auto", "light", "dark"];
    const theme = tool("theme", T.theme, () => {
      const next = themes[(themes.indexOf(setting("theme") ?? "auto") + 1) % 3];
      setting("theme", next);
      paint();
      say(`${T.theme}: ${T.themes[next]}`);
    });
    this.bin = tool("clear", T.deleteInquiry, () => this.remove());
    return el(
      "header",
      { id: "topbar" },
      el("span", { class: "brand" }, el("img", { src: "/static/icon.svg", alt: "" }), el("h1", {}, T.product)),
      this.names,
      tool("plus", T.newInquiry, () => this.fresh(), { class: "tool again" }),
      this.bin,
      el("span", { class: "space" }),
      this.indexing.chip,
      tool("index", T.index.title, () => this.indexing.open()),
      this.back,
      this.forth,
      theme,
      tool("help", `${T.help} (?)`, () => this.help()),
    );
  }

  panes() {
    this.main = el("main", { id: "panes" }, this.query.node, this.centre(), this.context.node);
    return this.main;
  }

  centre() {
    this.banner = el("p", { class: "banner", hidden: true }, T.banner);
    this.note = el("p", { class: "said" });
    this.asked = el("div", { class: "ask", hidden: true });
    this.told = el("button", { type: "button", class: "tool about" });
    const more = tool("more", T.viewOptions, undefined);
    this.level = el("input", { type: "range", min: 0, max: 16, step: 1, "aria-label": T.line, oninput: (e) => this.drawLine(Number(e.target.value)) });
    this.stand = el("output", { class: "stand" });
    const size = el("input", {
      type: "range",
      min: 120,
      max: 480,
      step: 8,
      value: setting("size") ?? 232,
      "aria-label": T.size,
      title: T.size,
      oninput: (e) => {
        this.grid.size = Number(e.target.value);
        setting("size", this.grid.size);
        this.grid.refresh();
      },
    });
    this.grid.size = Number(size.value);
    this.group = el("input", {
      type: "checkbox",
      checked: true,
      onchange: (e) => {
        this.grid.grouped = e.target.checked;
        this.grid.refresh();
      },
    });
    this.viewed = el("button", { type: "button", class: "plain", title: `${T.view} (G)`, onclick: () => this.view() }, T.views.list);
    this.count = el("span", { class: "count" });
    this.legend = el("ul", { class: "legend", role: "list" });
    this.toolbar = el(
      "div",
      { class: "bar-tools", hidden: true },
      this.asked,
      el("span", { class: "space" }),
      this.count,
      this.told,
      more,
      panel(this.told, T.aboutLeads, this.banner, this.note, el("h2", {}, T.colours), this.legend, el("p", { class: "note" }, T.scoreNote)),
      panel(
        more,
        T.viewOptions,
        el("label", { class: "pair" }, el("span", {}, T.line), this.level, this.stand),
        el("label", { class: "pair" }, el("span", {}, T.size), size),
        el("label", { class: "check" }, this.group, T.group),
        this.viewed,
      ),
    );
    this.empty = el("div", { class: "empty" });
    this.foot = el("div", { class: "pending", hidden: true });
    this.trayed = el("div", { class: "tray", hidden: true });
    this.grid.node.append(this.empty);
    this.timeline = new Timeline((lead) => showLead(lead, this.desk));
    this.leadsPane = el(
      "section",
      { id: "centre", class: "pane", "aria-label": T.results },
      this.toolbar,
      this.grid.node,
      el("div", { class: "below" }, this.timeline.node, this.trayed, this.foot),
    );
    return this.leadsPane;
  }

  tabs() {
    const names = ["query", "centre", "context"];
    const buttons = names.map((name, i) => el("button", { type: "button", "data-tab": name, onclick: () => this.tab(name) }, T.tabs[i]));
    this.tab = (name) => {
      this.main.dataset.tab = name;
      for (const b of buttons) b.setAttribute("aria-current", b.dataset.tab === name ? "page" : "false");
      if (name === "centre") this.grid.layout();
    };
    this.tab("query");
    return el("nav", { class: "tabs", "aria-label": T.product }, buttons);
  }

  // ---------------------------------------------------------------- rounds

  /** Make a round of what stands in the panes. drawing: made by drawing, so that the next one takes its place. */
  async search({ drawing = false } = {}) {
    if (this.query.empty && !this.pending.size && !this.marks.size) return say(T.nothing);
    if (this.busy) return void (this.later = { drawing });
    this.busy = true;
    this.buttons();
    try {
      if (!this.inquiry) await this.begun();
      const body = { ...(await this.query.body()), filters: this.context.filters };
      const marked = (which) => [...this.marks].filter(([, m]) => m === which).map(([id]) => id);
      Object.assign(body, { liked: marked("like"), unliked: marked("unlike") });
      if (this.round) body.parent = this.round.number;
      if (drawing && this.drawnRound === this.round?.number) {
        body.replace = this.drawnRound;
        delete body.parent;
      }
      this.query.unsent = false;
      const round = await this.posted(body);
      this.query.kept();
      this.drawnRound = drawing ? round.number : null;
      await this.show(round);
      if (!drawing) this.tab("centre");
      return true;
    } catch (problem) {
      this.query.unsent = true;
      if (problem.status === 404) {
        this.clear();
        this.start();
      }
      say(problem.code === "empty_query" ? T.nothing : problem.message, "warn");
      return false;
    } finally {
      this.busy = false;
      this.buttons();
      const { later } = this;
      this.later = null;
      if (later) this.search(later);
    }
  }

  async posted(body) {
    const path = `/inquiries/${this.inquiry.id}/rounds`;
    const key = { "Idempotency-Key": `${Date.now()}-${Math.random()}` };
    try {
      return await call("POST", path, body, key);
    } catch (problem) {
      if (problem.code !== "asset_gone") throw problem;
      await this.query.again();
      return call("POST", path, { ...body, ...(await this.query.body()) }, key);
    }
  }

  /** Search what was drawn, said or marked and not sent yet, so that showing another round loses nothing. */
  async flush() {
    const { query } = this;
    while (this.busy) await new Promise((done) => setTimeout(done, 30));
    const waiting = this.pending.size || (query.unsent && !(query.empty && !this.marks.size));
    return !waiting || this.search();
  }

  /** Do something that answers with a round, and show that. */
  async answered(work, load = true) {
    if (!(await this.flush())) return null;
    try {
      const round = await work();
      if (load) await this.query.load(round.query);
      await this.show(round);
      return round;
    } catch (problem) {
      say(problem.message, "warn");
      return null;
    }
  }

  async show(round) {
    this.round = round;
    this.leads = round.results.leads;
    this.parts = round.results.parts;
    this.cursor = round.results.cursor;
    this.available = round.results.available;
    const { query } = round;
    this.marks = new Map([...query.liked.map((id) => [id, "like"]), ...query.unliked.map((id) => [id, "unlike"])]);
    this.pending = new Map();
    this.fits = { phrases: [], leads: {} };
    this.context.set({ cameras: query.filters.cameras, since: query.filters.since, until: query.filters.until, marked: query.filters.marked });
    this.said();
    this.drawLine(round.level, true);
    this.refused();
    this.buttons();
    say(round.note ? sentence(round.note) : `${T.found(round)}, ${T.standOut(this.above)}`, round.note ? "" : "quiet");
    await this.follow();
  }

  /** What comes after the leads: the tree, the question, the notice. Late answers of an older round are dropped. */
  async follow() {
    const { id } = this.inquiry;
    const { number } = this.round;
    const here = () => this.inquiry?.id === id && this.round?.number === number;
    this.fitted(0);
    const [tree, question, absence] = await Promise.all([
      call("GET", `/inquiries/${id}`),
      call("GET", `/inquiries/${id}/question`).catch(() => null),
      call("GET", `/inquiries/${id}/absence`).catch(() => null),
    ]);
    if (!here()) return;
    this.inquiry = tree;
    this.context.tree(tree, this.gone);
    this.findings.show();
    this.said(absence?.text, question?.why);
    this.ask(question?.question);
    this.buttons();
    this.listed();
  }

  /** Ask which phrases the leads from rank `start` + 1 on fulfil, and show it. */
  async fitted(start) {
    const { round } = this;
    const { wanted, unwanted } = round.query;
    if (![...wanted, ...unwanted].some((p) => p.on)) return;
    const found = await call("GET", `/inquiries/${this.inquiry.id}/rounds/${round.number}/fits?cursor=${start}&limit=${start ? 200 : 50}`).catch(() => null);
    if (!found || this.round !== round) return;
    this.fits = { phrases: found.phrases, leads: { ...this.fits.leads, ...found.leads } };
    this.grid.explain();
  }

  /** [{phrase, sign}] of a lead: 1 fits, -1 does not, 0 cannot be told. */
  fitsOf(id) {
    const signs = this.fits?.leads[id] ?? [];
    return signs.map((sign, i) => ({ phrase: `${this.fits.phrases[i].wanted ? "" : `${T.not} `}${this.fits.phrases[i].text}`, sign }));
  }

  said(absence = "", why = "") {
    const { round } = this;
    const { query } = round;
    this.banner.hidden = !query.sketches.some((s) => s.on);
    const own = [sentence(absence), sentence(why), sentence(round.note), ...round.notes.map(sentence), round.newer ? T.newer : ""].filter(Boolean);
    this.note.textContent = [T.leads, sentence(this.gallery.note), ...own].filter(Boolean).join(" ");
    this.told.replaceChildren(icon("info"), ...(own.length ? [T.notes(own.length)] : []));
    this.told.setAttribute("aria-label", own.length ? `${T.notes(own.length)}: ${T.aboutLeads}` : T.aboutLeads);
    this.told.title = own.join(" ") || T.aboutLeads;
    this.told.classList.toggle("has", own.length > 0);
    this.count.textContent = T.found(round);
    this.toolbar.hidden = !this.leads.length;
    this.legend.replaceChildren(...this.parts.map((part, i) => el("li", {}, el("i", { class: `part p${i % 16} key` }), partName(part))));
  }

  ask(question) {
    this.asked.hidden = !question;
    if (!question) return;
    const answer = (said, ...label) =>
      el(
        "button",
        {
          type: "button",
          onclick: () =>
            this.answered(() => call("POST", `/inquiries/${this.inquiry.id}/answers`, { key: question.key, answer: said, parent: this.round.number })),
        },
        label,
      );
    this.asked.replaceChildren(
      el("span", { class: "question", title: question.text }, question.text),
      answer("yes", T.yes),
      answer("no", T.no),
      answer("unknown", el("span", { class: "long" }, T.unknownAnswer), el("span", { class: "brief", "aria-hidden": "true" }, "?")),
    );
  }

  refused() {
    const { round } = this;
    this.empty.hidden = this.leads.length > 0;
    if (this.leads.length) return;
    const rows = Object.entries(round.removed).map(([name, n]) =>
      el("li", {}, T.removedBy(T.removed[name] ?? name, n), " ", el("button", { type: "button", onclick: () => this.context.lift(name) }, T.removeFilter)),
    );
    this.empty.replaceChildren(el("h2", {}, T.none), el("ul", { role: "list" }, rows));
  }

  drawLine(level, fresh = false) {
    const row = this.round.levels[level] ?? { score: -Infinity, above: 0 };
    this.level.value = level;
    this.above = row.above;
    this.stand.textContent = T.standOut(row.above);
    const scale = Math.max(0.5, ...this.leads.slice(0, 20).map((l) => l.shares.reduce((sum, s) => sum + Math.abs(s), 0)));
    const state = {
      leads: this.leads,
      parts: this.parts,
      marks: this.marks,
      available: this.available,
      line: row.score,
      above: row.above,
      liked: new Set(this.round.query.liked),
      scale,
    };
    if (fresh) this.grid.show(this.leads.length ? state : null);
    else {
      this.grid.state = state;
      this.grid.refresh();
    }
    this.timeline.show(this.leads, row.score);
  }

  async more() {
    if (this.loadingMore || !this.cursor) return;
    this.loadingMore = true;
    const { number } = this.round;
    try {
      const page = await call("GET", `/inquiries/${this.inquiry.id}/rounds/${number}/results?cursor=${this.cursor}&limit=200`);
      if (this.round.number !== number) return;
      this.leads.push(...page.leads);
      this.fitted(this.leads.length - page.leads.length);
      this.cursor = page.cursor;
      this.available = this.grid.state.available = page.cursor ? page.available : this.leads.length;
      this.grid.layout();
      this.timeline.show(this.leads);
    } catch (problem) {
      say(problem.message, "warn");
    } finally {
      this.loadingMore = false;
    }
    if (this.cursor) this.grid.draw();
  }

  /** Something was indexed: show the new counts, and that the round on show does not know of it. */
  async renew() {
    const at = `/galleries/${encodeURIComponent(this.gallery.id)}`;
    const [gallery, facets] = await Promise.all([call("GET", at), call("GET", `${at}/facets`)]).catch((problem) => (say(problem.message, "warn"), []));
    if (!gallery) return;
    this.gallery = gallery;
    this.context.renew(facets);
    if (!this.round) return this.start();
    const { number } = this.round;
    const round = await call("GET", `/inquiries/${this.inquiry.id}/rounds/${number}`).catch(() => null);
    if (round && this.round?.number === number) {
      this.round.newer = round.newer;
      this.said();
    }
  }

  // ---------------------------------------------------------------- marks

  /** Mark a lead; the same mark again clears it, unless exactly. The ranking waits for Refine. */
  mark(id, mark, exactly = false) {
    const now = !exactly && this.marks.get(id) === mark ? "" : mark;
    if (now) this.marks.set(id, now);
    else this.marks.delete(id);
    const { query } = this.round;
    const before = query.liked.includes(id) ? "like" : query.unliked.includes(id) ? "unlike" : "";
    if (before === now) this.pending.delete(id);
    else this.pending.set(id, now);
    if (this.grid.hide) this.grid.layout();
    this.grid.marked(id);
    this.query.kept();
    this.buttons();
  }

  discard() {
    for (const id of [...this.pending.keys()]) {
      const { query } = this.round;
      this.mark(id, query.liked.includes(id) ? "like" : query.unliked.includes(id) ? "unlike" : "", true);
    }
  }

  async closest(lead) {
    await this.answered(() => call("POST", `/inquiries/${this.inquiry.id}/closest`, { item: lead.item.id, parent: this.round.number }));
  }

  async example(lead) {
    try {
      const made = await call("POST", `/galleries/${this.desk.gallery}/items/${lead.item.id}/asset`);
      this.query.addPicture(made.id, "photo");
      this.tab("query");
    } catch (problem) {
      say(problem.message, "warn");
    }
  }

  compare(lead) {
    const at = this.tray.findIndex((l) => l.item.id === lead.item.id);
    if (at >= 0) this.tray.splice(at, 1);
    else if (this.tray.length >= 6) return say(T.compareFull);
    else this.tray.push(lead);
    this.grid.marked(lead.item.id);
    this.trayed.hidden = !this.tray.length;
    const open = el(
      "button",
      { type: "button", class: "primary", disabled: this.tray.length < 2, onclick: () => showCompare(this.tray, this.desk) },
      T.compareNow(this.tray.length),
    );
    this.trayed.replaceChildren(
      ...this.tray.map((l) =>
        el(
          "button",
          { type: "button", class: "small", "aria-label": `${T.compareAdd}: ${l.rank}`, onclick: () => this.compare(l) },
          el("img", { src: this.thumb(l.item.id, 96), alt: "" }),
        ),
      ),
      el("span", { class: "space" }),
      el("span", { class: "note" }, this.tray.length < 2 ? T.compareEmpty : ""),
      el("button", { type: "button", class: "plain", onclick: () => this.clearTray() }, T.clearTray),
      open,
    );
  }

  clearTray() {
    for (const lead of [...this.tray]) this.compare(lead);
  }

  // ---------------------------------------------------------------- inquiries

  async begun() {
    const name = this.named?.value.trim() || new Date().toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    this.inquiry = await call("POST", "/inquiries", { name });
    this.named = null;
    setting("inquiry", this.inquiry.id);
  }

  /** Say of a lead whether it is worth following. */
  judge(lead) {
    this.findings.edit({ id: lead.item.id, item: lead.item, rank: lead.rank }).addEventListener("close", () => this.grid.refocus());
  }

  report() {
    if (this.inquiry) showReport(this.inquiry, { purge: () => this.remove(), kept: (tree) => ((this.inquiry = tree), this.findings.show(), this.listed()) });
  }

  /** Begin a new inquiry; what was not sent yet becomes a round of the old one. */
  async fresh() {
    if (await this.flush()) await this.begin();
  }

  async begin() {
    this.clear();
    this.query.reset();
    await this.listed();
    this.start();
    this.tab("query");
    this.query.text.focus();
  }

  clear() {
    this.inquiry = this.round = this.drawnRound = null;
    this.leads = [];
    this.tray = [];
    this.trayed.hidden = true;
    this.trayed.replaceChildren();
    this.marks = new Map();
    this.pending = new Map();
    setting("inquiry", null);
    this.context.set({});
    this.context.tree(null);
    this.findings.load();
    this.grid.show(null);
    this.timeline.show([]);
    for (const part of [this.banner, this.toolbar, this.asked]) part.hidden = true;
    this.note.textContent = "";
    this.buttons();
  }

  async open(id, keepDraft = false) {
    try {
      this.inquiry = await call("GET", `/inquiries/${id}`);
      setting("inquiry", id);
      await this.findings.load();
      if (!this.inquiry.head) return this.start();
      const round = await call("GET", `/inquiries/${id}/rounds/${this.inquiry.head}`);
      if (!keepDraft) await this.query.load(round.query);
      await this.show(round);
    } catch (problem) {
      if (problem.status === 404) return this.begin();
      say(problem.message, "warn");
    }
  }

  async head(where) {
    if (this.inquiry) await this.answered(() => call("PUT", `/inquiries/${this.inquiry.id}/head`, where));
  }

  /** Take a round, with everything made from it, out of the history. For a while it can be brought back. */
  async prune(number) {
    await this.settle?.();
    const { id, head, rounds } = this.inquiry;
    const gone = new Set([number]);
    for (const step of rounds) if (gone.has(step.parent)) gone.add(step.number);
    const left = rounds.filter((step) => !gone.has(step.number));
    const next = left.find((step) => step.number === rounds.find((s) => s.number === number).parent) ?? left.at(-1);
    const moved = gone.has(head) && next;
    this.gone = gone;
    this.context.tree(this.inquiry, gone);
    if (moved) await this.head({ round: next.number });
    const finish = (then) => {
      clearTimeout(timer);
      box.remove();
      this.settle = this.gone = null;
      return then();
    };
    const box = el(
      "div",
      { class: "toast offer", role: "status" },
      T.deletedRounds(gone.size),
      el("button", { type: "button", onclick: () => finish(() => (moved ? this.head({ round: head }) : this.context.tree(this.inquiry))) }, T.undoDelete),
    );
    this.settle = () => finish(() => this.deleted(id, number));
    const timer = setTimeout(() => this.settle(), 8000);
    document.body.append(box);
  }

  async deleted(id, number) {
    try {
      const tree = await call("DELETE", `/inquiries/${id}/rounds/${number}`);
      if (this.inquiry?.id !== id) return;
      this.inquiry = tree;
      if (!tree.head) return void this.begin();
      if (tree.head !== this.round?.number) return void this.open(id, true);
      this.context.tree(tree);
      this.buttons();
    } catch (problem) {
      say(problem.message, "warn");
    }
  }

  async remove() {
    if (this.inquiry) await showPurge(this.inquiry, () => this.begin());
  }

  async listed() {
    const { inquiries } = await call("GET", "/inquiries").catch(() => ({ inquiries: [] }));
    this.known = inquiries.reverse();
    this.names.replaceChildren(
      el("option", { value: "" }, T.newInquiry),
      ...this.known.map(({ id, name, keep_until }) => el("option", { value: id }, past(keep_until) ? T.report.pastName(name) : name)),
    );
    this.names.value = this.inquiry?.id ?? "";
  }

  /** What stands in the centre before the first round. */
  start() {
    if (this.round) return;
    const { example } = this.about;
    const bare = this.gallery.items
      ? null
      : el("p", {}, el("button", { type: "button", class: "primary", onclick: () => this.indexing.open() }, icon("index"), T.index.title));
    const trouble = this.gallery.trouble;
    const begin = example.asset
      ? el(
          "button",
          { type: "button", class: "example", onclick: () => this.query.addPicture(example.asset, "sketch") },
          el("img", { src: `/api/v1/assets/${example.asset}`, alt: "" }),
          T.startExample,
        )
      : null;
    const recent = (this.known ?? [])
      .slice(0, 6)
      .map(({ id, name }) => el("li", {}, el("button", { type: "button", class: "plain", onclick: () => this.open(id) }, name)));
    this.empty.hidden = false;
    const written = this.named?.value ?? "";
    this.named = el("input", { type: "text", maxLength: 120, value: written, placeholder: T.nameHint, "aria-label": T.nameOf });
    this.empty.replaceChildren(
      el("h2", {}, bare ? T.emptyTitle : T.startTitle),
      el("p", {}, trouble || (bare ? T.emptyGallery : T.startText)),
      ...(bare ? [bare] : begin ? [begin] : []),
      ...(bare ? [] : [this.named]),
      el("p", { class: "note" }, T.startGallery(this.gallery.items), ". ", T.leads, " ", sentence(this.gallery.note)),
      ...(recent.length ? [el("h3", {}, T.recent), el("ul", { role: "list" }, recent)] : []),
    );
  }

  // ---------------------------------------------------------------- the rest

  view() {
    this.grid.view = this.grid.view === "grid" ? "list" : "grid";
    this.viewed.textContent = T.views[this.grid.view === "grid" ? "list" : "grid"];
    this.grid.refresh();
  }

  help() {
    showHelp(this.about.limits, { tour: () => this.tour() });
  }

  tour() {
    tour((where) => document.querySelector(where)?.closest(".pane") && this.tab(document.querySelector(where).closest(".pane").id));
  }

  buttons() {
    const { go } = this.query;
    go.disabled = this.busy || (this.query.empty && !this.query.text.value.trim() && !this.marks.size);
    this.leadsPane.classList.toggle("busy", Boolean(this.busy));
    this.leadsPane.setAttribute("aria-busy", String(Boolean(this.busy)));
    go.textContent = this.busy ? T.searching : this.round ? T.refine : T.search;
    this.back.disabled = !this.inquiry?.undo;
    this.forth.disabled = !this.inquiry?.redo;
    this.bin.disabled = !this.inquiry;
    const outdated = Boolean(this.round && this.query.unsent && !this.busy);
    this.foot.hidden = !(this.pending.size || outdated);
    this.foot.classList.toggle("outdated", outdated);
    const of = (which) => [...this.pending.values()].filter((m) => m === which).length;
    this.foot.replaceChildren(
      el("span", {}, [T.pending(of("like"), of("unlike"), of("")), outdated && T.outdated].filter(Boolean).join(" · ")),
      el("span", { class: "space" }),
      this.pending.size ? el("button", { type: "button", class: "plain", onclick: () => this.discard() }, T.discard) : "",
      el("button", { type: "button", class: "primary", onclick: () => this.search() }, icon("right"), T.refine),
    );
  }
}

/** Words of the server as a sentence of the page. */
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1).replace(/\.?$/, ".") : "");

function paint() {
  const theme = setting("theme") ?? "auto";
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function connect() {
  let banner = null;
  listen({
    login,
    gone: () => {
      if (banner) return;
      banner = el("p", { class: "gone-banner", role: "alert" }, T.serverGone);
      document.body.append(banner);
      alive();
    },
    back: () => {
      banner?.remove();
      banner = null;
    },
  });
}

async function boot() {
  paint();
  connect();
  const hash = location.hash;
  if (hash.includes("token=")) {
    await enter(tokenIn(hash));
    history.replaceState(null, "", location.pathname);
  }
  const about = await call("GET", "/about");
  const app = document.getElementById("app");
  let gallery = (await call("GET", "/galleries")).galleries[0];
  if (!gallery.ready && !gallery.trouble) app.replaceChildren(el("p", { class: "loading" }, T.loading));
  for (let n = 0; !gallery.ready && !gallery.trouble && n < 600; n += 1) {
    await new Promise((done) => setTimeout(done, 200));
    [gallery] = (await call("GET", "/galleries")).galleries;
  }
  const facets = await call("GET", `/galleries/${encodeURIComponent(gallery.id)}/facets`);
  const page = new Page(about, gallery, facets);
  window.descry = { page };
  await Promise.all([page.query.restore(), page.query.figure.begin().catch((problem) => say(problem.message, "warn"))]);
  page.query.render();
  await page.listed();
  page.start();
  const last = setting("inquiry");
  if (last && page.known.some(({ id }) => id === last)) await page.open(last, true);
  const before = page.query.marked;
  if (before?.pending && before.inquiry === page.inquiry?.id && before.round === page.round?.number)
    for (const [id, mark] of before.pending) page.mark(id, mark, true);
  page.buttons();
  await page.indexing.attach().catch((problem) => say(problem.message, "warn"));
  await finishPurge();
  document.body.dataset.ready = "yes";
  if (hash.includes("tour=1") || (about.demo && gallery.items && !(await recall("toured")))) {
    keep("toured", true);
    page.tour();
  }
}

boot().catch((problem) => say(problem.message, "warn"));
