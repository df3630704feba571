// The book's instruments: a figure of volumes at a width, a heatmap to point at, a walk along a path of images.
// Each is an element with its data as JSON inside, made by smooth_interpolation.book.explore. Nothing is loaded; colours come
// from book.css, so that both themes hold; every control is a slider or a list, so that keys work as the pointer does.
(() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 320, HEIGHT = 220, LEFT = 46, RIGHT = 8, NAMES = 28, TOP = 24, BOTTOM = 36;
  const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const draw = (parent, name, attributes = {}, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  };
  const short = value => value === null || value === undefined ? "–" : value === 0 ? "0"
    : Math.abs(value) >= 1e4 || Math.abs(value) < 1e-2 ? value.toExponential(1).replace("e+", "e").replace(".0e", "e") : String(+value.toPrecision(value > 0.99 && value < 1 ? 3 : 2));

  // A labelled control; `changed` is called with its value at once and whenever it moves.
  const slider = (label, count, start, name, changed) => {
    const input = make("input", {type: "range", min: 0, max: count - 1, step: 1, value: start});
    const shown = make("span", {class: "value"}, name(start));  // the slider itself announces it
    input.addEventListener("input", () => set(+input.value));
    const set = value => {
      input.value = value;
      shown.textContent = name(value);
      input.setAttribute("aria-valuetext", name(value));
      changed(value);
    };
    input.setAttribute("aria-valuetext", name(start));
    return {element: make("label", {}, make("span", {}, label), input, shown), set};
  };
  const list = (label, names, changed) => {
    const select = make("select", {}, ...names.map((name, i) => make("option", {value: i}, name)));
    select.addEventListener("change", () => changed(+select.value));
    return make("label", {}, make("span", {}, label), select);
  };
  const table = (head, rows) => {
    const cells = (tag, values) => values.map((value, i) =>
      make(i || tag === "th" ? tag : "th", tag === "th" ? {scope: "col"} : i ? {} : {scope: "row"}, value));
    return make("table", {}, make("thead", {}, make("tr", {}, ...cells("th", head))),
      make("tbody", {}, ...rows.map(row => make("tr", {}, ...cells("td", row)))));
  };
  const scrolling = (label, content) => make("div", {class: "scrolls", tabindex: 0, role: "group", "aria-label": label}, content);

  const ticks = (low, high, log) => {
    if (log) {
      const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
      const step = Math.max(1, Math.ceil((last - first) / 4)), found = [];
      for (let power = first; power <= last; power += step) found.push(10 ** power);
      return found.length > 1 ? found : [low, high];
    }
    const rough = (high - low) / 4 || 1, unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(f => f * unit).find(s => s >= rough), found = [];
    for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) found.push(value);
    return found;
  };
  const scale = (low, high, from, to, log) => {
    const f = log ? Math.log : x => x, span = f(high) - f(low) || 1;
    return value => from + (f(value) - f(low)) / span * (to - from);
  };

  // Lines over x, each {y, class, mark, apart, colour, name}: a mark is the index of a point that is circled, apart are those of
  // crosses beside the line, a name stands at its end.
  // `rules` are vertical lines, each {x, class}; `places` the ticks of x, each [x, text].
  const chart = (svg, {title, xlabel, x, lines, log, bottom, top, xlog, rules = [], places}) => {
    svg.replaceChildren();
    const values = lines.flatMap(line => line.y).filter(y => y !== null && (!log || y > 0));
    if (!values.length) return;
    const low = bottom ?? Math.min(...values), high = top ?? Math.max(...values), end = WIDTH - (lines[0].name ? NAMES : RIGHT);
    const across = scale(x[0], x[x.length - 1], LEFT, end, xlog);
    const up = scale(low, high === low ? low + 1 : high, HEIGHT - BOTTOM, TOP, log);
    draw(svg, "text", {x: LEFT, y: 15, class: "title"}, title);
    for (const value of ticks(low, high, log)) {
      draw(svg, "line", {x1: LEFT, x2: end, y1: up(value), y2: up(value), class: "grid"});
      draw(svg, "text", {x: LEFT - 5, y: up(value) + 4, "text-anchor": "end"}, short(value));
    }
    const written = [];  // the first of those that would touch
    for (const [value, text] of places ?? ticks(x[0], x[x.length - 1], xlog).map(value => [value, short(value)])) {
      if (written.some(other => Math.abs(other - across(value)) < 18)) continue;
      written.push(across(value));
      draw(svg, "text", {x: across(value), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle"}, text);
    }
    draw(svg, "text", {x: (LEFT + end) / 2, y: HEIGHT - 5, "text-anchor": "middle"}, xlabel);
    for (const rule of rules)
      draw(svg, "line", {x1: across(rule.x), x2: across(rule.x), y1: TOP, y2: HEIGHT - BOTTOM, class: rule.class});
    for (const line of lines) {
      const points = line.y.map((y, i) => y === null || (log && y <= 0) ? null : [across(x[i]), up(y)]);
      const apart = (line.apart ?? []).map(i => points[i]).filter(Boolean), joined = points.filter(p => !apart.includes(p));
      const path = d => {
        const drawn = draw(svg, "path", {class: `line ${line.class}`, d});
        if (line.colour) drawn.style.setProperty("--colour", line.colour);
      };
      path(joined.map((p, i) => p && (i && joined[i - 1] ? "L" : "M") + p.map(v => v.toFixed(1)).join(" ")).filter(Boolean).join(""));
      for (const [a, b] of apart) path(`M${a - 3} ${b - 3}l6 6m-6 0l6 -6`);
      if (line.mark !== undefined && points[line.mark])
        draw(svg, "circle", {cx: points[line.mark][0], cy: points[line.mark][1], r: 4.5, class: `mark ${line.class}`});
    }
    const last = line => line.y[line.y.length - 1] ?? low;  // names, none on another, first pushed up and then down
    const named = lines.filter(line => line.name).sort((a, b) => last(a) - last(b)), heights = [];
    for (const line of named) heights.push(Math.min(up(last(line)) + 4, (heights[heights.length - 1] ?? HEIGHT) - 11));
    for (let i = named.length - 1, free = TOP + 4; i >= 0; free = heights[i--] + 11) heights[i] = Math.max(heights[i], free);
    named.forEach((line, i) =>
      draw(svg, "text", {x: end + 9, y: heights[i], class: "of-line"}, line.name).style.setProperty("--colour", line.colour));
  };
  const canvas = label => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    return svg;
  };
  const spreads = values => {
    const positive = values.filter(v => v > 0);
    return positive.length > 0 && Math.max(...positive) > 10 * Math.min(...positive);
  };

  // (a) Choose a width, and see what a figure of volumes has there, on the figure's own axes.
  const volumes = (box, data) => {
    let subset = 0, chosen = data.start, allowed = 0;
    const charts = data.metrics.map(metric => canvas(`${metric.title} against base width, a curve for each volume size`));
    const numbers = scrolling("Numbers of the chosen width", ""), readout = make("p", {class: "readout", role: "status"});
    const show = () => {
      const [tolerance, threshold] = data.thresholds[allowed], limit = threshold === null ? [] : [threshold];
      data.metrics.forEach((metric, i) => chart(charts[i], {
        title: metric.title, xlabel: "base width w", x: data.widths, xlog: data.log, bottom: 0, top: i ? Math.max(...metric.values.flat(2)) : 1,
        places: [data.widths[chosen], ...limit, data.widths[data.widths.length - 1], ...data.widths].map(w => [w, w]),
        rules: [{x: data.widths[chosen], class: "chosen"}, ...limit.map(w => ({x: w, class: "threshold"}))],
        lines: metric.values[subset].map((y, k) => ({
          y, class: k ? "size" : "size point", colour: k ? data.colours[k - 1] : "var(--ink)", name: String(data.strengths[k]), mark: chosen,
          apart: data.apart})),
      }));
      readout.textContent = `w = ${data.widths[chosen]}. ` + (threshold === null ? "No threshold" : `Threshold (dotted): w = ${threshold}`)
        + `, with a training error of up to ${tolerance}.`;
      numbers.replaceChildren(table([data.unit, ...data.metrics.map(metric => metric.title)], data.strengths.map((k, i) =>
        [i ? String(k) : "0 (the point)", ...data.metrics.map(metric => short(metric.values[subset][i][chosen]))])));
    };
    const width = slider("Width", data.widths.length, chosen, i => `w = ${data.widths[i]}`, i => { chosen = i; show(); });
    const tolerance = slider("Tolerance", data.thresholds.length, 0, i => data.thresholds[i][0], i => { allowed = i; show(); });
    box.append(
      make("div", {class: "controls"}, width.element, tolerance.element,
        ...data.subsets.length > 1 ? [list("Points", data.subsets, i => { subset = i; show(); })] : []),
      readout, make("div", {class: "charts two"}, ...charts), numbers);
    show();
  };

  // (c) Point at a heatmap, or move its sliders.
  const heatmap = (box, data) => {
    let shown = 0, column = data.start, row = data.epochs.length - 1;
    const map = canvas("Heatmap over base width, to the right, and epoch, upwards; the sliders choose a cell of it");
    const course = canvas("The metric over the epochs, at the chosen width");
    const readout = make("p", {class: "readout", role: "status"});
    const wide = (WIDTH - LEFT - RIGHT) / data.widths.length, tall = (HEIGHT - TOP - BOTTOM) / data.epochs.length;
    const place = (i, j) => ({x: LEFT + i * wide, y: HEIGHT - BOTTOM - (j + 1) * tall, width: wide, height: tall});
    const colour = part => {
      const at = Math.min(1, Math.max(0, part)) * (VIRIDIS.length - 1), i = Math.min(Math.floor(at), VIRIDIS.length - 2);
      const channels = [1, 3, 5].map(c => {
        const [a, b] = [VIRIDIS[i], VIRIDIS[i + 1]].map(text => parseInt(text.slice(c, c + 2), 16));
        return Math.round(a + (b - a) * (at - i));
      });
      return `rgb(${channels})`;
    };
    let cell;
    const paint = () => {
      const metric = data.metrics[shown], flat = metric.values.flat().filter(v => v !== null && (!metric.log || v > 0));
      const sorted = [...flat].sort((a, b) => a - b), top = sorted[Math.floor((sorted.length - 1) * (metric.log ? 1 : 0.85))];
      const part = scale(sorted[0], top, 0, 1, metric.log);
      map.replaceChildren();
      draw(map, "text", {x: LEFT, y: 15, class: "title"}, metric.title);
      metric.values.forEach((values, i) => values.forEach((value, j) => {
        if (value !== null && (!metric.log || value > 0))
          draw(map, "rect", {...place(i, j), fill: colour(part(value)), "shape-rendering": "crispEdges"});
      }));
      const each = Math.ceil(data.widths.length / 8), other = Math.ceil(data.epochs.length / 6);
      data.widths.forEach((w, i) => i % each || draw(map, "text",
        {x: LEFT + (i + 0.5) * wide, y: HEIGHT - BOTTOM + 15, "text-anchor": "middle"}, w));
      data.epochs.forEach((epoch, j) => j % other || draw(map, "text",
        {x: LEFT - 5, y: HEIGHT - BOTTOM - (j + 0.5) * tall + 4, "text-anchor": "end"}, epoch));
      draw(map, "text", {x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 5, "text-anchor": "middle"}, "base width w; upwards, epoch");
      const at = data.widths.indexOf(data.threshold);
      if (at >= 0) for (const kind of ["edge", "dashes"])
        draw(map, "line", {x1: LEFT + (at + 0.5) * wide, x2: LEFT + (at + 0.5) * wide, y1: TOP, y2: HEIGHT - BOTTOM, class: kind});
      cell = draw(map, "rect", {...place(column, row), class: "cell"});
    };
    const show = () => {
      const metric = data.metrics[shown], value = metric.values[column][row];
      for (const [key, number] of Object.entries(place(column, row))) cell.setAttribute(key, number);
      readout.textContent = `w = ${data.widths[column]}, epoch ${data.epochs[row]}: ${metric.title}: ${short(value)}`;
      chart(course, {title: `At w = ${data.widths[column]}`, xlabel: "epoch", x: data.epochs, xlog: data.epochs[0] > 0,
        log: metric.log && spreads(metric.values.flat()), lines: [{y: metric.values[column], class: "chosen", mark: row}]});
    };
    const width = slider("Width", data.widths.length, column, i => `w = ${data.widths[i]}`, i => { column = i; show(); });
    const epoch = slider("Epoch", data.epochs.length, row, j => String(data.epochs[j]), j => { row = j; show(); });
    const point = event => {
      const size = map.getBoundingClientRect(), unit = WIDTH / size.width;
      const i = Math.floor(((event.clientX - size.left) * unit - LEFT) / wide);
      const j = Math.floor((HEIGHT - BOTTOM - (event.clientY - size.top) * unit) / tall);
      if (i < 0 || j < 0 || i >= data.widths.length || j >= data.epochs.length) return;
      width.set(i);
      epoch.set(j);
    };
    map.addEventListener("pointermove", point);
    map.addEventListener("pointerdown", point);
    box.append(
      make("div", {class: "controls"},
        list("Metric", data.metrics.map(m => m.title), i => { shown = i; paint(); show(); }), width.element, epoch.element),
      readout, make("div", {class: "charts"}, map, course));
    paint();
    show();
  };

  // (b) Walk along a path: the image fades from anchor to anchor, and the networks say what they see.
  const walk = (box, data) => {
    let example = 0, path = 0, step = 0;
    const picture = make("canvas", {width: 32, height: 32, role: "img"}), words = make("p", {class: "note"});
    const loss = canvas("Loss along the path, of each network"), sharpness = canvas("Jacobian norm along the path, of each network");
    const answers = scrolling("What the networks predict", ""), anchors = data.strengths.length;
    const x = Array.from({length: (anchors - 1) * data.substeps + 1}, (_, i) => i / data.substeps);
    const sprites = data.examples.map(e => { const image = new Image(); image.onload = () => show(); image.src = e.sprite; return image; });
    const highest = key => Math.max(...data.examples.flatMap(e => e.paths.flatMap(networks => networks.flatMap(n => n[key]))));
    const erased = i => {
      const k = Math.floor(x[i]), part = x[i] - k;
      return short(part ? data.strengths[k] + part * (data.strengths[k + 1] - data.strengths[k]) : data.strengths[k]);
    };
    const show = () => {
      const now = data.examples[example], networks = now.paths[path], sprite = sprites[example];
      const from = Math.floor(x[step]), part = x[step] - from, context = picture.getContext("2d");
      if (sprite.complete && sprite.naturalWidth) {
        const anchor = k => [(path * anchors + Math.min(k, anchors - 1)) * 32, 0, 32, 32, 0, 0, 32, 32];
        context.globalAlpha = 1;
        context.drawImage(sprite, ...anchor(from));
        context.globalAlpha = part;
        if (part) context.drawImage(sprite, ...anchor(from + 1));
      }
      picture.setAttribute("aria-label", `${now.title}, ${erased(step)} singular values erased`);
      words.textContent = now.title[0].toUpperCase() + now.title.slice(1) + ".";
      const lines = key => networks.map((n, i) => ({y: n[key], class: `network${i}`, mark: step}));
      const axes = {xlabel: "singular values erased", x, places: data.strengths.map((k, i) => [i, k]), bottom: 0};
      chart(loss, {...axes, title: "Loss", lines: lines("loss"), top: highest("loss")});
      chart(sharpness, {...axes, title: "Jacobian norm", lines: lines("jacobian"), top: highest("jacobian")});
      answers.replaceChildren(table(["network", "predicts", "gives the label", "loss"], networks.map((n, i) => [
        make("span", {class: `key network${i}`}, data.networks[i]), data.classes[n.predicted[step]],
        `${(100 * n.probability[step]).toFixed(0)}%`, short(n.loss[step])])));
    };
    const position = slider("Along the path", x.length, 0, i => `${erased(i)} erased`, i => { step = i; show(); });
    box.append(
      make("div", {class: "controls"},
        list("Image", data.examples.map(e => e.title), i => { example = i; show(); }),
        list("Path", data.examples[0].paths.map((_, p) => String(p + 1)), i => { path = i; show(); }), position.element),
      make("div", {class: "seen"}, make("div", {}, picture, words), answers), make("div", {class: "charts two"}, loss, sharpness));
    show();
  };

  const kinds = {volumes, heatmap, walk};
  const start = () => document.querySelectorAll(".explore").forEach(box => {
    const data = JSON.parse(box.querySelector("script").textContent);
    box.append(make("p", {class: "name"}, data.title));
    kinds[box.dataset.kind](box, data);
    box.hidden = false;
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
