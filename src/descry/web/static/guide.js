// What explains the page: help, the guided tour, and the way back in when a token no longer holds.

import { call } from "./api.js";
import { dialog, el } from "./dom.js";
import { setting } from "./keep.js";
import { T } from "./strings.js";

/** Keys, limits, and what this cannot do. */
export function showHelp(limits, { tour }) {
  const letters = el("input", { type: "checkbox", onchange: () => setting("letters", letters.checked) });
  letters.checked = setting("letters") ?? true;
  const keys = T.keys.map(([key, what]) => el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, what)));
  const box = dialog(T.help, "help",
    el("h3", {}, T.cannot), el("ul", {}, T.cannotText.map((t) => el("li", {}, t))),
    el("h3", {}, T.shortcuts), el("label", { class: "check" }, letters, T.singleKeys), el("table", {}, el("tbody", {}, keys)),
    el("h3", {}, T.limits), el("ul", {}, T.limitLines(limits).map((t) => el("li", {}, t))),
    el("p", {}, el("button", { type: "button", onclick: () => (box.close(), tour()) }, T.tour)));
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
  const card = el("div", { class: "tour", role: "dialog", "aria-label": T.tour, onkeydown: (e) => e.key === "Escape" && tour(show, 99) },
    el("p", {}, text), el("div", { class: "row" }, el("span", { class: "note" }, `${at + 1} / ${T.tourSteps.length}`), skip, next));
  document.body.append(card);
  next.focus();
}

let asking = null;

/** Ask for the link again, over the page; resolves when a token holds. */
export function login() {
  asking ??= new Promise((done) => {
    const field = el("input", { type: "text", "aria-label": T.loginField, placeholder: T.loginField, autocomplete: "off", spellcheck: false, autofocus: true });
    const wrong = el("p", { class: "warn", role: "alert" });
    const form = el("form", { onsubmit: (event) => {
      event.preventDefault();
      enter(tokenIn(field.value)).then((ok) => (ok ? box.close() : (wrong.textContent = T.loginWrong)));
    } }, el("p", {}, T.loginText), el("div", { class: "row" }, field, el("button", { type: "submit", class: "primary" }, T.loginButton)), wrong);
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
  return call("POST", "/login", { token }).then(() => true, () => false);
}

export const tokenIn = (text) => (text.match(/token=([^&\s]+)/)?.[1] ?? text).trim().slice(0, 200);
