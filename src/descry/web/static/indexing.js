// Indexing a folder: choose it, see how it is read, count or begin, watch. The job belongs to the server; this only looks on.

import { call, follow } from "./api.js";
import { dialog, el, icon, say } from "./dom.js";
import { setting } from "./keep.js";
import { T } from "./strings.js";

const ENDED = ["done", "stopped", "failed"];
const KINDS = { camera: ["", "dirname", "exif", "pattern", "csv"], time: ["", "exif", "mtime", "pattern", "csv"], track: ["", "dirname", "pattern", "csv"] };
const IDLE = 400;

export class Indexing {
  /** gallery: its id. letIn: whether any folder may be chosen. changed(): the gallery holds something else now. */
  constructor({ gallery, changed, search }) {
    Object.assign(this, { changed, search, at: `/galleries/${encodeURIComponent(gallery)}` });
    this.job = null;
    this.box = null;
    this.chip = el("button", { type: "button", class: "working", hidden: true, onclick: () => this.open() });
    this.mapping = { camera: "", time: "", track: "", pattern: "", table: null };
  }

  /** Go on looking at a job that was begun before this page was loaded; show it where it was shown. */
  async attach() {
    const { jobs } = await call("GET", "/index-jobs");
    const job = jobs.find((j) => !ENDED.includes(j.state));
    if (job) this.watch(job);
    const wasOpen = setting("indexing");
    if (wasOpen && (job ?? jobs.find((j) => j.id === wasOpen))) {
      this.job ??= jobs.find((j) => j.id === wasOpen);
      this.open();
    } else setting("indexing", null);
  }

  // ---------------------------------------------------------------- the dialog

  open() {
    if (this.box) return;
    this.body = el("div", { class: "indexing" });
    this.box = dialog(T.index.title, "wide", this.body);
    this.box.addEventListener("close", () => {
      this.box = this.panel = null;
      setting("indexing", null);
      this.mark();
      if (this.job && ENDED.includes(this.job.state)) this.job = null;
    });
    this.mark();
    if (this.job) this.showJob();
    else this.choose();
  }

  close() {
    this.box?.close();
  }

  fail(problem) {
    say(problem.message, "warn");
  }

  // ---------------------------------------------------------------- choosing

  async choose(within = "") {
    try {
      this.listing = await call("GET", `${this.at}/folders?within=${within}`);
    } catch (problem) {
      if (problem.status === 404 && within) return this.choose();
      return this.fail(problem);
    }
    const only = this.listing.folders.length === 1 && !this.listing.here;
    if (only) return this.choose(this.listing.folders[0].id);
    const again = this.body.querySelector(".places");
    if (again && this.form) {
      again.replaceWith(this.places());
      this.body.querySelector(".places .entry, .places .crumb:last-child")?.focus();
    } else {
      this.body.replaceChildren(this.places(), (this.form = this.reading()), this.foot());
      this.body.querySelector(this.listing.here ? "select" : ".entry")?.focus();
    }
    this.tables();
    this.look();
  }

  places() {
    const { here, above, folders, pictures, left_out } = this.listing;
    if (!here && !folders.length) return el("section", { class: "places" }, el("p", {}, T.index.noFolders), el("p", {}, el("code", {}, T.index.allow)));
    const last = (place) => place.name.split("/").at(-1);
    const crumb = (place) => el("button", { type: "button", class: "plain crumb", onclick: () => this.choose(place.id) }, last(place));
    const way = el(
      "nav",
      { class: "row crumbs", "aria-label": T.index.way },
      el("button", { type: "button", class: "plain crumb", onclick: () => this.choose() }, T.index.roots),
      above.flatMap((place) => [el("span", { "aria-hidden": "true" }, "/"), crumb(place)]),
      here ? [el("span", { "aria-hidden": "true" }, "/"), el("b", {}, last(here))] : [],
    );
    const entries = folders.map((place) =>
      el("li", {}, el("button", { type: "button", class: "entry", onclick: () => this.choose(place.id) }, icon("folder"), el("span", {}, last(place)))),
    );
    const note = [here && T.index.pictures(pictures, folders.length), left_out && T.index.leftOut(left_out)].filter(Boolean).join(" ");
    return el(
      "section",
      { class: "places" },
      el("h3", {}, T.index.folder),
      way,
      folders.length ? el("ul", { class: "entries", role: "list" }, entries) : null,
      el("p", { class: "note" }, here ? note : T.index.chooseRoot),
    );
  }

  reading() {
    const kind = (field) => {
      const choice = el(
        "select",
        { onchange: () => ((this.mapping[field] = choice.value), this.look()) },
        KINDS[field].map((k) => el("option", { value: k, selected: this.mapping[field] === k }, T.index.kinds[k])),
      );
      return el("label", { class: "stack" }, el("span", {}, T.index.fields[field]), choice);
    };
    this.pattern = el("input", {
      type: "text",
      value: this.mapping.pattern,
      placeholder: "{camera}/{time}_*",
      spellcheck: false,
      autocomplete: "off",
      maxLength: 200,
      oninput: () => ((this.mapping.pattern = this.pattern.value), this.later()),
    });
    this.patterned = el("label", { class: "stack wide" }, el("span", {}, T.index.pattern), this.pattern, el("span", { class: "note" }, T.index.patternHelp));
    this.table = el("select", { onchange: () => ((this.mapping.table = this.table.value || null), this.look()) });
    this.tabled = el("label", { class: "stack wide" }, el("span", {}, T.index.table), this.table, el("span", { class: "note" }, T.index.tableHelp));
    this.seen = el("div", { class: "seen", "aria-live": "polite" });
    return el(
      "section",
      {},
      el("h3", {}, T.index.reading),
      el("div", { class: "fields" }, kind("camera"), kind("time"), kind("track"), this.patterned, this.tabled),
      this.seen,
    );
  }

  tables() {
    const known = new Map([...(this.known ?? []), ...this.listing.tables.map((t) => [t.id, t.name])]);
    this.known = known;
    this.table.replaceChildren(
      el("option", { value: "" }, known.size ? T.index.chooseTable : T.index.noTable),
      ...[...known].map(([id, name]) => el("option", { value: id, selected: id === this.mapping.table }, name)),
    );
  }

  foot() {
    this.dry = el("button", { type: "button", disabled: true, onclick: () => this.begin(true) }, T.index.dry);
    this.go = el("button", { type: "button", class: "primary", disabled: true, onclick: () => this.begin(false) }, T.index.go);
    const skipped = el("button", { type: "button", class: "plain", onclick: () => this.listSkipped(this.left) }, T.index.skippedBefore);
    this.left = el("div", {});
    return el("footer", {}, el("div", { class: "row" }, skipped, el("span", { class: "space" }), this.dry, this.go), this.left);
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), IDLE);
  }

  /** Show how a dozen files would be read; what cannot be meant is said where it is written. */
  async look() {
    const { here } = this.listing;
    const uses = (kind) => ["camera", "time", "track"].some((field) => this.mapping[field] === kind);
    this.patterned.hidden = !uses("pattern");
    this.tabled.hidden = !uses("csv");
    this.form.hidden = !here;
    if (!here) return void (this.dry.disabled = this.go.disabled = true);
    const asked = (this.asked = {});
    try {
      const found = await call("POST", `${this.at}/index-preview`, this.wanted());
      if (asked !== this.asked) return;
      this.dry.disabled = this.go.disabled = Boolean(found.problem) || !found.rows.length;
      this.seen.replaceChildren(...(found.problem ? [el("p", { class: "warn" }, found.problem)] : this.sample(found)));
    } catch (problem) {
      if (problem.status === 404) return this.choose();
      this.fail(problem);
    }
  }

  wanted() {
    return { folder: this.listing.here.id, mapping: this.mapping };
  }

  sample({ rows, looked_at }) {
    if (!rows.length) return [el("p", { class: "note" }, T.index.noPictures)];
    const cell = (text) => el("td", { class: text ? "" : "unknown" }, text.replace("T", " ") || T.index.unknown);
    const head = [T.file, T.camera, T.time, T.track].map((name) => el("th", { scope: "col" }, name));
    const lines = rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.path), cell(row.camera), cell(row.time), cell(row.track)));
    return [
      el("p", { class: "note" }, T.index.sample(rows.length, looked_at)),
      el(
        "div",
        { class: "scrolls", tabIndex: 0, role: "region", "aria-label": T.index.preview },
        el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, lines)),
      ),
    ];
  }

  // ---------------------------------------------------------------- a job

  async begin(dry) {
    try {
      const key = { "Idempotency-Key": `${Date.now()}-${Math.random()}` };
      this.watch(await call("POST", `${this.at}/index-jobs`, { ...this.wanted(), dry }, key));
      this.showJob();
    } catch (problem) {
      this.fail(problem);
    }
  }

  watch(job) {
    this.stop?.();
    this.told(job);
    const path = `/index-jobs/${job.id}`;
    this.stop = follow(
      `${path}/events`,
      "job",
      (now) => this.told(now),
      () =>
        call("GET", path).then(
          (now) => this.told(now),
          () => this.lost(),
        ),
    );
  }

  /** The server was started anew: what was indexed is there, and the job is not. */
  lost() {
    this.stop?.();
    this.job = null;
    this.mark();
    say(T.index.lost, "warn");
    if (this.box) this.choose();
  }

  told(job) {
    const before = this.job;
    this.job = job;
    if (this.box) setting("indexing", job.id);
    if (ENDED.includes(job.state)) {
      this.stop?.();
      if (!before || !ENDED.includes(before.state)) this.over(job);
    }
    this.mark();
    this.panel?.();
  }

  over(job) {
    const said = job.state === "failed" ? job.trouble : T.index.over[job.dry ? "dry" : job.state](job.counts);
    say(said, this.box ? "quiet" : job.state === "failed" ? "warn" : "");
    if (!job.dry) this.changed();
    if (!this.box) this.job = null;
  }

  /** The note in the top bar, while a job goes on that is not on show. */
  mark() {
    const { job } = this;
    const active = job && !ENDED.includes(job.state);
    this.chip.hidden = !active || Boolean(this.box);
    if (active) this.chip.textContent = T.index.chip(job);
  }

  async wish(method, path, body) {
    try {
      this.told(await call(method, `/index-jobs/${this.job.id}${path}`, body));
    } catch (problem) {
      if (problem.code !== "ended") this.fail(problem);
    }
  }

  showJob() {
    setting("indexing", this.job.id);
    this.form = null;
    const title = el("h3", { "aria-live": "polite" });
    const bar = el("progress", { "aria-label": T.index.progress });
    const line = el("p", { class: "line" });
    const state = el("p", { class: "note" });
    const pause = el("button", {
      type: "button",
      onclick: () => this.wish("PUT", "/state", { state: ["paused", "pausing"].includes(this.job.state) ? "running" : "paused" }),
    });
    const stop = el("button", { type: "button", onclick: () => this.wish("DELETE", "") }, T.index.stop);
    const open = el("button", { type: "button", class: "primary", onclick: () => (this.close(), this.search()) }, T.index.open);
    const another = el("button", { type: "button", onclick: () => ((this.job = this.panel = null), this.choose()) }, T.index.another);
    const really = el("button", { type: "button", class: "primary", onclick: () => this.begin(false) }, T.index.go);
    const counts = el("dl", { class: "counts" });
    const left = el("div", {});
    this.body.replaceChildren(
      el(
        "section",
        { class: "job" },
        title,
        el("p", { class: "place" }, this.job.folder),
        bar,
        line,
        state,
        counts,
        el("div", { class: "row" }, pause, stop, really, another, open),
      ),
      left,
    );
    let listed = "";
    this.panel = () => {
      const { job } = this;
      const ended = ENDED.includes(job.state);
      const said = T.index.heads[job.dry ? "dry" : job.state] ?? T.index.heads.running;
      if (title.textContent !== said) title.textContent = said;
      bar.hidden = ended && job.dry;
      if (job.total === null && !ended) bar.removeAttribute("value");
      else Object.assign(bar, { max: Math.max(1, job.total ?? 1), value: job.total ? job.done : ended ? 1 : 0 });
      line.textContent = T.index.line(job);
      line.classList.toggle("warn", job.state === "failed");
      state.textContent = T.index.states[job.state] + (job.links ? ` ${T.index.links(job.links)}` : "") + (job.warning ? ` ${job.warning}.` : "");
      pause.textContent = ["paused", "pausing"].includes(job.state) ? T.index.resume : T.index.pause;
      pause.hidden = ended || job.dry;
      pause.disabled = job.state === "stopping";
      stop.hidden = ended || job.dry;
      stop.disabled = job.state === "stopping";
      open.hidden = job.state !== "done" || job.dry;
      another.hidden = !ended;
      really.hidden = !(job.dry && job.state === "done" && this.listing?.here);
      if (ended || job.state === "paused")
        counts.replaceChildren(...T.index.counted(job).map(([name, n]) => el("div", {}, el("dt", {}, name), el("dd", {}, n.toLocaleString("en")))));
      const due = `${job.state} ${job.counts.skipped}`;
      if ((ended || job.state === "paused") && job.counts.skipped && !job.dry && listed !== due) {
        listed = due;
        this.listSkipped(left);
      }
      if (ended && document.activeElement === document.body) (open.hidden ? another : open).focus();
    };
    this.panel();
    (pause.hidden ? another : pause).focus();
  }

  // ---------------------------------------------------------------- what was left out

  async listSkipped(where, cursor = "0") {
    try {
      const found = await call("GET", `${this.at}/skipped?cursor=${cursor}`);
      const lines = found.rows.map((row) =>
        el("tr", {}, el("th", { scope: "row" }, row.path), el("td", {}, T.index.reasons[row.reason] ?? row.reason), el("td", { class: "note" }, row.detail)),
      );
      const more = found.cursor ? el("button", { type: "button", onclick: () => (more.remove(), this.listSkipped(where, found.cursor)) }, T.index.more) : null;
      if (cursor === "0") {
        const reasons = Object.entries(found.reasons).map(([reason, n]) => `${T.index.reasons[reason] ?? reason}: ${n.toLocaleString("en")}`);
        const table = el(
          "table",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              [T.file, T.index.reason, T.index.detail].map((name) => el("th", { scope: "col" }, name)),
            ),
          ),
          el("tbody", {}),
        );
        where.replaceChildren(
          el("h3", {}, T.index.skipped(found.total)),
          found.total ? el("p", { class: "note" }, reasons.join(" · ")) : "",
          found.total ? el("div", { class: "scrolls skips", tabIndex: 0, role: "region", "aria-label": T.index.skippedList }, table) : "",
        );
      }
      where.querySelector("tbody")?.append(...lines);
      if (more) where.append(more);
    } catch (problem) {
      this.fail(problem);
    }
  }
}
