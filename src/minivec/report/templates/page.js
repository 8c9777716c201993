"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const load = (id) => JSON.parse(byId(id).textContent);
  const data = load("data"), charts = load("charts");
  const A = data.A, B = data.B;
  if (data.paired && !B.texts) B.texts = A.texts;
  const K = data.near.length / data.rank.length;
  const number = (side, i) => (side.rows ? side.rows[i] : i);
  const label = (side, i) => (side.texts ? side.texts[i] : "row " + number(side, i).toLocaleString("en"));
  const FONT = "system-ui, sans-serif";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const element = (tag, attributes, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };

  // ---- charts: one Bokeh document, dressed in the colours of the page's theme ----
  const plots = {}, count = { A: data.rank.length };
  let points, place = [], focus, link, colorBy = "space", chosen = null;

  const dress = () => {
    const ink = css("--ink"), soft = css("--soft"), grid = css("--grid");
    const series = [css("--a"), css("--b"), css("--third")];
    const palette = Array.from({ length: 8 }, (_, i) => css("--c" + i));
    for (const plot of Object.values(plots)) {
      for (const axis of [...plot.below, ...plot.left]) {
        axis.setv({ axis_label_text_color: soft, major_label_text_color: soft, axis_line_color: css("--line"),
          major_tick_line_color: css("--line"), axis_label_text_font_style: "normal", axis_label_text_font_size: "12px",
          major_label_text_font_size: "12px", axis_label_text_font: FONT, major_label_text_font: FONT });
      }
      for (const each of [...plot.center, ...plot.above]) {
        if (each.type === "Grid") each.grid_line_color = grid;
        if (each.type === "Legend") each.setv({ border_line_color: null, background_fill_color: null, label_text_color: ink,
          label_text_font_size: "12px", label_text_font: FONT, padding: 0, margin: 0, spacing: 2, location: "left" });
      }
      for (const { glyph } of plot.renderers) {
        const name = glyph.name || "";
        if (name.startsWith("series")) {
          const color = series[Number(name.split(" ")[1])];
          for (const key of ["line_color", "fill_color"]) {
            if (key in glyph && glyph[key].value !== null) glyph[key] = { value: color };
          }
        } else if (name === "points") {
          glyph.fill_color = { field: "color" };
        } else if (name === "link line") {
          glyph.line_color = { value: css("--focus") };
        } else if (name === "focus mark") {
          glyph.setv({ fill_color: { field: "color" }, line_color: { value: css("--focus") } });
        }
      }
    }
    const own = (i) => series[i < count.A ? 0 : 1];
    const { at, cluster } = points.data;
    const color = Array.from(at, (i, k) => (colorBy === "space" ? own(i) : palette[cluster[k]]));
    points.data = { ...points.data, color };
    if (chosen !== null) show(...chosen);
  };

  const start = async () => {
    Bokeh.set_log_level("error");
    await Bokeh.embed.embed_items(charts.docs, charts.items);
    const doc = Bokeh.documents[Bokeh.documents.length - 1];
    for (const plot of doc.roots()) plots[plot.name] = plot;
    for (const renderer of plots.after.renderers) {
      const name = renderer.glyph.name;
      if (name === "points") points = renderer.data_source;
      if (name === "focus mark") focus = renderer.data_source;
      if (name === "link line") link = renderer.data_source;
    }
    const at = Array.from(points.data.at);  // rows of A, then of B, by number; the points are in another order
    at.forEach((i, k) => { place[i] = k; });
    const isA = (i) => i < count.A;
    points.data = {
      ...points.data,
      text: at.map((i) => (isA(i) ? label(A, i) : label(B, i - count.A))),
      side: at.map((i) => (isA(i) ? "A" : "B")),
      marker: at.map((i) => (isA(i) ? "circle" : "square")),
      color: at.map(() => "gray"),
    };
    points.selected.properties.indices.change.connect(() => {
      const picked = at[points.selected.indices[0]];
      if (picked !== undefined) show(isA(picked) ? "A" : "B", isA(picked) ? picked : picked - count.A, true);
    });
    const touch = matchMedia("(pointer: coarse)").matches;
    for (const plot of [plots.before, plots.after]) {
      if (touch) plot.toolbar.tools.filter((tool) => tool.type === "PanTool").forEach((tool) => { tool.active = false; });
      plot.home = null;
    }
    dress();
    document.documentElement.dataset.ready = "true";
  };

  const zoom = (factor) => {
    for (const plot of [plots.before, plots.after]) {
      const ranges = [plot.x_range, plot.y_range];
      plot.home = plot.home || ranges.map(({ start, end }) => [start, end]);
      ranges.forEach((range, i) => {
        const middle = (range.start + range.end) / 2, reach = ((range.end - range.start) / 2) * factor;
        const [low, high] = factor ? [middle - reach, middle + reach] : plot.home[i];
        range.setv({ start: low, end: high });
      });
    }
  };

  // ---- a chosen row: both its places in both pictures, and what it matches ----
  function show(side, i, announce = false) {
    chosen = [side, i];
    const a = side === "A" ? i : null;
    const b = side === "B" ? i : data.near[i * K];
    const places = [["A", a], ["B", b]].filter(([, row]) => row !== null);
    const marks = { x0: [], y0: [], x1: [], y1: [], color: [] }, line = {};
    for (const [name, row] of places) {
      for (const key of ["x0", "y0", "x1", "y1"]) marks[key].push(points.data[key][place[name === "A" ? row : count.A + row]]);
      marks.color.push(css(name === "A" ? "--a" : "--b"));
    }
    for (const step of [0, 1]) {
      for (const axis of ["x", "y"]) {
        line[axis + "a" + step] = a === null ? [] : [marks[axis + step][0]];
        line[axis + "b" + step] = a === null ? [] : [marks[axis + step][1]];
      }
    }
    focus.data = marks;
    link.data = line;
    const detail = byId("detail");
    detail.hidden = false;
    if (announce) {
      const lines = [element("p", {}, element("strong", { textContent: side + "  " }), label(side === "A" ? A : B, i))];
      if (a !== null) {
        lines.push(element("p", {}, element("strong", { textContent: "nearest in B  " }), label(B, b),
          " (cosine " + data.cosine[a * K].toFixed(2) + ")"));
        lines.push(element("p", {}, verdict(a)));
      }
      detail.replaceChildren(...lines);
    }
  }

  const good = (i) => data.rank[i] === 1;
  const tone = (i) => (!data.ticks ? "" : good(i) ? "ok" : data.paired ? "off" : "");  // one-sided is not wrong
  const verdict = (i) => {
    const rank = data.rank[i].toLocaleString("en");
    const words = data.paired ? ["partner found first", "partner at rank " + rank] : ["mutual match", "rank back " + rank];
    return element("span", { className: tone(i), textContent: words[good(i) ? 0 : 1] });
  };

  // ---- the table of matches ----
  const PAGE = 10;
  const haystack = data.rank.map((_, i) => (label(A, i) + "\n" + label(B, data.near[i * K])).toLowerCase());
  let order = [], shown = 0;

  const marked = (text, words) => {
    const node = document.createDocumentFragment();
    if (!words.length) { node.append(text); return node; }
    const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    text.split(new RegExp("(" + escaped.join("|") + ")", "gi")).forEach((part, i) => {
      node.append(i % 2 ? element("mark", { textContent: part }) : part);
    });
    return node;
  };

  const also = (what, text) =>
    element("p", { className: "also", title: text }, element("b", { textContent: what }), element("span", {}, text));
  const row = (i, words) => {
    const pick = element("button", { type: "button", className: "pick", title: "Show in the picture" }, marked(label(A, i), words));
    pick.addEventListener("click", () => {
      show("A", i, true);
      byId("picture").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    });
    const found = element("td", {}, element("p", {}, marked(label(B, data.near[i * K]), words)));
    for (let k = 1; k < K; k++) {
      found.append(also(data.cosine[i * K + k].toFixed(2), label(B, data.near[i * K + k])));
    }
    if (data.csls[i] !== data.near[i * K]) {
      found.append(also("by CSLS", label(B, data.csls[i])));
    }
    if (data.paired && !good(i) && B.texts) {
      found.append(also("partner", label(B, i)));
    }
    const rank = element("td", { className: "num" },
      element("span", { className: tone(i), textContent: (data.ticks && good(i) ? "✓ " : "") + data.rank[i].toLocaleString("en") }));
    const cosine = element("td", { className: "num", textContent: data.cosine[i * K].toFixed(2) });
    cosine.dataset.label = "cosine";
    rank.dataset.label = data.paired ? "partner's rank" : "rank back";
    const own = element("td", {}, pick);
    own.dataset.label = "A";
    found.dataset.label = "B";
    return element("tr", {}, own, found, cosine, rank);
  };

  const words = () => byId("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  const more = () => {
    const next = order.slice(shown, shown + PAGE);
    byId("rows").append(...next.map((i) => row(i, words())));
    shown += next.length;
    byId("more").hidden = shown >= order.length;
    byId("count").textContent = order.length.toLocaleString("en") + (order.length === 1 ? " row" : " rows") +
      (shown < order.length ? ", the first " + shown + " shown" : "");
  };
  const search = () => {
    const wanted = words(), which = byId("which").value, by = byId("order").value;
    order = [];
    data.rank.forEach((_, i) => {
      const fits = wanted.every((word) => haystack[i].includes(word) || String(number(A, i)) === word);
      if (fits && (which === "all" || (which === "good") === good(i))) order.push(i);
    });
    const cosine = (i) => data.cosine[i * K];
    const rules = { high: (i, j) => cosine(j) - cosine(i), low: (i, j) => cosine(i) - cosine(j), rank: (i, j) => data.rank[j] - data.rank[i] };
    if (rules[by]) order.sort(rules[by]);
    byId("rows").replaceChildren();
    shown = 0;
    more();
  };

  // ---- controls ----
  let waiting;
  byId("query").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); });
  byId("which").addEventListener("change", search);
  byId("order").addEventListener("change", search);
  byId("more").addEventListener("click", more);
  document.querySelectorAll("[data-zoom]").forEach((button) => {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  });
  document.querySelectorAll("[data-color]").forEach((button) => {
    button.addEventListener("click", () => {
      colorBy = button.dataset.color;
      document.querySelectorAll("[data-color]").forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      byId("legend-space").hidden = colorBy !== "space";
      byId("legend-cluster").hidden = colorBy !== "cluster";
      dress();
    });
  });
  const theme = (name) => {
    document.documentElement.dataset.theme = name;
    byId("theme").textContent = name === "dark" ? "Light" : "Dark";
    byId("theme").setAttribute("aria-label", "Switch to the " + (name === "dark" ? "light" : "dark") + " theme");
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  theme(system.matches ? "dark" : "light");
  system.addEventListener("change", () => { theme(system.matches ? "dark" : "light"); dress(); });
  byId("theme").addEventListener("click", () => {
    theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    dress();
  });

  search();
  start();
})();
