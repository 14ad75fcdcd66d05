// Takes the note away once the report is there, and says so if it cannot be shown.
"use strict";
(() => {
  const frame = document.getElementById("report-frame"), note = document.getElementById("report-note");
  fetch(frame.dataset.src, { headers: { Accept: "application/json" } }).then(async (answer) => {
    if (answer.ok) { await answer.blob(); frame.src = frame.dataset.src; frame.hidden = false; note.hidden = true; return; }
    const told = await answer.json().catch(() => ({}));
    note.textContent = told.message || `The report cannot be shown: status ${answer.status}.`;
  }).catch(() => { note.textContent = "The report cannot be fetched: the connection is lost."; });
})();
