// What every page does: looks again when something has changed, opens and closes dialogs.
"use strict";

// --- live: /events names what has changed; the part of the page with the id "live" is fetched anew and morphed in place.
const topics = (document.body.dataset.topics || "").split(" ").filter(Boolean);
let waiting = null;

async function lookAgain() {
  waiting = null;
  const live = document.getElementById("live");
  if (!live) return;
  await htmx.ajax("GET", location.pathname + location.search, { target: "#live", select: "#live", swap: "outerMorph" });
  document.dispatchEvent(new CustomEvent("omniloop:live"));
}

function listen() {
  const lost = document.getElementById("lost");
  const events = new EventSource("/events");
  events.addEventListener("open", () => { lost.hidden = true; });
  events.addEventListener("error", () => { lost.hidden = false; });
  events.addEventListener("changed", (event) => {
    const changed = JSON.parse(event.data);
    document.dispatchEvent(new CustomEvent("omniloop:changed", { detail: changed }));
    if (changed.some((topic) => topics.includes(topic)) && !waiting) waiting = setTimeout(lookAgain, 150);
  });
  addEventListener("pagehide", () => events.close());
}
if (topics.length) listen();

// --- dialogs: a button with data-open="ID" opens it, one with data-close closes it; Escape does too.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) document.getElementById(opener.dataset.open).showModal();
  const closer = event.target.closest("[data-close]");
  if (closer) closer.closest("dialog").close();
});

// --- a form is sent once, however often its button is clicked.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  event.target.dataset.sent = "yes";
  setTimeout(() => { delete event.target.dataset.sent; }, 4000);
});
