// Draws every figure[data-chart] from the JSON that it names, and fills the table below it. `x` in the JSON names an axis
// that is no time (an epoch); without it the axis is UTC.
"use strict";
(() => {
  const AT_ONCE = 4, MOST_ROWS = 200, LEAST_PAUSE_MS = 5000, NEAR_PX = 8;
  const LINES = ["--link", "--bad", "--good", "--warn", "--info", "--quiet"];
  const DASHES = [[], [9, 4], [2, 3], [9, 3, 2, 3], [14, 5], [4, 4]];
  const SIGNS = { promotion: "▲", rollback: "↩", alert: "!" };
  const WORDS = { s: "s", fraction: "", rows: "", bytes: "B" };
  const shown = new Map();

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const twice = (number) => String(number).padStart(2, "0");
  const day = (at) => `${at.getUTCFullYear()}-${twice(at.getUTCMonth() + 1)}-${twice(at.getUTCDate())}`;
  const clock = (at, exact) => `${twice(at.getUTCHours())}:${twice(at.getUTCMinutes())}${exact ? `:${twice(at.getUTCSeconds())}` : ""}`;
  const moment = (epoch) => { const at = new Date(epoch * 1000); return `${day(at)} ${clock(at, true)}`; };

  function figure(value, unit) {
    if (value === null || value === undefined) return "–";
    const big = Math.abs(value);
    if (unit === "s" && big < 1) return `${Number((value * 1000).toPrecision(3))} ms`;
    if (unit === "bytes" && big >= 1e6) return `${Number((value / 1e6).toPrecision(3)).toLocaleString("en")} MB`;
    const plain = big >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
    const word = unit in WORDS ? WORDS[unit] : unit || "";
    return word ? `${plain} ${word}` : plain;
  }

  // --- what is drawn beside the lines: beyond the bounds, the baseline, and what happened.
  function level(u, value, ink, dash) {
    const y = Math.round(u.valToPos(value, "y", true));
    const { left, width } = u.bbox;
    u.ctx.strokeStyle = ink; u.ctx.setLineDash(dash.map((part) => part * devicePixelRatio)); u.ctx.lineWidth = 1.5 * devicePixelRatio;
    u.ctx.beginPath(); u.ctx.moveTo(left, y); u.ctx.lineTo(left + width, y); u.ctx.stroke();
    return y;
  }
  function inside(u, draw) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save(); u.ctx.beginPath(); u.ctx.rect(left, top, width, height); u.ctx.clip(); draw(left, top, width, height); u.ctx.restore();
  }
  function limits(u, told) {
    inside(u, (left, top, width, height) => {
      const { low = null, high = null } = told.band || {};
      u.ctx.fillStyle = colour("--bad-back");
      if (high !== null) { const y = u.valToPos(high, "y", true); if (y > top) u.ctx.fillRect(left, top, width, y - top); }
      if (low !== null) { const y = u.valToPos(low, "y", true); if (y < top + height) u.ctx.fillRect(left, y, width, top + height - y); }
      for (const bound of [low, high]) if (bound !== null) level(u, bound, colour("--bad"), [6, 4]);
      if (told.baseline !== null && told.baseline !== undefined) level(u, told.baseline, colour("--quiet"), [2, 4]);
    });
  }
  function happened(u, told) {
    inside(u, (left, top, _, height) => {
      u.ctx.setLineDash([]); u.ctx.lineWidth = devicePixelRatio; u.ctx.font = `${12 * devicePixelRatio}px sans-serif`; u.ctx.textAlign = "left"; u.ctx.textBaseline = "top";
      for (const mark of told.marks) {
        const x = Math.round(u.valToPos(mark.at, "x", true));
        const ink = colour(mark.kind === "promotion" ? "--good" : mark.kind === "rollback" ? "--warn" : "--bad");
        u.ctx.strokeStyle = u.ctx.fillStyle = ink;
        u.ctx.beginPath(); u.ctx.moveTo(x, top); u.ctx.lineTo(x, top + height); u.ctx.stroke();
        u.ctx.fillText(SIGNS[mark.kind] || "•", x + 3 * devicePixelRatio, top + 2 * devicePixelRatio);
      }
    });
  }

  function span(told) {
    const { low = null, high = null } = told.band || {};
    const held = [low, high, told.baseline].filter((value) => Number.isFinite(value));
    return (_, least, most) => {
      const ends = [least, most, ...held].filter((value) => Number.isFinite(value));
      if (!ends.length) return [0, 1];
      const [bottom, top] = [Math.min(...ends), Math.max(...ends)];
      const room = (top - bottom || Math.abs(top) || 1) * 0.08;
      return [bottom >= 0 && bottom - room < 0 ? 0 : bottom - room, top + room];
    };
  }
  function ticks(_, places, __, ___, step) {
    let last = "";
    return places.map((epoch) => {
      const at = new Date(epoch * 1000), date = day(at).slice(5);
      if (step >= 86400) return date;
      const text = clock(at, step < 60) + (date === last ? "" : `\n${date}`);
      last = date;
      return text;
    });
  }

  function options(chart) {
    const { told, plot } = chart, ink = colour("--quiet"), grid = { stroke: colour("--line"), width: 1 };
    const isTime = !told.x;
    return {
      width: Math.max(plot.clientWidth, 200),
      height: 220,
      tzDate: (epoch) => uPlot.tzDate(new Date(epoch * 1000), "Etc/UTC"),
      scales: { x: { time: isTime }, y: { range: span(told) } },
      axes: [
        { stroke: ink, grid, ticks: grid, ...(isTime ? { values: ticks } : {}) },
        { stroke: ink, grid, ticks: grid, size: 72, values: (_, places) => places.map((value) => figure(value, told.unit)) },
      ],
      series: [
        { label: isTime ? "UTC" : told.x, value: (_, at) => (at === null ? "–" : isTime ? moment(at) : String(at)) },
        ...told.series.map((line, place) => ({
          label: line.name,
          stroke: colour(LINES[place % LINES.length]),
          width: 1.8,
          dash: DASHES[place % DASHES.length],
          spanGaps: false,
          value: (_, value) => figure(value, told.unit),
        })),
      ],
      cursor: { y: false, drag: { x: true, y: false }, bind: { dblclick: () => () => { chart.reset.click(); return null; } } },
      hooks: {
        drawAxes: [(u) => limits(u, told)],
        draw: [(u) => happened(u, told)],
        setCursor: [(u) => near(chart, u)],
        setScale: [(u, key) => { if (key === "x") zoomed(chart, u); }],
      },
    };
  }
  // From where to where: what was asked for, or what there is.
  function whole(told) { return told.span || [told.times[0], told.times[told.times.length - 1]]; }
  function near(chart, u) {
    const found = u.cursor.left < 0 ? [] : chart.told.marks.filter((mark) => Math.abs(u.valToPos(mark.at, "x") - u.cursor.left) <= NEAR_PX);
    chart.note.textContent = found.length ? found.map((mark) => `${moment(mark.at)}: ${mark.text}`).join(" · ") : chart.words;
  }
  function zoomed(chart, u) {
    const { min, max } = u.scales.x, [first, last] = whole(chart.told);
    chart.zoom = min > first + 0.5 || max < last - 0.5 ? { min, max } : null;
    chart.reset.hidden = chart.zoom === null;
  }

  // --- one figure
  function cell(row, kind, text, scope) {
    const made = document.createElement(kind);
    made.textContent = text;
    if (scope) made.scope = scope;
    row.append(made);
  }
  function table(chart) {
    const { told } = chart, made = document.createElement("table"), head = made.createTHead().insertRow(), body = made.createTBody();
    for (const name of [told.x || "Time (UTC)", ...told.series.map((line) => line.name)]) cell(head, "th", name, "col");
    for (let place = told.times.length - 1; place >= Math.max(0, told.times.length - MOST_ROWS); place--) {
      const row = body.insertRow();
      cell(row, "th", told.x ? String(told.times[place]) : moment(told.times[place]), "row");
      for (const line of told.series) cell(row, "td", figure(line.values[place], told.unit));
    }
    for (const mark of told.marks) {
      const row = body.insertRow();
      cell(row, "th", moment(mark.at), "row");
      cell(row, "td", mark.text);
      row.lastChild.colSpan = Math.max(1, told.series.length);
    }
    chart.table.replaceChildren(made);
  }
  function sentence(told) {
    const known = told.series.some((line) => line.values.some((value) => value !== null));
    if (!known) return "Nothing was measured in this time.";
    const { low = null, high = null } = told.band || {};
    const parts = [];
    if (Number.isFinite(told.baseline)) parts.push(`dotted: baseline ${figure(told.baseline, told.unit)}`);
    if (low !== null) parts.push(`shaded: below the limit ${figure(low, told.unit)}`);
    if (high !== null) parts.push(`shaded: above the limit ${figure(high, told.unit)}`);
    return parts.join("; ") + (told.note ? `${parts.length ? ". " : ""}${told.note}` : "");
  }
  function draw(chart) {
    const { told } = chart, kept = chart.zoom;
    chart.u?.destroy();
    chart.u = null;
    chart.words = sentence(told);
    chart.note.textContent = chart.words;
    table(chart);
    const empty = !told.series.some((line) => line.values.some((value) => value !== null));
    chart.figure.classList.toggle("empty", empty);
    if (empty) { chart.reset.hidden = true; return; }
    chart.u = new uPlot(options(chart), [told.times, ...told.series.map((line) => line.values)], chart.plot);
    const [min, max] = whole(told);
    if (kept || told.span) chart.u.setScale("x", kept || { min, max });
    chart.figure.dataset.drawn = told.times.length;
  }
  async function load(chart) {
    chart.at = Date.now();
    try {
      const answer = await fetch(chart.figure.dataset.chart, { headers: { Accept: "application/json" } });
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.message || `status ${answer.status}`);
      chart.told = { marks: [], band: null, baseline: null, ...told };
      draw(chart);
    } catch (error) {
      chart.words = `The numbers could not be fetched: ${error.message}`;
      chart.note.textContent = chart.words;
    }
  }
  function begin(element) {
    const reset = document.createElement("button");
    reset.type = "button"; reset.className = "plain reset"; reset.textContent = "Show all again"; reset.hidden = true;
    const chart = { figure: element, plot: element.querySelector(".plot"), note: element.querySelector("[data-note]"), table: element.querySelector("[data-table]"), reset, zoom: null, words: "", at: 0, told: null, u: null, timer: null };
    reset.addEventListener("click", () => { chart.zoom = null; if (chart.told) draw(chart); });
    chart.note.after(reset);
    new ResizeObserver(() => chart.u?.setSize({ width: Math.max(chart.plot.clientWidth, 200), height: 220 })).observe(chart.plot);
    shown.set(element, chart);
    return chart;
  }
  async function loadAll(charts) {
    const queue = [...charts];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => { while (queue.length) await load(queue.shift()); }));
  }
  function look() {
    for (const element of shown.keys()) if (!element.isConnected) { shown.get(element).u?.destroy(); shown.delete(element); }
    loadAll([...document.querySelectorAll("figure[data-chart]")].filter((element) => !shown.has(element)).map(begin));
  }

  look();
  document.addEventListener("omniloop:live", look);
  document.addEventListener("omniloop:changed", (event) => {
    for (const chart of shown.values()) {
      if (chart.timer || !event.detail.includes(chart.figure.dataset.topic || "measurements")) continue;
      chart.timer = setTimeout(() => { chart.timer = null; load(chart); }, Math.max(200, chart.at + LEAST_PAUSE_MS - Date.now()));
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const chart of shown.values()) if (chart.told) draw(chart);
  });
})();
