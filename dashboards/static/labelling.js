// Labelling by keys: an answer is posted and the next sample put in its place; sound gets a waveform. Without this file
// the same forms work as plain pages.
"use strict";

const bench = () => document.getElementById("work");
let busy = false;

// --- post a form and show what comes back in place.
async function send(form, submitter) {
  if (busy) return;
  busy = true;
  bench().setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, submitter)), headers: { Accept: "text/html" } });
    const shown = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok && shown.getElementById("work")) return put(shown);
    const words = shown.querySelector("main p");
    const next = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (next.ok) put(new DOMParser().parseFromString(await next.text(), "text/html"));
    say(words ? words.textContent : `That did not work (${answer.status}).`, "problem");
  } catch {
    say("The answer was not sent: the connection is lost. Try the key again.", "problem");
  } finally {
    busy = false;
    bench().removeAttribute("aria-busy");
    delete form.dataset.sent;
  }
}

function put(shown) {
  bench().replaceWith(document.importNode(shown.getElementById("work"), true));
  document.getElementById("said").replaceChildren(...document.importNode(shown.getElementById("said"), true).childNodes);
  begin();
  document.getElementById("work-title").focus({ preventScroll: true });
}

function say(words, kind) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = words;
  document.getElementById("said").replaceChildren(line);
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-quick]")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  send(event.target, event.submitter);
});

// --- keys.
document.addEventListener("keydown", (event) => {
  const zoomed = document.querySelector("dialog.zoom[open]");
  if (zoomed && event.key === "z") { zoomed.close(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !bench() || document.querySelector("dialog[open]")) return;
  const find = bench().querySelector("[data-find]");
  if (event.target === find) {
    const first = event.key === "Enter" && bench().querySelector(".choices button:not([hidden])");
    if (event.key === "Enter") event.preventDefault();
    if (event.key === "Escape") find.blur();
    if (first) first.click();
    return;
  }
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === " " && !event.target.closest("button, a, summary, audio, video")) return play(event);
  if (event.key === "z") return zoom(event);
  if (event.key === "/" && find) { event.preventDefault(); find.focus(); return; }
  const button = bench().querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (button) { event.preventDefault(); button.click(); }
});

function play(event) {
  const sound = bench().querySelector("audio, video:not([hidden])");
  const film = bench().querySelector("[data-film-play]");
  if (!sound && !film) return;
  event.preventDefault();
  if (!sound) return film.click();
  if (sound.paused) sound.play(); else sound.pause();
}

function zoom(event) {
  event.preventDefault();
  bench().querySelector(".picture")?.click();
}

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-find]")) return;
  const sought = event.target.value.trim().toLowerCase();
  const buttons = [...bench().querySelectorAll(".choices button")];
  const rank = (button) => { const text = button.value.toLowerCase(); return text === sought ? 0 : text.startsWith(sought) ? 1 : 2; };
  for (const button of buttons) button.hidden = !button.value.toLowerCase().includes(sought);
  buttons.sort((one, other) => rank(one) - rank(other)).forEach((button) => button.parentElement.append(button));
});

// --- the waveform: loudest and quietest value of each column, and how far it has been played.
let audio = null;

async function draw(player) {
  const canvas = document.createElement("canvas");
  canvas.className = "wave";
  canvas.width = 800;
  canvas.height = 120;
  canvas.setAttribute("aria-hidden", "true");
  player.after(canvas);
  try {
    audio ??= new OfflineAudioContext(1, 1, 16000);
    const bytes = await (await fetch(player.currentSrc || player.src || player.querySelector("source").src)).arrayBuffer();
    const values = (await audio.decodeAudioData(bytes)).getChannelData(0);
    const columns = peaks(values, canvas.width);
    const paint = () => painted(canvas, columns, player.duration ? player.currentTime / player.duration : 0);
    for (const moment of ["timeupdate", "seeked", "ended", "loadedmetadata"]) player.addEventListener(moment, paint);
    canvas.addEventListener("click", (event) => { player.currentTime = (event.offsetX / canvas.clientWidth) * (player.duration || 0); });
    canvas.dataset.drawn = String(columns.length);
    paint();
  } catch {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = "This sound's waveform cannot be drawn; the player still plays what the browser knows.";
    canvas.replaceWith(note);
  }
}

function peaks(values, width) {
  const columns = [], step = values.length / width;
  let top = 1e-9;
  for (let x = 0; x < width; x++) {
    let low = 0, high = 0;
    for (let place = Math.floor(x * step); place < Math.max(Math.floor((x + 1) * step), Math.floor(x * step) + 1); place++) {
      const value = values[place] ?? 0;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    top = Math.max(top, high, -low);
    columns.push([low, high]);
  }
  return columns.map(([low, high]) => [low / top, high / top]);
}

function painted(canvas, columns, share) {
  const style = getComputedStyle(document.documentElement), paper = canvas.getContext("2d");
  const middle = canvas.height / 2;
  paper.clearRect(0, 0, canvas.width, canvas.height);
  columns.forEach(([low, high], x) => {
    paper.fillStyle = style.getPropertyValue(x < share * columns.length ? "--accent" : "--quiet");
    paper.fillRect(x, middle - high * middle, 1, Math.max((high - low) * middle, 1));
  });
}

function begin() {
  for (const player of bench()?.querySelectorAll("audio") ?? []) draw(player);
}
begin();
