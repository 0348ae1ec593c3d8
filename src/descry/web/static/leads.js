// The leads: as a grid or a list, when each camera saw them, one looked at closely, and several side by side. Of the tiles
// only those in view exist, so two thousand scroll like fifty.

import { call } from "./api.js";
import { dialog, el, icon, say, tool } from "./dom.js";
import { setting } from "./keep.js";
import { VERDICTS } from "./report.js";
import { T } from "./strings.js";

const GAP = 10;
const CAPTION = 30;
const LINE = 34;
const ROW = 84;
const MARGIN = 600;

export class Grid {
  /** actions: open(lead), mark(id, mark), closest(lead), compare(lead), example(lead), more() to load further leads. */
  constructor(actions) {
    this.actions = actions;
    this.list = el("ul", { class: "tiles", role: "list", "aria-label": T.results });
    this.node = el("div", { class: "scroll", id: "scroll", onscroll: () => this.draw() }, this.list);
    this.tiles = new Map();
    this.size = 176;
    this.view = "grid";
    this.grouped = true;
    this.hide = false;
    this.focused = null;
    this.open = new Set();
    new ResizeObserver(() => this.layout()).observe(this.node);
    this.show(null);
  }

  /** A round: leads so far, how many there are, where the line lies, and who tells about a thumbnail. */
  show(state) {
    const here = this.list.contains(document.activeElement);
    this.state = state;
    if (!state) this.open.clear();
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.node.scrollTop = 0;
    this.focused = null;
    this.layout();
    const first = here && this.entries.find((e) => e.lead);
    if (first) this.focus(first);
  }

  /** The same round, with more leads or another line. */
  refresh() {
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.layout();
  }

  /** Where everything goes: entries of {lead, folded, x, y, w, h} and one {line}. */
  layout() {
    const { state } = this;
    this.entries = [];
    if (!state?.leads.length) this.list.style.height = "0";
    if (!state) return this.draw();
    const list = this.view === "list";
    const width = this.node.clientWidth - 2 * GAP;
    const widest = (Math.max(150, this.node.clientHeight - 2 * GAP) - CAPTION) / 2; // a whole row fits into the pane
    const columns = list ? 1 : Math.max(1, Math.floor((width + GAP) / (Math.min(this.size / 2 + 8, widest) + GAP)));
    const w = list ? width : Math.min((width - GAP * (columns - 1)) / columns, widest);
    const left = GAP + (width - columns * w - (columns - 1) * GAP) / 2;
    const h = list ? ROW : Math.round(w * 2 + CAPTION);
    let [x, y, drawn] = [0, GAP, false];
    const down = () => {
      if (x > 0) y += h + GAP;
      x = 0;
    };
    const folded = this.folded();
    for (const { lead, more } of folded) {
      if (!drawn && state.above && lead.score < state.line && !state.liked.has(lead.item.id)) {
        down();
        this.entries.push({ line: true, x: GAP, y, w: width, h: LINE });
        y += LINE + GAP;
        drawn = true;
      }
      this.entries.push({ lead, more, x: left + x * (w + GAP), y, w, h });
      x += 1;
      if (x === columns) down();
    }
    down();
    const missing = state.available - state.leads.length;
    this.columns = columns;
    this.list.style.height = `${y + (missing > 0 ? (Math.min(missing, 200) / columns) * (h + GAP) : 0)}px`;
    this.draw();
  }

  /** Leads with near-duplicates folded under the best of them. */
  folded() {
    const { leads, marks } = this.state;
    const shown = this.hide ? leads.filter((l) => marks.get(l.item.id) !== "unlike") : leads;
    if (!this.grouped) return shown.map((lead) => ({ lead, more: 0 }));
    const members = new Map();
    for (const lead of shown) members.set(lead.group, [...(members.get(lead.group) ?? []), lead]);
    const out = [];
    for (const lead of shown) {
      const group = members.get(lead.group);
      if (group[0] !== lead && !this.open.has(lead.group)) continue;
      out.push({ lead, more: group[0] === lead ? group.length - 1 : 0 });
    }
    return out;
  }

  /** Make the tiles in view, remove the others. */
  draw() {
    const from = this.node.scrollTop - this.list.offsetTop;
    const top = from - MARGIN;
    const bottom = from + this.node.clientHeight + MARGIN;
    const wanted = new Map();
    for (const entry of this.entries) {
      if (entry.y + entry.h < top || entry.y > bottom) continue;
      wanted.set(entry.line ? "line" : entry.lead.item.id, entry);
    }
    for (const [key, tile] of this.tiles) {
      if (!wanted.has(key) && tile !== document.activeElement?.closest("li")) {
        tile.remove();
        this.tiles.delete(key);
      }
    }
    for (const [key, entry] of wanted) {
      let tile = this.tiles.get(key);
      if (!tile) {
        tile = entry.line ? this.line() : this.tile(entry);
        this.tiles.set(key, tile);
        this.list.append(tile);
      }
      const place = `translate(${entry.x}px, ${entry.y}px)`;
      if (tile.style.transform !== place) tile.style.transform = place;
      tile.style.width = `${entry.w}px`;
      tile.style.height = `${entry.h}px`;
    }
    const state = this.state;
    if (state && state.leads.length < state.available && bottom > this.end()) this.actions.more();
  }

  end() {
    const last = this.entries.at(-1);
    return last ? last.y : 0;
  }

  line() {
    return el("li", { class: "threshold" }, el("span", {}, T.lineAt(this.state.above)));
  }

  tile({ lead, more }) {
    const { item } = lead;
    const mark = this.state.marks.get(item.id) ?? "";
    const verdict = this.actions.verdict(item.id);
    const picture = el("img", {
      src: this.actions.thumb(item.id, this.view === "list" ? 96 : this.size * 1.5),
      alt: "",
      loading: "eager",
      draggable: false,
      onerror: () => picture.replaceWith(el("span", { class: "gone" }, T.missing)),
    });
    const first = this.focused === item.id || (this.focused === null && lead.rank === 1);
    const button = el(
      "button",
      {
        type: "button",
        class: "picture",
        tabIndex: first ? 0 : -1,
        "aria-label": T.tile(lead, mark, verdict),
        onclick: () => this.actions.open(lead),
        onfocus: () => (this.focused = item.id),
      },
      picture,
    );
    const act = (name, label, done, pressed) =>
      el(
        "button",
        {
          type: "button",
          class: `act ${name}`,
          tabIndex: first ? 0 : -1,
          "aria-label": `${label}: ${lead.rank}`,
          title: label,
          "aria-pressed": pressed === undefined ? undefined : String(pressed),
          onclick: done,
        },
        icon(name),
      );
    const acts = el(
      "div",
      { class: "acts" },
      act("like", T.like, () => this.actions.mark(item.id, "like"), mark === "like"),
      act("unlike", T.unlike, () => this.actions.mark(item.id, "unlike"), mark === "unlike"),
      act("closest", T.closest, () => this.actions.closest(lead)),
      act("compare", T.compareAdd, () => this.actions.compare(lead), this.actions.compared(item.id)),
      act("finding", T.findings.one, () => this.actions.finding(lead), Boolean(verdict)),
    );
    const sign = verdict
      ? el("span", { class: `sign-of ${verdict === VERDICTS[0] ? "follow" : "aside"}`, title: T.findings.verdicts[verdict] }, icon("finding"))
      : null;
    const where = [item.camera, item.time.slice(5, 16).replace("T", " ")].filter(Boolean).join(" · ");
    const caption = el(
      "div",
      { class: "caption" },
      el("span", { class: "rank" }, String(lead.rank)),
      el("span", { class: "where", title: where }, where),
      el("span", { class: "score" }, lead.score.toFixed(2)),
    );
    const fold =
      more > 0
        ? el(
            "button",
            {
              type: "button",
              class: "more",
              tabIndex: -1,
              "aria-label": this.open.has(lead.group) ? T.fewer : T.moreLabel(more),
              onclick: () => this.unfold(lead.group),
            },
            this.open.has(lead.group) ? "–" : T.more(more),
          )
        : null;
    return el(
      "li",
      {
        class: `tile ${this.view} ${mark}`,
        "data-id": String(item.id),
        "data-rank": String(lead.rank),
        "aria-setsize": String(this.state.available),
        "aria-posinset": String(lead.rank),
      },
      button,
      bars(lead, this.state),
      caption,
      this.fitting(lead),
      acts,
      sign,
      fold,
    );
  }

  /** ✓, – or ✗ for each phrase; in the list with the phrase itself. */
  fitting(lead) {
    const signs = this.actions.fits(lead.item.id);
    if (!signs.length) return null;
    const whole = this.view === "list";
    return el(
      "ul",
      { class: "fits", role: "list", "aria-label": T.fits.title, title: T.fits.sentence(signs) },
      signs.map(({ phrase, sign }) =>
        el(
          "li",
          { class: ["no", "open", "yes"][sign + 1] },
          el("span", { "aria-hidden": "true" }, T.fits.signs[sign + 1]),
          el("span", { class: whole ? "" : "unseen" }, `${phrase}${whole ? "" : `: ${T.fits.words[sign + 1]}`}`),
        ),
      ),
    );
  }

  /** What fits is known now: show it on the tiles there are. */
  explain() {
    for (const { lead } of this.entries) {
      const tile = lead && this.tiles.get(lead.item.id);
      tile?.querySelector(".fits")?.remove();
      const made = tile && this.fitting(lead);
      if (made) tile.querySelector(".caption").after(made);
    }
  }

  unfold(group) {
    if (!this.open.delete(group)) this.open.add(group);
    this.refresh();
  }

  // ---------------------------------------------------------------- by keyboard

  /** The lead that the keyboard is on. */
  lead() {
    return this.entries.find((e) => e.lead?.item.id === this.focused)?.lead ?? null;
  }

  move(step) {
    const rows = this.entries.filter((e) => e.lead);
    if (!rows.length) return;
    const at = rows.findIndex((e) => e.lead.item.id === this.focused);
    const by = { left: -1, right: 1, up: -this.columns, down: this.columns }[step];
    const to = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + by))];
    this.focus(to);
  }

  focus(entry) {
    this.focused = entry.lead.item.id;
    const { scrollTop, clientHeight } = this.node;
    const y = entry.y + this.list.offsetTop;
    if (y < scrollTop) this.node.scrollTop = y - GAP;
    else if (y + entry.h > scrollTop + clientHeight) this.node.scrollTop = y + entry.h - clientHeight + GAP;
    this.draw();
    for (const other of this.list.querySelectorAll(".picture, .act")) other.tabIndex = -1;
    const tile = this.tiles.get(this.focused);
    const button = tile?.querySelector(".picture");
    if (button) {
      for (const here of tile.querySelectorAll(".picture, .act")) here.tabIndex = 0;
      button.focus({ preventScroll: true });
      say(button.getAttribute("aria-label"), "quiet");
    }
  }

  /** Back to the lead that was looked at, when its tile was made anew meanwhile. */
  refocus() {
    if (document.activeElement === document.body) this.tiles.get(this.focused)?.querySelector(".picture")?.focus({ preventScroll: true });
  }

  /** Show a changed mark without building the tile anew. */
  marked(id) {
    const entry = this.state && this.entries.find((e) => e.lead?.item.id === id);
    const old = this.tiles.get(id);
    if (!entry || !old) return;
    const had = old.contains(document.activeElement);
    const tile = this.tile(entry);
    tile.style.cssText = old.style.cssText;
    old.replaceWith(tile);
    this.tiles.set(id, tile);
    if (had) tile.querySelector(".picture").focus({ preventScroll: true });
  }
}

/** The score as a bar: what each part of the query gave, in its colour; what it took away hangs below the line. */
function bars(lead, { parts, scale }) {
  const bar = el("div", { class: "bar", "aria-hidden": "true" });
  lead.shares.forEach((share, i) => {
    if (Math.abs(share) < 0.005) return;
    const width = `${Math.min(100, (100 * Math.abs(share)) / scale)}%`;
    bar.append(el("i", { class: `part p${i % 16} ${share < 0 ? "minus" : ""}`, style: { width }, title: `${parts[i]?.label}: ${share.toFixed(2)}` }));
  });
  return bar;
}

const SHOWN = 200; // leads in the timeline

/** When each camera saw the leads: a row for a camera, a mark for a lead. One control a row, by pointer and by arrow keys. */
export class Timeline {
  /** open(lead): look at it closely. */
  constructor(open) {
    this.open = open;
    this.leads = [];
    this.span = el("span");
    this.told = el("output", { class: "note" });
    this.rows = el("div", { class: "rows" });
    const summary = el("summary", { onclick: () => setting("timeline", !this.node.open) }, this.span, this.told);
    this.node = el(
      "details",
      { class: "timeline", hidden: true, open: setting("timeline") ?? (innerWidth >= 900 && innerHeight >= 700), ontoggle: () => this.draw() },
      summary,
      this.rows,
    );
  }

  /** leads: in the order of ranks. line: the score above which they stand out; as before when left out. */
  show(leads, line = this.line) {
    this.line = line;
    this.leads = leads
      .slice(0, SHOWN)
      .filter(({ item }) => item.time)
      .map((lead) => ({ lead, at: Date.parse(`${lead.item.time}Z`) }));
    this.node.hidden = !this.leads.length;
    this.draw();
  }

  draw() {
    this.told.textContent = "";
    this.rows.replaceChildren();
    if (!this.leads.length) return;
    const inOrder = [...this.leads].sort((a, b) => a.at - b.at);
    const [first, last] = [inOrder[0], inOrder.at(-1)];
    this.span.textContent = T.timeline.title(this.leads.length, first.lead.item.time, last.lead.item.time);
    if (!this.node.open) return;
    const cameras = new Map();
    for (const seen of inOrder) cameras.set(seen.lead.item.camera, [...(cameras.get(seen.lead.item.camera) ?? []), seen]);
    const share = (at) => (last.at > first.at ? (at - first.at) / (last.at - first.at) : 0.5);
    for (const name of [...cameras.keys()].sort())
      this.rows.append(el("span", { title: name }, name || T.timeline.unknown), this.row(name, cameras.get(name), share));
  }

  row(name, seen, share) {
    const marks = seen.map(({ lead, at }) =>
      el("i", { class: lead.score >= this.line ? "above" : "", style: { "--at": String(share(at)), "z-index": String(SHOWN - lead.rank) } }),
    );
    let here = -1;
    const choose = (k) => {
      marks[here]?.classList.remove("here");
      here = Math.max(0, Math.min(seen.length - 1, k));
      marks[here].classList.add("here");
      const words = T.timeline.lead(seen[here].lead);
      track.setAttribute("aria-valuenow", String(here + 1));
      track.setAttribute("aria-valuetext", words);
      this.told.textContent = words;
    };
    const under = ({ clientX }) => {
      const far = (i) => Math.abs(i.getBoundingClientRect().left - clientX);
      return marks.reduce((best, mark, i) => (far(mark) < far(marks[best]) ? i : best), 0);
    };
    const press = (event) => {
      const to = { ArrowLeft: here - 1, ArrowDown: here - 1, ArrowRight: here + 1, ArrowUp: here + 1, Home: 0, End: seen.length - 1 }[event.key];
      if (to === undefined && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      if (to === undefined) this.open(seen[here].lead);
      else choose(to);
    };
    const track = el(
      "div",
      {
        class: "track",
        role: "slider",
        tabIndex: 0,
        "aria-label": name || T.timeline.unknown,
        "aria-valuemin": "1",
        "aria-valuemax": String(seen.length),
        "aria-valuenow": "1",
        onfocus: () => choose(Math.max(0, here)),
        onkeydown: press,
        onpointermove: (event) => choose(under(event)),
        onclick: () => this.open(seen[here].lead),
      },
      marks,
    );
    return track;
  }
}

const AROUND = 3; // seconds before and after the lead that the player shows

/** The name of a part of the query, as people say it. */
export function partName({ kind, label }) {
  const known = kind
    .split("+")
    .map((k) => T.kinds[k] ?? k)
    .join(" + ");
  if (label === "together") return `${known}, ${T.together}`;
  return kind.includes("text") || kind === "not" ? (kind === "not" ? `${T.not} ${label}` : `“${label}”`) : known;
}

/** A lead, large. desk: what the page can do with it (see main.js). */
export async function showLead(lead, desk) {
  const { item } = lead;
  const body = el("div", { class: "detail" });
  const box = dialog(T.detail(lead.rank), "wide", body);
  const large = el("img", {
    class: "large",
    src: `${desk.items}/${item.id}/image`,
    alt: T.tile(lead, ""),
    onerror: () => large.replaceWith(el("p", { class: "gone large" }, T.gone)),
  });
  const facts = el(
    "dl",
    {},
    ...[
      [T.camera, item.camera],
      [T.time, item.time.slice(0, 19).replace("T", " ")],
      [T.track, item.track],
      [T.file, item.name],
    ]
      .filter(([, v]) => v)
      .flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]),
  );
  const marks = el("div", { class: "row" });
  const why = el("div", { class: "why" });
  const judged = el("div", { class: "judged-here", hidden: !desk.findings.kept.has(item.id) });
  const near = el("div", { class: "near" });
  const fits = T.fits.sentence(desk.fits(item.id));
  const note = el("p", { class: "note" });
  const buttons = () => {
    const mark = desk.markOf(item.id);
    const button = (name, label, done, pressed) =>
      el("button", { type: "button", "aria-pressed": pressed === undefined ? undefined : String(pressed), onclick: done }, icon(name), label);
    marks.replaceChildren(
      button("like", T.like, () => (desk.mark(item.id, "like"), buttons()), mark === "like"),
      button("unlike", T.unlike, () => (desk.mark(item.id, "unlike"), buttons()), mark === "unlike"),
      button("closest", T.closest, () => (box.close(), desk.closest(lead))),
      button("compare", T.compareAdd, () => (desk.compare(lead), buttons()), desk.compared(item.id)),
      button("finding", T.findings.one, open, Boolean(desk.findings.kept.get(item.id))),
      button("plus", T.moreLike, () => (box.close(), desk.example(lead))),
    );
  };
  const open = () => {
    judged.hidden = !judged.hidden;
    if (judged.hidden) return;
    judged.replaceChildren(judge());
    judged.querySelector("input").focus();
  };
  const judge = () =>
    desk.findings.form(item.id, () => {
      judged.hidden = true;
      buttons();
      marks.children[4].focus();
    });
  const step = (by) => {
    const next = desk.beside(lead, by);
    if (next) {
      box.close();
      showLead(next, desk);
    }
  };
  body.append(
    el(
      "div",
      { class: "look" },
      tool("left", T.prev, () => step(-1), { disabled: !desk.beside(lead, -1) }),
      large,
      tool("right", T.next, () => step(1), { disabled: !desk.beside(lead, 1) }),
    ),
    el("div", { class: "facts" }, marks, judged, facts, note, fits ? el("p", { class: "fit" }, fits) : null, el("h3", {}, T.why), why, near),
  );
  box.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
    const mark = desk.letters() && { l: "like", u: "unlike", x: "" }[event.key.toLowerCase()];
    if (event.ctrlKey || event.metaKey) return;
    if (desk.letters() && event.key.toLowerCase() === "f") {
      event.preventDefault();
      open();
    }
    if (mark !== undefined && mark !== false) {
      desk.mark(item.id, mark, true);
      buttons();
    }
  });
  box.addEventListener("close", () => desk.refocus());
  buttons();
  if (!judged.hidden) judged.append(judge());
  const top = desk.leads()[0];
  const against = top && top.item.id !== item.id ? `?against=${top.item.id}` : "";
  const [about, score, beside] = await Promise.all([
    call("GET", `/galleries/${desk.gallery}/items/${item.id}`).catch(() => null),
    call("GET", `/inquiries/${desk.inquiry()}/rounds/${desk.round()}/contributions/${item.id}${against}`).catch(() => null),
    call("GET", `/galleries/${desk.gallery}/items/${item.id}/near`).catch(() => null),
  ]);
  if (about?.stale) note.textContent = T.changed;
  if (about?.missing) note.textContent = T.gone;
  if (about?.footage) near.append(...footage(about.footage, item, desk));
  if (score) why.append(...explained(score, desk, top));
  if (beside) near.append(...shelf(T.near, [...beside.before, null, ...beside.after], item, desk), ...shelf(T.sameTrack, beside.track, item, desk));
}

function explained(score, desk, top) {
  const most = Math.max(0.001, ...score.parts.map((p) => Math.max(Math.abs(p.share), Math.abs(p.against ?? 0))));
  const names = desk.parts();
  const bar = (value, className) => el("i", { class: className, style: { width: `${(100 * Math.abs(value)) / most}%` } });
  const rows = score.parts.map((p) => {
    const colour = names.findIndex((n) => n.kind === p.kind && n.label === p.label) % 16;
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, partName(p)),
      el("td", { class: "bars" }, bar(p.share, `part p${colour} ${p.share < 0 ? "minus" : ""}`), p.against === null ? null : bar(p.against, "part other")),
      el("td", { class: "value" }, signed(p.share)),
    );
  });
  const beside = score.parts[0]?.against === null || !top ? null : el("p", { class: "note" }, el("i", { class: "part other key" }), T.against(top.rank));
  const table = el(
    "table",
    {},
    el("tbody", {}, ...rows),
    el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, T.score), el("td", {}), el("td", { class: "value" }, score.score.toFixed(2)))),
  );
  return [table, ...(beside ? [beside] : []), el("p", { class: "note" }, T.scoreNote)];
}

function shelf(title, items, here, desk) {
  if (!items.some((i) => i)) return [];
  const picture = (item) =>
    el(
      "figure",
      { class: item.id === here.id ? "self" : "" },
      el("img", { src: desk.thumb(item.id, 96), alt: `${item.camera} ${item.time.replace("T", " ")}`, loading: "lazy" }),
      el("figcaption", {}, item.time.slice(11, 16)),
    );
  return [
    el("h3", {}, title),
    el(
      "div",
      { class: "shelf", tabIndex: 0, role: "group", "aria-label": title },
      items.map((i) => picture(i ?? here)),
    ),
  ];
}

/** Two to six leads side by side; zooming and moving one moves all. */
export function showCompare(leads, desk) {
  const zoom = el("input", { type: "range", min: 1, max: 4, step: 0.25, value: 1, "aria-label": T.zoom });
  const views = leads.map((lead) => {
    const fits = desk
      .fits(lead.item.id)
      .map(({ phrase, sign }) => `${T.fits.signs[sign + 1]} ${phrase}`)
      .join("  ");
    const picture = el("img", { src: `${desk.items}/${lead.item.id}/image`, alt: T.tile(lead, desk.markOf(lead.item.id)), draggable: false });
    const frame = el("div", { class: "frame", tabIndex: 0, role: "group", "aria-label": T.detail(lead.rank) }, picture);
    return el(
      "figure",
      {},
      frame,
      el(
        "figcaption",
        {},
        el("b", {}, String(lead.rank)),
        ` ${lead.item.camera} ${lead.item.time.slice(5, 16).replace("T", " ")}`,
        el(
          "button",
          { type: "button", class: "plain", "aria-label": `${T.findings.one}: ${lead.rank}`, onclick: () => desk.judge(lead) },
          icon("finding"),
          T.findings.one,
        ),
        fits ? el("p", { class: "note" }, fits) : null,
      ),
    );
  });
  const frames = views.map((v) => v.querySelector(".frame"));
  let busy = false;
  for (const frame of frames) {
    frame.addEventListener("scroll", () => {
      if (busy) return;
      busy = true;
      for (const other of frames) if (other !== frame) other.scrollTo(frame.scrollLeft, frame.scrollTop);
      requestAnimationFrame(() => (busy = false));
    });
  }
  let before = 1;
  const zoomed = () => {
    const by = Number(zoom.value) / before;
    before = Number(zoom.value);
    for (const f of frames) {
      const [x, y] = [f.scrollLeft + f.clientWidth / 2, f.scrollTop + f.clientHeight / 2];
      f.style.setProperty("--zoom", zoom.value);
      f.scrollTo(x * by - f.clientWidth / 2, y * by - f.clientHeight / 2); // what was in the middle stays there
    }
  };
  zoom.addEventListener("input", zoomed);
  for (const frame of frames) {
    frame.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        zoom.value = before - Math.sign(event.deltaY) * 0.25;
        zoomed();
      },
      { passive: false },
    );
    frame.addEventListener("pointerdown", (event) => event.pointerType === "mouse" && frame.setPointerCapture(event.pointerId));
    frame.addEventListener("pointermove", (event) => {
      if (frame.hasPointerCapture(event.pointerId)) frame.scrollBy(-event.movementX, -event.movementY);
    });
  }
  dialog(T.compare, "wide", el("label", { class: "pair zoom" }, el("span", {}, T.zoom), zoom), el("div", { class: "compare" }, views));
}

const signed = (x) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(2);

/** Elements for the view of one lead. about: `footage` of the item's detail. */
function footage(about, item, desk) {
  const still = el("img", {
    class: "still",
    src: `${desk.items}/${item.id}/still`,
    alt: T.footage.still,
    loading: "lazy",
    onerror: () => still.replaceWith(el("p", { class: "gone" }, T.footage.gone)),
  });
  const place = el("div", { class: "footage" }, still);
  const [begin, end] = [Math.max(0, about.seconds - AROUND), about.seconds + AROUND].map((s) => s.toFixed(1));
  const back = () => {
    place.replaceChildren(still, el("p", { class: "note" }, T.footage.unplayable));
    button.remove();
  };
  const play = () => {
    // a browser that knows the container and not the codec may load it without a picture
    const video = el("video", {
      src: `${desk.items}/${item.id}/video#t=${begin},${end}`,
      controls: true,
      autoplay: true,
      muted: true,
      onerror: back,
      onloadedmetadata: () => video.videoWidth || back(),
    });
    place.replaceChildren(video);
  };
  const button = el("button", { type: "button", onclick: play }, T.footage.play);
  const where = el("p", {}, T.footage.where(about.source, clock(about.seconds), about.frame));
  return [
    el("h3", {}, T.footage.title),
    where,
    ...(about.clock ? [el("p", { class: "note" }, T.footage.clock(about.clock))] : []),
    place,
    ...(about.playable ? [button] : []),
  ];
}

function clock(seconds) {
  const s = Math.floor(seconds);
  return [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60].map((n, i) => (i ? String(n).padStart(2, "0") : n)).join(":");
}
