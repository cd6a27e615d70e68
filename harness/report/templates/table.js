"use strict";
/* Sorts tables by a column: a first click downwards, a second upwards, a third as it was made. */
(() => {
  /** What a cell is sorted by: the number that it starts with, else its text; gaps come last. */
  function keyOf(row, column) {
    const text = row.cells[column].textContent.trim();
    if (text === "" || text === "–") return null;
    const number = Number.parseFloat(text.replace(/^</, "").replace("−", "-"));
    return /^[<+\-−]?[\d.]/.test(text) && !Number.isNaN(number) ? number : text;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sort(table, column, direction, made) {
    const body = table.tBodies[0];
    const keyed = made.map((row) => [keyOf(row, column), row]);
    const gaps = keyed.filter(([key]) => key === null);
    const rest = keyed.filter(([key]) => key !== null);
    rest.sort(([a], [b]) => direction * compare(a, b));
    body.append(...(direction ? [...rest, ...gaps] : keyed).map(([, row]) => row));
    table.classList.toggle("sorted", direction !== 0);
  }

  /** Names stay in sight while a wide table is scrolled: its first two columns, if they are words;
      on a phone the second alone, if it leaves room. */
  function fix(table, heads) {
    const seen = table.parentElement.clientWidth;
    if (table.offsetWidth <= seen) return;
    const words = heads.slice(0, 2).filter((head) => !head.classList.contains("number"));
    const fixed = seen < 700 ? words.slice(-1).filter((h) => h.offsetWidth < 0.5 * seen) : words;
    let left = 0;
    for (const head of fixed) {
      for (const row of table.rows) {
        const cell = row.cells[head.cellIndex];
        cell.classList.add("fixed");
        cell.style.left = `${left}px`;
      }
      left += head.offsetWidth;
    }
  }

  for (const table of document.querySelectorAll("table")) {
    const made = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const next = { descending: "ascending", ascending: null }[now] ?? (now ? null : "descending");
        for (const other of heads) other.removeAttribute("aria-sort");
        if (next) head.setAttribute("aria-sort", next);
        sort(table, column, { descending: -1, ascending: 1 }[next] ?? 0, made);
      });
    });
    fix(table, heads);
  }
})();
