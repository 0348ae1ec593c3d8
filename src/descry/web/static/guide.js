// What explains the page: help, the guided tour, and the way back in when a token no longer holds.

import { call } from "./api.js";
import { dialog, el, say } from "./dom.js";
import { setting } from "./keep.js";
import { showLead } from "./leads.js";
import { T } from "./strings.js";

/** Keys, limits, and what this cannot do. */
export function showHelp(limits, { tour }) {
  const letters = el("input", { type: "checkbox", onchange: () => setting("letters", letters.checked) });
  letters.checked = setting("letters") ?? true;
  const keys = T.keys.map(([key, what]) => el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, what)));
  const box = dialog(
    T.help,
    "help",
    el("h3", {}, T.cannot),
    el(
      "ul",
      {},
      T.cannotText.map((t) => el("li", {}, t)),
    ),
    el("h3", {}, T.shortcuts),
    el("label", { class: "check" }, letters, T.singleKeys),
    el("table", {}, el("tbody", {}, keys)),
    el("h3", {}, T.limits),
    el(
      "ul",
      {},
      T.limitLines(limits).map((t) => el("li", {}, t)),
    ),
    el("p", {}, el("button", { type: "button", onclick: () => (box.close(), tour()) }, T.tour)),
  );
}

/** One minute, five places. */
export function tour(show, at = 0) {
  document.querySelector(".tour")?.remove();
  for (const old of document.querySelectorAll(".lit")) old.classList.remove("lit");
  const step = T.tourSteps[at];
  if (!step) return;
  const [where, text] = step;
  show(where);
  document.querySelector(where)?.classList.add("lit");
  const last = at === T.tourSteps.length - 1;
  const next = el("button", { type: "button", class: "primary", onclick: () => tour(show, at + 1) }, last ? T.tourEnd : T.tourNext);
  const skip = last ? null : el("button", { type: "button", class: "plain", onclick: () => tour(show, 99) }, T.tourSkip);
  const card = el(
    "div",
    { class: "tour", role: "dialog", "aria-label": T.tour, onkeydown: (e) => e.key === "Escape" && tour(show, 99) },
    el("p", {}, text),
    el("div", { class: "row" }, el("span", { class: "note" }, `${at + 1} / ${T.tourSteps.length}`), skip, next),
  );
  document.body.append(card);
  next.focus();
}

let asking = null;

/** Ask for the link again, over the page; resolves when a token holds. */
export function login() {
  asking ??= new Promise((done) => {
    const field = el("input", { type: "text", "aria-label": T.loginField, placeholder: T.loginField, autocomplete: "off", spellcheck: false, autofocus: true });
    const wrong = el("p", { class: "warn", role: "alert" });
    const form = el(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          enter(tokenIn(field.value)).then((ok) => (ok ? box.close() : (wrong.textContent = T.loginWrong)));
        },
      },
      el("p", {}, T.loginText),
      el("div", { class: "row" }, field, el("button", { type: "submit", class: "primary" }, T.loginButton)),
      wrong,
    );
    const box = dialog(T.loginTitle, "login", form);
    box.addEventListener("cancel", (event) => event.preventDefault());
    box.addEventListener("close", () => {
      asking = null;
      done();
    });
  });
  return asking;
}

/** Exchange a token for the cookie. */
export async function enter(token) {
  return call("POST", "/login", { token }).then(
    () => true,
    () => false,
  );
}

export const tokenIn = (text) => (text.match(/token=([^&\s]+)/)?.[1] ?? text).trim().slice(0, 200);

const STEPS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };

/** The keyboard. Letters can be switched off (WCAG 2.1.4) and never fire while something is typed or a dialog is open. */
export function listenToKeys(page) {
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    const typing = at.matches("input:not([type=checkbox]), textarea, select");
    if (document.querySelector("dialog[open], .tour") || event.isComposing) return;
    if (event.ctrlKey || event.metaKey) return void controlled(page, event, typing);
    if (event.key === "Escape" && page.query.large && !document.querySelector(":popover-open")) return void page.query.enlarge(false);
    if (typing || event.altKey) return void (event.key === "Escape" && at.blur());
    if (handled(page, event)) event.preventDefault();
  });
}

function controlled(page, event, typing) {
  if (typing || event.key.toLowerCase() !== "z") return;
  event.preventDefault();
  const { board } = page.query;
  const drawing = document.activeElement === board.canvas || document.activeElement?.closest("#draw");
  if (drawing) event.shiftKey ? board.redo() : board.undo();
  else page.head({ step: event.shiftKey ? "redo" : "undo" });
}

/** Whether the key meant something here. */
function handled(page, event) {
  const { key } = event;
  const inGrid = page.grid.node.contains(document.activeElement);
  const lead = page.grid.lead();
  if (key in STEPS && (inGrid || document.activeElement === document.body) && page.leads.length) {
    page.grid.move(STEPS[key]);
    return true;
  }
  if (key === "Enter" && (inGrid || document.activeElement === document.body)) {
    if (page.pending.size || !inGrid) page.search();
    else if (lead) showLead(lead, page.desk);
    return true;
  }
  if (key === " " && inGrid && lead) {
    showLead(lead, page.desk);
    return true;
  }
  if (!(setting("letters") ?? true)) return false;
  const marked = (mark) => lead && (page.mark(lead.item.id, mark, true), true);
  const done = {
    "/": () => (page.tab("query"), page.query.text.focus(), true),
    "?": () => (page.help(), true),
    l: () => marked("like"),
    u: () => marked("unlike"),
    x: () => marked(""),
    k: () => lead && (page.closest(lead), true),
    c: () => lead && (page.compare(lead), true),
    f: () => lead && (page.judge(lead), true),
    m: () => lead && (page.example(lead), true),
    a: () => all(page),
    h: () => hide(page),
    g: () => page.leads.length && (page.view(), true),
    "[": () => (page.head({ step: "undo" }), true),
    "]": () => (page.head({ step: "redo" }), true),
    p: () => (page.query.pick("pen"), true),
    e: () => (page.query.pick("eraser"), true),
  }[key.toLowerCase()];
  if (done) return done();
  if (/^[1-5]$/.test(key)) page.query.thickness(Number(key));
  return /^[1-5]$/.test(key);
}

/** Unlike everything in view that is not marked yet. */
function all(page) {
  const tiles = [...page.grid.tiles.values()].filter((tile) => tile.dataset.id);
  for (const tile of tiles) {
    const id = Number(tile.dataset.id);
    const box = tile.getBoundingClientRect();
    const pane = page.grid.node.getBoundingClientRect();
    if (box.top >= pane.top - 1 && box.bottom <= pane.bottom + 1 && !page.marks.get(id)) page.mark(id, "unlike", true);
  }
  return tiles.length > 0;
}

function hide(page) {
  page.grid.hide = !page.grid.hide;
  page.grid.layout();
  say(page.grid.hide ? "Unliked leads are hidden." : "Unliked leads are shown.");
  return true;
}
