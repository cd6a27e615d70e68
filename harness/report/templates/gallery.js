"use strict";
/*
 * The gallery's page. No library, no request: the data is the JSON beside this script.
 *
 * data.pictures  [prompt, index into data.tasks, image index, seed, prompt id], a row each; seed is
 *                the experiment's, and -1 where other tools made the image
 * data.models    {name, columns: [{label, folder, base, values, details}]}, a column per method;
 *                values[metric][i] and details[i] belong to data.pictures[i], null where there is
 *                no such image or the metric's own rules leave it out; base is the folder of the
 *                column that changes are told against
 * data.verdict   the metric, 1 or 0, that says whether an image is right; empty without one
 * data.side_px, data.crisp   of the image files, images/<folder>/<i><column.suffix>
 */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const ROWS_PER_PAGE = 12;
  /* What became of an image against the baseline: sign and words, never colour alone. */
  const CHANGES = {
    all: ["", "all"],
    fixed: ["▲", "fixed"],
    broken: ["▼", "broken"],
    right: ["✓", "right in both"],
    wrong: ["✗", "wrong in both"],
    disagree: ["≠", "score and verdict disagree"],
  };
  const ORDERS = {
    prompt: "by prompt",
    gain: "largest gain first",
    loss: "largest loss first",
  };
  const at = (id) => document.getElementById(id);
  const state = {
    model: 0, task: "", text: "", method: "", change: "all", order: "prompt", measure: "", row: "", page: 0,
  };
  const hidden = { columns: new Set(), metrics: new Set() };

  /** An element with properties and children; text is never read as HTML. */
  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  const model = () => data.models[state.model];
  const others = () => model().columns.filter((column) => column.folder !== column.base);
  const chosen = () => others().find((column) => column.label === state.method) ?? others()[0];
  const baseOf = (column) => model().columns.find((other) => other.folder === column.base);
  const value = (column, metric, i) => column.values[metric][i];
  /** "right", "wrong" or "left out"; empty where the benchmark has no verdict. */
  const verdictOf = (column, i) => data.verdict
    && (["wrong", "right"][value(column, data.verdict, i)] ?? "left out");
  const isThere = (column, i) => data.metrics.some((name) => value(column, name, i) !== null);
  const words = (name) => name.replaceAll("_", " ");

  /** What became of picture i under a column, as a key of CHANGES; empty if one is not judged. */
  function changeOf(column, i) {
    const [before, after] = [verdictOf(baseOf(column), i), verdictOf(column, i)];
    if ([before, after].includes("left out")) return "";
    if (before === after) return after;
    return after === "right" ? "fixed" : "broken";
  }

  /** By how much a measure rose against the base; NaN where one of both has none. */
  function gainOf(column, i) {
    const [before, after] = [baseOf(column), column].map((one) => value(one, gainMetric(), i));
    return before === null || after === null ? NaN : after - before;
  }

  /** Whether a picture is one of those that a key of CHANGES names. */
  function fits(column, i, key) {
    if (key === "all") return true;
    const change = changeOf(column, i);
    if (key !== "disagree") return change === key;
    return (change === "fixed" && gainOf(column, i) < 0) || (change === "broken" && gainOf(column, i) > 0);
  }

  /** Pictures of the model that have the task and the text, whatever became of them. */
  function candidates() {
    const column = chosen() ?? model().columns[0];
    const text = state.text.trim().toLowerCase();
    return data.pictures.map((_, i) => i).filter((i) => {
      const [prompt, task] = data.pictures[i];
      if (state.row !== "" && i !== Number(state.row)) return false;
      return isThere(column, i)
        && (state.task === "" || task === Number(state.task))
        && prompt.toLowerCase().includes(text);
    });
  }

  /** The metric that "gain" is measured by: the chosen one, else the first besides the verdict. */
  const gainMetric = () => data.metrics.find((name) => name === state.measure)
    ?? data.metrics.find((name) => name === "train_reward")
    ?? data.metrics.find((name) => name !== data.verdict) ?? data.verdict;

  function ordered(pictures) {
    const column = chosen();
    const task = (i) => data.pictures[i][1];
    if (state.order === "prompt" || !column) return pictures.toSorted((i, j) => task(i) - task(j));
    const sign = state.order === "gain" ? -1 : 1;
    // What has no gain comes last.
    const place = (i) => (Number.isNaN(gainOf(column, i)) ? Infinity : sign * gainOf(column, i));
    return pictures.toSorted((i, j) => place(i) - place(j) || 0);
  }

  const sourceOf = (column, i) => `images/${column.folder}/${i}${column.suffix}`;

  function altOf(column, i) {
    const [prompt, , index] = data.pictures[i];
    const why = column.details[i] ? ` (${column.details[i]})` : "";
    const verdict = verdictOf(column, i);
    const said = verdict && `: ${verdict}${verdict === "right" ? "" : why}`;
    return `${words(column.label)}, image ${index} of “${prompt}”${said}`;
  }

  function scoresOf(column, i) {
    const list = make("dl");
    for (const name of data.metrics.filter((m) => m !== data.verdict && !hidden.metrics.has(m))) {
      const number = value(column, name, i);
      list.append(
        make("dt", { textContent: words(name), title: data.meanings[name] || words(name) }),
        make("dd", { textContent: number === null ? "–" : number.toFixed(2).replace("-", "−") }),
      );
    }
    return list;
  }

  /** One image with verdict, change and scores; a button that enlarges it unless already large. */
  function shot(column, i, large = false) {
    const verdict = verdictOf(column, i);
    const image = make("img", { alt: altOf(column, i), width: data.side_px, height: data.side_px });
    image.loading = "lazy";
    image.decoding = "async";
    image.src = sourceOf(column, i);
    const frame = make(large ? "div" : "button", { className: "open" }, image);
    if (!large) {
      frame.type = "button";
      frame.title = "Enlarge";
      frame.addEventListener("click", () => zoom(column, i));
    }
    const sign = make("p", { className: "sign" });
    sign.append({ right: "✓ right", wrong: "✗ wrong" }[verdict] ?? verdict);
    if (verdict && column.folder !== column.base && changeOf(column, i)) {
      const [mark, word] = CHANGES[changeOf(column, i)];
      const change = ["▲", "▼"].includes(mark) ? `${mark} ${word}` : "= same";
      sign.append(make("span", { className: "change", textContent: `  ${change}` }));
    }
    const name = make("p", { className: "name", textContent: words(column.label) });
    const looks = ["right", "wrong"].includes(verdict) ? verdict : "unjudged";
    const item = make("li", { className: `shot ${looks}` });
    item.classList.toggle("chosen", column === chosen());
    item.append(frame, name, sign, scoresOf(column, i));
    if (large && column.details[i]) {
      item.append(make("p", { className: "why", textContent: column.details[i] }));
    }
    return item;
  }

  function metaOf(i) {
    const [, task, index, seed, id] = data.pictures[i];
    const noise = seed < 0 ? "noise unknown" : `noise of seed ${seed}, ${id}, image ${index}`;
    return `${model().name} · ${words(data.tasks[task])} · ${noise}`;
  }

  function card(i) {
    const shown = model().columns.filter((column) => !hidden.columns.has(column.label)
      && isThere(column, i));
    const address = new URLSearchParams({ ...state, model: model().name, row: i, page: 0 });
    const link = make("a", { className: "row", href: `#${address}`, textContent: "link to this row" });
    return make(
      "article", { className: "card", tabIndex: -1 },
      make("h2", { textContent: data.pictures[i][0] }),
      make("p", { className: "meta", textContent: `${metaOf(i)} · ` }, link),
      make("ul", { className: "shots" }, ...shown.map((column) => shot(column, i))),
    );
  }

  /** The baseline's image and another's, large; buttons and arrow keys lead to other methods. */
  function zoom(column, i) {
    const dialog = at("zoom");
    at("zoom-title").textContent = data.pictures[i][0];
    const pair = column.folder === column.base ? [column] : [baseOf(column), column];
    at("zoom-body").replaceChildren(
      make("p", { className: "meta", textContent: metaOf(i) }),
      make("ul", { className: "shots" }, ...pair.map((one) => shot(one, i, true))),
    );
    const move = (step) => {
      const row = model().columns.filter((one) => isThere(one, i));
      zoom(row[(row.indexOf(column) + step + row.length) % row.length], i);
    };
    at("before").onclick = () => move(-1);
    at("after").onclick = () => move(1);
    dialog.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) move(step);
    };
    if (!dialog.open) dialog.showModal();
  }

  function drawPages(n) {
    const last = Math.max(0, Math.ceil(n / ROWS_PER_PAGE) - 1);
    state.page = Math.min(Math.max(0, state.page), last);
    const button = (label, step) => {
      const made = make("button", { type: "button", textContent: label });
      made.disabled = state.page + step < 0 || state.page + step > last;
      made.addEventListener("click", () => {
        state.page += step;
        draw();
        at("results").focus({ preventScroll: true });
        at("results").scrollIntoView();
      });
      return made;
    };
    for (const nav of document.querySelectorAll("main .pages")) {
      const place = make("span", { textContent: `page ${state.page + 1} of ${last + 1}` });
      nav.replaceChildren(button("← Previous", -1), place, button("Next →", 1));
    }
  }

  /** Radio buttons with the number of pictures that each would leave. */
  function drawChanges(pictures) {
    const box = at("change");
    const column = chosen();
    box.hidden = !column || !data.verdict;
    if (box.hidden) return;
    at("change-legend").textContent = `${words(column.label)} against ${words(baseOf(column).label)}:`;
    for (const key of Object.keys(CHANGES)) {
      const count = pictures.filter((i) => fits(column, i, key)).length;
      box.querySelector(`[value=${key}] + span b`).textContent = count;
    }
  }

  /** Draw what the filters leave: only the visible page becomes elements. */
  function draw() {
    const pictures = candidates();
    drawChanges(pictures);
    const column = chosen();
    const kept = ordered(pictures.filter((i) => !column || fits(column, i, state.change)));
    drawPages(kept.length);
    const first = state.page * ROWS_PER_PAGE;
    const shown = kept.slice(first, first + ROWS_PER_PAGE);
    at("cards").replaceChildren(...shown.map(card));
    if (!shown.length) {
      at("cards").append(make("p", { className: "empty", textContent: "No image fits these filters." }));
    }
    at("count").textContent = shown.length
      ? `${first + 1} to ${first + shown.length} of ${kept.length} (a row per prompt and noise)` : "none";
    if (state.row !== "") at("count").textContent += "; only the row of the address, Esc shows all";
    remember();
  }

  /** Filters live in the address, so that a view can be bookmarked and sent. */
  function remember() {
    const plain = new URLSearchParams({ ...state, model: model().name });
    history.replaceState(null, "", `#${plain}`);
  }

  function recall() {
    const plain = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const found = data.models.findIndex((one) => one.name === plain.model);
    state.model = Math.max(0, found);
    if (data.tasks[plain.task] !== undefined) state.task = plain.task;
    state.text = plain.text ?? "";
    state.method = plain.method ?? "";
    if (data.verdict && plain.change in CHANGES) state.change = plain.change;
    if (plain.order in ORDERS) state.order = plain.order;
    if (data.metrics.includes(plain.measure)) state.measure = plain.measure;
    state.row = data.pictures[plain.row] === undefined ? "" : plain.row;
    state.page = Number.parseInt(plain.page, 10) || 0;
  }

  function fill(id, options, selected) {
    const made = options.map(([key, text]) => make("option", { value: key, textContent: text }));
    at(id).replaceChildren(...made);
    at(id).value = selected;
  }

  /** Methods of the model: in "Compare", and to be hidden. */
  function fillMethods() {
    state.method = chosen()?.label ?? "";
    fill("method", others().map((column) => [column.label, words(column.label)]), state.method);
    checkboxes("columns", model().columns.map((column) => column.label));
  }

  function checkboxes(id, names) {
    const boxes = names.map((name) => {
      const box = make("input", { type: "checkbox", checked: !hidden[id].has(name) });
      box.addEventListener("change", () => {
        if (box.checked) hidden[id].delete(name); else hidden[id].add(name);
        draw();
      });
      return make("label", {}, box, words(name));
    });
    at(id).replaceChildren(at(id).querySelector("legend"), ...boxes);
  }

  function radios() {
    for (const [key, [mark, word]] of Object.entries(CHANGES)) {
      const radio = make("input", { type: "radio", name: "change", value: key });
      radio.checked = key === state.change;
      radio.addEventListener("change", () => set("change", key));
      const label = make("span", {}, `${mark} ${word}`.trim(), make("b"));
      at("change").append(make("label", { className: "choice" }, radio, label));
    }
  }

  /** Keys outside of fields and of the enlarged image. */
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || at("zoom").open) return;
    if (/^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "radio") return;
    const cards = [...document.querySelectorAll(".card")];
    const here = cards.indexOf(document.activeElement.closest(".card"));
    const steps = { j: 1, k: -1 };
    const pages = { n: "last", p: "first" };
    if (event.key in steps) {
      const card = cards[Math.min(Math.max(0, here + steps[event.key]), cards.length - 1)];
      card?.querySelector(".open").focus();
      card?.scrollIntoView({ block: "nearest" });
    } else if (event.key in pages) {
      document.querySelector(`main .pages button:${pages[event.key]}-of-type`).click();
    } else if (event.key === "/") {
      at("text").focus();
    } else if (event.key === "Escape" && state.row !== "") {
      set("row", "");
    } else {
      return;
    }
    event.preventDefault();
  }

  /** A filter has changed: start again at the first page. */
  function set(name, chosenValue) {
    state[name] = chosenValue;
    state.page = 0;
    if (name === "model") fillMethods();
    draw();
  }

  function start() {
    document.title = `Gallery: ${data.benchmark}`;
    const signs = ` A solid frame and ✓: the image shows what the prompt asks for (${words(data.verdict)}); `
      + "a dashed one and ✗: something else; without a frame: left out by the benchmark's own rules.";
    at("about").textContent = `${words(data.benchmark)}: the same prompt and the same noise along each row.`
      + (data.verdict ? signs : "");
    at("origin").textContent = data.origin;
    if (data.crisp) document.body.classList.add("crisp");
    recall();
    fill("model", data.models.map((one, i) => [i, one.name]), state.model);
    fill("task", [["", "all tasks"], ...data.tasks.map((name, i) => [i, words(name)])], state.task);
    fill("order", Object.entries(ORDERS), state.order);
    fill("measure", data.metrics.map((name) => [name, words(name)]), gainMetric());
    at("text").value = state.text;
    radios();
    checkboxes("metrics", data.metrics.filter((name) => name !== data.verdict));
    fillMethods();
    at("model").addEventListener("change", (event) => set("model", Number(event.target.value)));
    for (const id of ["task", "method", "order", "measure"]) {
      at(id).addEventListener("change", (event) => set(id, event.target.value));
    }
    at("text").addEventListener("input", (event) => set("text", event.target.value));
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", press);
    // A link to a row, and the browser's way back, change the address alone.
    window.addEventListener("hashchange", () => location.reload());
    draw();
  }

  start();
})();
