// Making elements. Text only ever becomes text nodes, so nothing that a file or a person is called can run.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Properties: on<event> adds a listener, class and aria-* and data-* are attributes, the rest are properties. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "for" || name === "role" || name === "list" || name.includes("-")) node.setAttribute(name, value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node[name] = value;
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

const PATHS = {
  pen: "M4 20l1-5L16 4l4 4L9 19zM13.5 6.500l4 4",
  eraser: "M8 20h12M5 14l8-9 6 6-7.5 8H9z",
  undo: "M8 5L4 9l4 4M4 9h9a6 6 0 010 12h-3",
  redo: "M16 5l4 4-4 4M20 9h-9a6 6 0 000 12h3",
  clear: "M5 7h14M10 4h4M7 7l1 13h8l1-13",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  like: "M12 20S4 15 4 9.500A4.2 4.2 0 0112 7a4.2 4.2 0 018 2.500C20 15 12 20 12 20z",
  unlike: "M6 6l12 12M18 6L6 18",
  closest: "M12 3v4M12 17v4M3 12h4M17 12h4M12 9a3 3 0 100 6 3 3 0 000-6",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  close: "M6 6l12 12M18 6L6 18",
  help: "M9 9a3 3 0 115 2.300c-1.2.9-2 1.5-2 3.200M12 18.500v.5",
  theme: "M12 4a8 8 0 100 16zM12 4a8 8 0 010 16",
  left: "M14 6l-6 6 6 6",
  right: "M10 6l6 6-6 6",
  plus: "M12 5v14M5 12h14",
  folder: "M3 6h6l2 2h10v11H3z",
  index: "M3 6h6l2 2h10v11H3zM12 11v5M9.5 13.500h5",
  finding: "M6 4h12v16l-6-4-6 4z",
  figure: "M12 4a2.5 2.5 0 100 5 2.5 2.5 0 000-5M6 12l4-2h4l4 2-1.5 3L15 14v7H9v-7l-1.5 1z",
  enlarge: "M4 9V4h5M20 15v5h-5M4 4l6 6M20 20l-6-6",
  info: "M12 11v6M12 7v.5M12 3a9 9 0 100 18 9 9 0 000-18",
  more: "M5 12h.5M12 12h.5M19 12h.5",
  report: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
};

/** A line icon, hidden from screen readers: the button around it has the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon and says its name. */
export function tool(name, label, onclick, props = {}) {
  return el("button", { type: "button", class: "tool", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

/** A panel that a button opens beside or below itself; it closes on Esc and on a click elsewhere. */
export function panel(button, label, ...content) {
  const box = el("div", { class: "panel", popover: "auto", role: "group", "aria-label": label }, ...content);
  button.popoverTargetElement = box;
  box.addEventListener("toggle", () => {
    const at = button.getBoundingClientRect();
    const beside = innerWidth - at.right > box.offsetWidth + 8;
    box.style.top = `${Math.max(4, Math.min(beside ? at.top : at.bottom + 4, innerHeight - box.offsetHeight - 4))}px`;
    box.style.left = `${beside ? at.right + 4 : Math.max(4, Math.min(at.right - box.offsetWidth, innerWidth - box.offsetWidth - 4))}px`;
  });
  return box;
}

let timer = 0;

/** Say something to everyone: a note that goes away by itself, read aloud by screen readers; above a dialog if one is open. */
export function say(text, kind = "") {
  document.getElementById("status").textContent = text;
  document.querySelector(".toast:not(.offer)")?.remove();
  if (!text || kind === "quiet") return;
  const over = [...document.querySelectorAll("dialog[open]")].at(-1);
  const heard = over ? { role: kind === "warn" ? "alert" : "status" } : { "aria-hidden": "true" };
  const note = el("div", { class: `toast ${kind}`, ...heard }, text);
  (over ?? document.body).append(note);
  clearTimeout(timer);
  timer = setTimeout(() => note.remove(), 6000);
}

let dialogs = 0;

/** A modal dialog that closes on Esc, on its button and on a click outside. */
export function dialog(title, className, ...content) {
  dialogs += 1;
  const id = `dialog-title-${dialogs}`;
  const heading = el("h2", { id }, title);
  const box = el("dialog", { class: className, "aria-labelledby": id, onclose: () => box.remove() });
  const bar = el(
    "header",
    { class: "dialog-bar" },
    heading,
    tool("close", "Close", () => box.close()),
  );
  box.append(bar, ...content);
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}
