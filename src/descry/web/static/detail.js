// Looking closely: one lead with its score explained and its neighbours, and several leads side by side.

import { call } from "./api.js";
import { dialog, el, icon, tool } from "./dom.js";
import { T } from "./strings.js";

const AROUND = 3; // seconds before and after the lead that the player shows

/** The name of a part of the query, as people say it. */
export function partName({ kind, label }) {
  const known = kind.split("+").map((k) => T.kinds[k] ?? k).join(" + ");
  if (label === "together") return `${known}, ${T.together}`;
  return kind.includes("text") || kind === "not" ? (kind === "not" ? `${T.not} ${label}` : `“${label}”`) : known;
}

/** A lead, large. desk: what the page can do with it (see main.js). */
export async function showLead(lead, desk) {
  const { item } = lead;
  const body = el("div", { class: "detail" });
  const box = dialog(T.detail(lead.rank), "wide", body);
  const large = el("img", { class: "large", src: `${desk.items}/${item.id}/image`, alt: T.tile(lead, ""), onerror: () => large.replaceWith(el("p", { class: "gone large" }, T.gone)) });
  const facts = el("dl", {}, ...[[T.camera, item.camera], [T.time, item.time.slice(0, 19).replace("T", " ")], [T.track, item.track], [T.file, item.name]].filter(([, v]) => v).flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
  const marks = el("div", { class: "row" });
  const why = el("div", { class: "why" });
  const judged = el("div", { class: "judged-here", hidden: !desk.findings.kept.has(item.id) });
  const near = el("div", { class: "near" });
  const fits = T.fits.sentence(desk.fits(item.id));
  const note = el("p", { class: "note" });
  const buttons = () => {
    const mark = desk.markOf(item.id);
    const button = (name, label, done, pressed) => el("button", { type: "button", "aria-pressed": pressed === undefined ? undefined : String(pressed), onclick: done }, icon(name), label);
    marks.replaceChildren(
      button("like", T.like, () => (desk.mark(item.id, "like"), buttons()), mark === "like"),
      button("unlike", T.unlike, () => (desk.mark(item.id, "unlike"), buttons()), mark === "unlike"),
      button("closest", T.closest, () => (box.close(), desk.closest(lead))),
      button("compare", T.compareAdd, () => (desk.compare(lead), buttons()), desk.compared(item.id)),
      button("finding", T.findings.one, open, Boolean(desk.findings.kept.get(item.id))),
      button("plus", T.moreLike, () => (box.close(), desk.example(lead))));
  };
  const open = () => {
    judged.hidden = !judged.hidden;
    if (judged.hidden) return;
    judged.replaceChildren(judge());
    judged.querySelector("input").focus();
  };
  const judge = () => desk.findings.form(item.id, () => {
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
  body.append(el("div", { class: "look" }, tool("left", T.prev, () => step(-1), { disabled: !desk.beside(lead, -1) }), large, tool("right", T.next, () => step(1), { disabled: !desk.beside(lead, 1) })),
    el("div", { class: "facts" }, marks, judged, facts, note, fits ? el("p", { class: "fit" }, fits) : null, el("h3", {}, T.why), why, near));
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
    return el("tr", {}, el("th", { scope: "row" }, partName(p)),
      el("td", { class: "bars" }, bar(p.share, `part p${colour} ${p.share < 0 ? "minus" : ""}`), p.against === null ? null : bar(p.against, "part other")),
      el("td", { class: "value" }, signed(p.share)));
  });
  const beside = score.parts[0]?.against === null || !top ? null : el("p", { class: "note" }, el("i", { class: "part other key" }), T.against(top.rank));
  const table = el("table", {}, el("tbody", {}, ...rows), el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, T.score), el("td", {}), el("td", { class: "value" }, score.score.toFixed(2)))));
  return [table, ...(beside ? [beside] : []), el("p", { class: "note" }, T.scoreNote)];
}

function shelf(title, items, here, desk) {
  if (!items.some((i) => i)) return [];
  const picture = (item) => el("figure", { class: item.id === here.id ? "self" : "" }, el("img", { src: desk.thumb(item.id, 96), alt: `${item.camera} ${item.time.replace("T", " ")}`, loading: "lazy" }), el("figcaption", {}, item.time.slice(11, 16)));
  return [el("h3", {}, title), el("div", { class: "shelf", tabIndex: 0, role: "group", "aria-label": title }, items.map((i) => picture(i ?? here)))];
}

/** Two to six leads side by side; zooming and moving one moves all. */
export function showCompare(leads, desk) {
  const zoom = el("input", { type: "range", min: 1, max: 4, step: 0.25, value: 1, "aria-label": T.zoom });
  const views = leads.map((lead) => {
    const fits = desk.fits(lead.item.id).map(({ phrase, sign }) => `${T.fits.signs[sign + 1]} ${phrase}`).join("  ");
    const picture = el("img", { src: `${desk.items}/${lead.item.id}/image`, alt: T.tile(lead, desk.markOf(lead.item.id)), draggable: false });
    const frame = el("div", { class: "frame", tabIndex: 0, role: "group", "aria-label": T.detail(lead.rank) }, picture);
    return el("figure", {}, frame, el("figcaption", {}, el("b", {}, String(lead.rank)), ` ${lead.item.camera} ${lead.item.time.slice(5, 16).replace("T", " ")}`, el("button", { type: "button", class: "plain", "aria-label": `${T.findings.one}: ${lead.rank}`, onclick: () => desk.judge(lead) }, icon("finding"), T.findings.one), fits ? el("p", { class: "note" }, fits) : null));
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
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom.value = before - Math.sign(event.deltaY) * 0.25;
      zoomed();
    }, { passive: false });
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
  const still = el("img", { class: "still", src: `${desk.items}/${item.id}/still`, alt: T.footage.still, loading: "lazy", onerror: () => still.replaceWith(el("p", { class: "gone" }, T.footage.gone)) });
  const place = el("div", { class: "footage" }, still);
  const [begin, end] = [Math.max(0, about.seconds - AROUND), about.seconds + AROUND].map((s) => s.toFixed(1));
  const back = () => {
    place.replaceChildren(still, el("p", { class: "note" }, T.footage.unplayable));
    button.remove();
  };
  const play = () => {
    // a browser that knows the container and not the codec may load it without a picture
    const video = el("video", { src: `${desk.items}/${item.id}/video#t=${begin},${end}`, controls: true, autoplay: true, muted: true, onerror: back, onloadedmetadata: () => video.videoWidth || back() });
    place.replaceChildren(video);
  };
  const button = el("button", { type: "button", onclick: play }, T.footage.play);
  const where = el("p", {}, T.footage.where(about.source, clock(about.seconds), about.frame));
  return [el("h3", {}, T.footage.title), where, ...(about.clock ? [el("p", { class: "note" }, T.footage.clock(about.clock))] : []), place, ...(about.playable ? [button] : [])];
}

function clock(seconds) {
  const s = Math.floor(seconds);
  return [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60].map((n, i) => (i ? String(n).padStart(2, "0") : n)).join(":");
}
