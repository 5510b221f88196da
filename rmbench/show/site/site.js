"use strict";
// Sorts, searches and filters the tables of the page; without it they stand as they are.
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell && cell.dataset.value !== undefined ? cell.dataset.value : cell ? cell.textContent.trim() : "";
  };

  const sort = (table, column, descending) => {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => {
      const text = value(row, column);
      return { row, text, number: text === "" ? NaN : Number(text) };
    });
    const numeric = rows.every((item) => item.text === "" || !Number.isNaN(item.number));
    const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
    rows.sort((a, b) => {
      if (a.text === "" || b.text === "") return (a.text === "") - (b.text === "");
      const order = numeric ? a.number - b.number : collator.compare(a.text, b.text);
      return descending ? -order : order;
    });
    body.append(...rows.map((item) => item.row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const state = head.getAttribute("aria-sort");
        const descending = state === "none" ? button.dataset.first === "descending" : state === "ascending";
        for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
  }

  for (const form of document.querySelectorAll("form.filters")) {
    const table = form.parentElement.querySelector("table.board");
    if (!table) continue;
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    const fields = form.elements;
    const fits = (row) => {
      const words = fields.search.value.trim().toLowerCase();
      if (words && !row.querySelector("th").textContent.toLowerCase().includes(words)) return false;
      if (fields.kind && fields.kind.value && row.dataset.kind !== fields.kind.value) return false;
      if (fields.measured && fields.measured.checked && row.dataset.source !== "measured") return false;
      if (fields.size && fields.size.value) {
        const [low, high] = fields.size.value.split("-").map(Number);
        const size = Number(row.dataset.size);
        if (!(row.dataset.size !== "" && size >= low && size < high)) return false;
      }
      return true;
    };
    const apply = () => {
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !fits(row);
        shown += !row.hidden;
      }
      form.querySelector("output").textContent = `${shown} of ${table.tBodies[0].rows.length} shown`;
    };
    form.addEventListener("input", apply);
    apply();
  }
})();
