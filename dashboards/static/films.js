// Films are stored as arrays of frames (NumPy's .npy, uint8 [frames, height, width, 3]), which no browser plays: where a
// player gives up on one, its frames are drawn instead, with a button and a slider.
"use strict";

const FRAMES_A_SECOND = 8;

function frames(bytes) {
  const head = new Uint8Array(bytes, 0, 10);
  if (String.fromCharCode(...head.slice(1, 6)) !== "NUMPY") return null;
  const size = head[6] === 1 ? new DataView(bytes).getUint16(8, true) : new DataView(bytes).getUint32(8, true);
  const start = (head[6] === 1 ? 10 : 12) + size;
  const words = new TextDecoder("latin1").decode(bytes.slice(10, start));
  const shape = (/'shape':\s*\(([\d,\s]+)\)/.exec(words) || ["", ""])[1].split(",").map(Number).filter(Boolean);
  if (!/'descr':\s*'[|<]?u1'/.test(words) || /'fortran_order':\s*True/.test(words) || shape.length !== 4 || shape[3] !== 3) return null;
  return { shape, values: new Uint8Array(bytes, start) };
}

async function showFrames(player) {
  if (player.dataset.film) return;
  player.dataset.film = "yes";
  const found = frames(await (await fetch(player.src)).arrayBuffer());
  if (!found) return;
  const [num, height, width] = found.shape;
  const place = document.createElement("div");
  place.className = "film";
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", player.getAttribute("aria-label") || "Film");
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Play" });
  button.dataset.filmPlay = "yes";
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: num - 1, value: 0 });
  slider.setAttribute("aria-label", `Frame, of ${num}`);
  const picture = new ImageData(width, height), paper = canvas.getContext("2d");
  const paint = () => {
    const first = Number(slider.value) * height * width * 3;
    for (let pixel = 0; pixel < height * width; pixel++) {
      for (let colour = 0; colour < 3; colour++) picture.data[4 * pixel + colour] = found.values[first + 3 * pixel + colour];
      picture.data[4 * pixel + 3] = 255;
    }
    paper.putImageData(picture, 0, 0);
    canvas.dataset.frame = slider.value;
  };
  let clock = null;
  const stop = () => { clearInterval(clock); clock = null; button.textContent = "Play"; };
  const step = () => {
    if (!canvas.isConnected || Number(slider.value) >= num - 1) return stop();
    slider.value = Number(slider.value) + 1;
    paint();
  };
  button.addEventListener("click", () => {
    if (clock) return stop();
    if (Number(slider.value) >= num - 1) { slider.value = 0; paint(); }
    clock = setInterval(step, 1000 / FRAMES_A_SECOND);
    button.textContent = "Pause";
  });
  slider.addEventListener("input", paint);
  place.append(canvas, button, slider);
  player.hidden = true;
  player.after(place);
  paint();
}

function lookForFilms() {
  for (const player of document.querySelectorAll("video[src]")) {
    if (player.error || player.networkState === HTMLMediaElement.NETWORK_NO_SOURCE) showFrames(player);
  }
}
document.addEventListener("error", (event) => { if (event.target instanceof HTMLVideoElement) showFrames(event.target); }, true);
lookForFilms();
