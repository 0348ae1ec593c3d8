// The keyboard. Letters can be switched off (WCAG 2.1.4) and never fire while something is typed or a dialog is open.

import { showLead } from "./detail.js";
import { say } from "./dom.js";
import { setting } from "./keep.js";

const STEPS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };

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
