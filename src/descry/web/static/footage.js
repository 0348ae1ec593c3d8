// From a lead back to the footage: where it was cut, the frame with the box, and the seconds around it.

import { el } from "./dom.js";
import { T } from "./strings.js";

const AROUND = 3; // seconds before the lead at which the player begins

/** Elements for the view of one lead. about: `footage` of the item's detail. */
export function footage(about, item, desk) {
  const still = el("img", { class: "still", src: `${desk.items}/${item.id}/still`, alt: T.footage.still, loading: "lazy", onerror: () => still.replaceWith(el("p", { class: "gone" }, T.footage.gone)) });
  const place = el("div", { class: "footage" }, still);
  const begin = Math.max(0, about.seconds - AROUND);
  const play = () => {
    const video = el("video", { src: `${desk.items}/${item.id}/video#t=${begin.toFixed(1)}`, controls: true, autoplay: true, muted: true, onerror: () => (video.replaceWith(still), button.remove()) });
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
