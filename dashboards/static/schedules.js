// Says when a schedule fires while somebody types it. The server reads it; here it is only shown.
"use strict";
for (const part of document.querySelectorAll("[data-preview]")) {
  const said = part.querySelector("[data-said]");
  const fields = [...part.querySelectorAll("input[name]")];
  let timer = null, asked = 0;

  function line(kind, words, name) {
    const made = document.createElement(kind);
    made.textContent = words;
    if (name) made.className = name;
    return made;
  }
  async function look() {
    const query = new URLSearchParams(fields.map((field) => [field.name, field.value.trim()]));
    if (!query.get("cron") && !query.get("every")) { said.replaceChildren(line("p", "Here it is said when that is.", "quiet")); return; }
    const number = ++asked;
    let told;
    try {
      const answer = await fetch(`${part.dataset.preview}?${query}`, { headers: { Accept: "application/json" } });
      told = await answer.json();
      if (!answer.ok) told = { problem: told.message || `The server says ${answer.status}.` };
    } catch (error) {
      told = { problem: "The server does not answer." };
    }
    if (number !== asked) return;
    if (told.problem) { said.replaceChildren(line("p", told.problem, "warned")); return; }
    const times = document.createElement("ol");
    times.append(...told.next.map((at) => line("li", at)));
    said.replaceChildren(line("p", `${told.words} (${told.time_zone}). Next:`), times);
  }
  part.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 250); });
}
