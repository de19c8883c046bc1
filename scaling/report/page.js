// The page of a study: reads the one table in it, and draws what the reader has chosen.
// Texts go in as text, never as HTML, and never into an expression.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const page = JSON.parse($("facts").textContent);
  const NUMBERS = ["params", "batch", "seed", "images_seen", "flops", "seconds", "images_per_second"];
  const all = parse($("csv").textContent);
  const views = {};

  // Rows of a CSV as objects; a cell may be quoted, and then hold commas, quotes and lines.
  function parse(text) {
    const rows = [[]];
    let cell = "", quoted = false;
    const close = () => { rows[rows.length - 1].push(cell); cell = ""; };
    for (let k = 0; k < text.length; k++) {
      const c = text[k];
      if (quoted) {
        if (c !== '"') cell += c;
        else if (text[k + 1] === '"') { cell += c; k++; }
        else quoted = false;
      } else if (c === '"') quoted = true;
      else if (c === ",") close();
      else if (c === "\n") { close(); rows.push([]); }
      else cell += c;
    }
    const [head, ...body] = rows.filter((row) => row.length);
    return body.map((row) => {
      const found = Object.create(null);
      head.forEach((name, k) => { found[name] = row[k]; });
      NUMBERS.forEach((name) => { found[name] = found[name] === "" ? null : Number(found[name]); });
      found.data = found.data_size || "all";
      return found;
    });
  }

  const checked = (name) =>
    new Set([...document.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value));

  function chosen() {
    const wanted = ["model", "data", "seed", "part"].map((name) => [name, checked(name)]);
    return all.filter((row) => wanted.every(([name, values]) => values.has(String(row[name]))));
  }

  // Runs that set a new minimum as x grows; of equal errors the cheapest.
  function frontier(rows) {
    const sorted = [...rows].sort((a, b) => a.x - b.x || a.y - b.y);
    let best = Infinity;
    return sorted.filter((row) => row.y < best && ((best = row.y), true));
  }

  // Each subset and variant has a law of its own: that of the one that is chosen.
  function lawOf(metric) {
    const laws = page.laws[metric], part = [...checked("part")];
    if (!laws) return { why: "none is fitted to this metric", curve: [] };
    if (part.length !== 1) return { why: "each subset or variant has its own; choose one", curve: [] };
    return laws[part[0]] || { why: "none is fitted to these runs", curve: [] };
  }

  // In two parts a side of the points fitted, so that each end of the span is in both.
  function law(axis, metric) {
    const found = lawOf(metric);
    if (axis !== "flops" || found.why) return [];
    const [first, last] = found.span, rows = [];
    const parts = [[0, first, true], [first, last, false], [last, Infinity, true]];
    parts.forEach(([from, to, beyond], part) => {
      for (const [x, y, low, high] of found.curve) {
        if (x >= from * (1 - 1e-4) && x <= to * (1 + 1e-4)) rows.push({ x, y, low, high, beyond, part });
      }
    });
    return rows;
  }

  function shown() {
    const axis = $("axis").value, metric = $("metric").value;
    const number = (text) => (text === "" || text == null ? NaN : Number(text));
    const rows = chosen().map((r) => ({ ...r, x: number(r[axis]), y: number(r[metric]) }));
    const drawn = rows.filter((r) => r.x > 0 && r.y > 0);
    return { axis, metric, rows, drawn, best: frontier(drawn) };
  }

  function curvesOf(rows) {
    const axis = $("curve-axis").value, points = [];
    for (const row of rows) {
      for (const pair of row.curve ? row.curve.split(" ") : []) {
        const [images, loss] = pair.split(":").map(Number);
        const x = axis === "flops" ? (row.flops * images) / row.images_seen : images;
        if (x > 0 && loss > 0) {
          points.push({ x, y: loss, run: row.run, model: row.model, data: row.data, going: row.state !== "done" });
        }
      }
    }
    return points;
  }

  function theme(narrow, format) {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    const ink = of("ink"), quiet = of("quiet"), font = "system-ui, sans-serif";
    const axis = { labelColor: quiet, titleColor: ink, domainColor: quiet, tickColor: quiet, gridColor: of("grid"), labelFontSize: 12, titleFontSize: 13, titleFontWeight: 500, labelOverlap: true, tickCount: narrow ? 5 : 8, format: "~g" };
    const below = { orient: "bottom", columns: 4, labelLimit: 110 };
    return {
      background: "transparent", font, view: { stroke: null },
      axis, axisX: { format },
      legend: { labelColor: ink, titleColor: quiet, labelFontSize: 12, titleFontSize: 12, labelLimit: 180, symbolFillColor: quiet, ...(narrow ? below : {}) },
      style: {
        band: { color: quiet, opacity: 0.2 }, law: { color: ink },
        ring: { color: ink, filled: false, strokeWidth: 1.3 },
        picked: { color: of("mark"), filled: false, opacity: 1 },
      },
    };
  }

  const formatOf = (axis) => (axis === "flops" ? "~e" : axis === "seconds" ? "~g" : "~s");

  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Within less than a decade of a logarithmic axis Vega labels low first digits alone: label each.
  function labelAll(spec, channel, columns, format) {
    const values = Object.values(spec.datasets).flat().flatMap((row) => columns.map((c) => row[c])).filter((v) => v > 0);
    const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, 0]);
    if (!(high < 10 * low)) return;
    for (const { encoding } of spec.layer) {
      encoding[channel] = { ...encoding[channel], axis: { labelExpr: `format(datum.value, '${format}')` } };
    }
  }

  async function draw(name, datasets, titles) {
    const put = (key, value) => {
      if (value === "@x") return titles.x;
      if (value === "@y") return titles.y;
      if (key === "scheme") return { name: value, extent: dark.matches ? [0.4, 1] : [0, 0.8] };
      return value;
    };
    const spec = JSON.parse(JSON.stringify(page.charts[name]), put);
    spec.datasets = datasets;
    labelAll(spec, "x", ["x"], titles.format);
    labelAll(spec, "y", ["y", "low", "high"], "~g");
    const target = $(`${name}-chart`), narrow = target.clientWidth < 700;
    spec.config = theme(narrow, titles.format);
    spec.autosize = { type: "fit-x", contains: "padding" };
    const before = views[name];
    const made = await vegaEmbed(target, spec, {
      actions: false, ast: true, renderer: "svg", tooltip: { disableDefaultStyle: false, theme: "custom" },
    });
    if (before) before.finalize();
    views[name] = made;
    made.view.addEventListener("click", (_, item) => {
      if (item && item.datum && item.datum.run) pick(item.datum.run);
    });
  }

  function fill(element, tag, texts) {
    for (const text of texts) {
      const child = document.createElement(tag);
      child.textContent = text;
      element.append(child);
    }
  }

  const round = (value) => {
    if (value === null || value === "" || value === undefined) return "";
    const number = Number(value);
    return Number.isFinite(number) ? String(Number(number.toPrecision(4))) : String(value);
  };

  const several = all.some((row) => row.part);
  const COLUMNS = ["model", "params", "data", ...(several ? ["part"] : []), "images_seen", "seed", "flops", "seconds", "images_per_second", "state"];
  const HEADS = { part: "subset or variant", params: "parameters", data: "data size", images_seen: "images seen", flops: "FLOPs", images_per_second: "images/s" };
  const cell = (row, name) =>
    ["model", "data", "part", "state"].includes(name) ? row[name] : name === "seconds" || name === "images_per_second" ? round(row[name]) : name === "flops" ? Number(row.flops).toPrecision(4) : String(row[name]);

  function table(rows) {
    const metrics = Object.keys(page.metrics), head = document.createElement("thead"), body = document.createElement("tbody");
    const line = document.createElement("tr");
    fill(line, "th", ["run", ...COLUMNS.map((c) => HEADS[c] || c), ...metrics.map((m) => page.metrics[m])]);
    line.querySelectorAll("th").forEach((th) => { th.scope = "col"; });
    head.append(line);
    for (const row of rows) {
      const tr = document.createElement("tr");
      fill(tr, "th", [row.run]);
      tr.firstChild.scope = "row";
      fill(tr, "td", [...COLUMNS.map((c) => cell(row, c)), ...metrics.map((m) => round(row[m]))]);
      body.append(tr);
    }
    $("table").replaceChildren(head, body);
  }

  function options(rows) {
    const select = $("run"), before = select.value;
    const none = document.createElement("option");
    none.value = ""; none.textContent = "none";
    select.replaceChildren(none);
    for (const row of rows) {
      const option = document.createElement("option");
      option.value = row.run;
      const part = row.part ? `${row.part}, ` : "";
      option.textContent = `${row.model}, ${row.images_seen} images of ${row.data}, ${part}seed ${row.seed} (${row.run})`;
      select.append(option);
    }
    select.value = rows.some((row) => row.run === before) ? before : "";
  }

  function facts(run) {
    const list = $("picked");
    list.replaceChildren();
    const row = all.find((each) => each.run === run);
    if (!row) return;
    const pairs = [["run", row.run], ...COLUMNS.map((c) => [HEADS[c] || c, cell(row, c)]),
      ...Object.keys(page.metrics).map((m) => [page.metrics[m], round(row[m])])];
    for (const [name, value] of pairs) {
      const group = document.createElement("div");
      fill(group, "dt", [name]);
      fill(group, "dd", [value === "" ? "not known" : value]);
      list.append(group);
    }
  }

  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  function say(now) {
    const { axis, metric, rows, drawn, best } = now, found = lawOf(metric);
    const words = [`${drawn.length} of ${counted(all.length, "run")} shown, ${best.length} on the frontier.`];
    const hidden = rows.length - drawn.length;
    if (hidden) words.push(`${counted(hidden, "run")} chosen without ${page.metrics[metric]} above 0 yet.`);
    if (axis !== "flops") words.push("Laws are fitted against FLOPs, and drawn there alone.");
    else if (found.why) words.push(`The law is not drawn: ${found.why}.`);
    if (all.some((row) => row.state !== "done")) words.push("Provisional: not all runs are done.");
    $("shown").textContent = words.join(" ");
  }

  async function drawAll() {
    const now = shown(), run = $("run").value;
    const titles = { x: page.axes[now.axis], y: page.metrics[now.metric], format: formatOf(now.axis) };
    say(now);
    const points = curvesOf(now.rows);
    const count = new Set(points.map((p) => p.run)).size;
    $("curves-shown").textContent = `${counted(count, "curve")} of ${counted(now.rows.length, "run")} chosen.`;
    const slim = ({ curve, ...row }) => ({ ...row, seconds: round(row.seconds), y: row.y });
    await draw("frontier", {
      runs: now.drawn.map(slim), best: now.best.map(slim), law: law(now.axis, now.metric),
      picked: now.drawn.filter((row) => row.run === run).map(slim),
    }, titles);
    const along = $("curve-axis").value;
    await draw("curves", { curves: points, picked: points.filter((p) => p.run === run) },
      { x: page.curve_axes[along], y: "training loss, nats", format: formatOf(along) });
    document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn || 0) + 1);
  }

  let last = Promise.resolve();
  const queue = () => { last = last.then(drawAll).catch((error) => { $("shown").textContent = String(error); }); };

  function pick(run) {
    $("run").value = run;
    facts(run);
    queue();
  }

  function change() {
    const rows = chosen();
    options(rows);
    table(rows);
    facts($("run").value);
    queue();
  }

  for (const [name, words] of Object.entries(page.axes)) {
    const option = document.createElement("option");
    option.value = name; option.textContent = words;
    $("axis").append(option);
  }
  $("controls").addEventListener("change", (event) => (event.target.id === "run" ? pick(event.target.value) : change()));
  $("controls").addEventListener("reset", () => setTimeout(change));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("curve-axis").addEventListener("change", queue);
  dark.addEventListener("change", queue);
  let width = innerWidth;
  addEventListener("resize", () => { if ((width < 700) !== (innerWidth < 700)) queue(); width = innerWidth; });
  change();
})();
