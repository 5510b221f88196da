"use strict";

// Texts of a suite are untrusted: they enter the page through textContent alone, and the page's
// policy forbids every other way.
(() => {
  const PAGE_ROWS = 50;
  const SEARCH_DELAY_MS = 120;
  const SNIPPET_CHARACTERS = 160;
  const ENDINGS = { w: "won", l: "lost", t: "tied", d: "dropped" };
  const LENGTHS = { longer: 1, equal: 0, shorter: -1 };
  const MOST_CELLS = 4_000_000;
  const SIGNS = { w: "✓", l: "✗", t: "=", d: "–" };
  // Controls and marks that reorder text are shown, not obeyed.
  const UNSEEN =
    /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ufff9-\ufffb\ufffe\uffff]/g;

  const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
  const plain = (digits) =>
    new Intl.NumberFormat("en", {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
      signDisplay: "exceptZero",
    });
  const tiny = new Intl.NumberFormat("en", {
    maximumSignificantDigits: 2,
    signDisplay: "exceptZero",
  });
  const cents = plain(2);
  const units = plain(0);
  const whole = new Intl.NumberFormat("en");

  function format(value, style = number) {
    return value === null ? "none" : style.format(value).replace("-", "\u2212");
  }

  function formatMargin(margin) {
    const size = Math.abs(margin);
    if (size >= 100) return format(margin, units);
    return format(margin, size >= 0.1 || size === 0 ? cents : tiny);
  }

  function visible(text) {
    return text.replace(UNSEEN, (mark) => {
      const code = mark.charCodeAt(0);
      if (code < 0x20) return String.fromCharCode(0x2400 + code);
      return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
    });
  }

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }

  function read(id) {
    const block = document.getElementById(id);
    return block === null ? null : JSON.parse(block.textContent);
  }

  // Words of each text, and whether the other one lacks them there: a longest common subsequence.
  function differences(one, two) {
    const words = [one, two].map((text) => text.match(/\s+|[^\s]+/g) ?? []);
    let head = 0;
    while (head < Math.min(words[0].length, words[1].length) && words[0][head] === words[1][head]) head += 1;
    let tail = 0;
    const rest = Math.min(words[0].length, words[1].length) - head;
    while (tail < rest && words[0].at(-1 - tail) === words[1].at(-1 - tail)) tail += 1;
    const [a, b] = words.map((all) => all.slice(head, all.length - tail));
    const same = common(a, b);
    return [0, 1].map((side) => {
      const middle = (side === 0 ? a : b).map((word, i) => [word, !same[side].has(i) && word.trim() !== ""]);
      const before = words[side].slice(0, head).join("");
      const after = tail === 0 ? "" : words[side].slice(-tail).join("");
      return [[before, false], ...middle, [after, false]];
    });
  }

  function common(a, b) {
    const found = [new Set(), new Set()];
    if (a.length * b.length > MOST_CELLS) return found; // then all between the ends is marked
    const width = b.length + 1;
    const best = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i -= 1) {
      for (let j = b.length - 1; j >= 0; j -= 1) {
        best[i * width + j] =
          a[i] === b[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
      }
    }
    for (let i = 0, j = 0; i < a.length && j < b.length; ) {
      if (a[i] === b[j]) {
        found[0].add(i);
        found[1].add(j);
        i += 1;
        j += 1;
      } else if (best[(i + 1) * width + j] >= best[i * width + j + 1]) i += 1;
      else j += 1;
    }
    return found;
  }

  // Text as it is, but for fenced code, which stands in a box of its own.
  function blocks(text) {
    const parts = text.split(/^(```[^\n`]*\n[\s\S]*?^```[ \t]*$)/m);
    return parts.filter((part) => part !== "").map((part) => {
      const code = /^```[^\n`]*\n([\s\S]*?)^```[ \t]*$/m.exec(part);
      return code === null || !part.startsWith("```") ? visible(part) : make("pre", {}, visible(code[1]));
    });
  }

  // A spreadsheet computes none of it.
  function csvCell(value) {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function margins(result) {
    return result.chosen.map((chosen, i) => {
      const rejected = result.rejected[i];
      if (chosen.includes(null) || rejected.includes(null)) return null;
      return Math.max(...chosen) - Math.max(...rejected);
    });
  }

  class Explorer {
    constructor(root) {
      this.root = root;
      this.key = root.dataset.explorer;
      this.data = read(`${this.key}-data`);
      this.texts = read(`${this.key}-texts`);
      this.margins = this.data.results.map(margins);
      this.index = null;
      this.page = 0;
      this.find = (part) => root.querySelector(`[data-part="${part}"]`);
      this.body = this.find("body");
      this.listen();
      this.update();
      root.hidden = false;
      document.querySelector(`[data-without="${this.key}"]`).remove();
    }

    listen() {
      let timer = 0;
      this.find("search").addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(() => this.update(), SEARCH_DELAY_MS);
      });
      for (const part of ["subset", "ending", "model", "sort", "length", "margin"]) {
        this.find(part)?.addEventListener("change", () => this.update());
      }
      this.find("form").addEventListener("submit", (event) => event.preventDefault());
      this.find("form").addEventListener("reset", () => setTimeout(() => this.update()));
      this.find("previous").addEventListener("click", () => this.turn(-1));
      this.find("next").addEventListener("click", () => this.turn(1));
      this.find("csv").addEventListener("click", () => this.download());
      this.body.addEventListener("click", (event) => {
        const button = event.target.closest("th > button[aria-expanded]");
        if (button !== null) this.toggle(button);
      });
    }

    set(choices) {
      for (const [part, value] of Object.entries(choices)) {
        const control = this.find(part);
        if (control !== null) control.value = value;
      }
      this.update();
      this.root.scrollIntoView();
      this.find("search").focus({ preventScroll: true });
    }

    turn(step) {
      this.page += step;
      this.draw();
      this.root.scrollIntoView();
    }

    update() {
      const words = this.find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const subset = this.find("subset").value;
      const ending = this.find("ending").value;
      const model = Number(this.find("model")?.value ?? 0);
      const length = this.find("length")?.value ?? "";
      const quarter = this.find("margin").value;
      const kept = [];
      for (let i = 0; i < this.data.ids.length; i += 1) {
        if (subset !== "" && this.data.subset[i] !== Number(subset)) continue;
        if (!this.hasEnding(i, ending, model)) continue;
        if (length !== "" && LENGTHS[length] !== Math.sign(this.data.length[i])) continue;
        if (quarter !== "" && this.quarters(model)[i] !== Number(quarter)) continue;
        if (words.length > 0 && !this.matches(i, words)) continue;
        kept.push(i);
      }
      this.rows = this.sorted(kept, this.find("sort").value, model);
      this.page = 0;
      this.draw();
    }

    hasEnding(i, ending, model) {
      if (ending === "") return true;
      const all = this.data.results.map((result) => result.endings[i]);
      if (ending === "gained") return all[0] !== "w" && all[1] === "w";
      if (ending === "given-up") return all[0] === "w" && all[1] !== "w";
      return all[model] === ending;
    }

    // The quarter, by size of its margin, that each comparison is in; null for a dropped one.
    quarters(model) {
      this.ranked ??= new Map();
      if (!this.ranked.has(model)) {
        const all = this.margins[model];
        const known = all.map((_, i) => i).filter((i) => all[i] !== null);
        known.sort((a, b) => Math.abs(all[a]) - Math.abs(all[b]) || a - b);
        const places = all.map(() => null);
        const ends = [1, 2, 3].map((quarter) => Math.floor((quarter * known.length) / 4));
        known.forEach((i, at) => (places[i] = ends.filter((end) => at >= end).length));
        this.ranked.set(model, places);
      }
      return this.ranked.get(model);
    }

    matches(i, words) {
      this.index ??= this.data.ids.map((id, at) => {
        const [prompt, chosen, rejected] = this.texts?.[at] ?? [[], [], []];
        const turns = prompt.map(([, text]) => text);
        return [id, ...turns, ...chosen, ...rejected].join("\n").toLowerCase();
      });
      return words.every((word) => this.index[i].includes(word));
    }

    sorted(rows, order, model) {
      const value = this.margins[model];
      const rank = {
        lost: (i) => value[i],
        won: (i) => -value[i],
        close: (i) => Math.abs(value[i]),
        change: (i) => -Math.abs(this.change(i)),
      }[order];
      if (rank === undefined) return rows;
      // A dropped comparison has no margin; it comes last in every order but the suite's.
      const place = (i) => (value[i] === null ? Infinity : rank(i));
      return rows.sort((a, b) => place(a) - place(b) || a - b);
    }

    change(i) {
      const [before, after] = this.margins.map((all) => all[i]);
      if (before === null || after === null) return 0;
      return after / this.data.results[1].scale - before / this.data.results[0].scale;
    }

    draw() {
      const first = this.page * PAGE_ROWS;
      const shown = this.rows.slice(first, first + PAGE_ROWS);
      this.body.replaceChildren(...shown.map((i) => this.row(i)));
      const total = whole.format(this.data.ids.length);
      const found = whole.format(this.rows.length);
      const range = `${whole.format(first + 1)} to ${whole.format(first + shown.length)}`;
      this.find("status").textContent =
        this.rows.length === 0
          ? `None of ${total} comparisons fits.`
          : `${range} of ${found}` + (found === total ? " comparisons" : ` that fit, of ${total}`);
      this.find("previous").disabled = this.page === 0;
      this.find("next").disabled = first + PAGE_ROWS >= this.rows.length;
    }

    row(i) {
      const prompt = this.texts?.[i]?.[0] ?? [];
      const last = prompt.length > 0 ? prompt[prompt.length - 1][1] : "";
      const start = visible(last.slice(0, SNIPPET_CHARACTERS).replace(/\s+/g, " "));
      const button = make(
        "button",
        { type: "button", "aria-expanded": "false", "data-row": i },
        make("span", { class: "id" }, visible(this.data.ids[i])),
      );
      if (start !== "") button.append(make("span", { class: "snippet", dir: "auto" }, start));
      const head = make("th", { scope: "row" }, button);
      const cells = this.data.results.map((result, at) => {
        const ending = result.endings[i];
        return make(
          "td",
          { class: "outcome", "data-ending": ENDINGS[ending] },
          make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[ending]),
          make("span", { class: "word" }, ENDINGS[ending]),
          make("span", { class: "margin" }, formatMargin(this.margins[at][i])),
        );
      });
      return make("tr", {}, head, ...cells);
    }

    // Opens a comparison by its number, wherever it stands in the list.
    open(i) {
      if (!this.rows.includes(i)) {
        this.find("form").reset();
        this.find("search").value = "";
        this.update();
      }
      this.page = Math.floor(this.rows.indexOf(i) / PAGE_ROWS);
      this.draw();
      const button = this.body.querySelector(`button[data-row="${i}"]`);
      this.toggle(button);
      button.scrollIntoView({ block: "start" });
      button.focus({ preventScroll: true });
    }

    link(i) {
      return `#${this.key}/${encodeURIComponent(this.data.ids[i])}`;
    }

    download() {
      const heads = this.data.models.flatMap((name) => [`${name} outcome`, `${name} margin`]);
      const lines = [["comparison", ...(this.data.length ? ["chosen minus rejected length"] : []), ...heads]];
      for (const i of this.rows) {
        const cells = this.data.results.flatMap((result, at) => [
          ENDINGS[result.endings[i]],
          this.margins[at][i] ?? "",
        ]);
        const length = this.data.length ? [this.data.length[i]] : [];
        lines.push([this.data.ids[i], ...length, ...cells]);
      }
      const text = lines.map((cells) => cells.map(csvCell).join(",")).join("\r\n");
      const place = URL.createObjectURL(new Blob([text, "\r\n"], { type: "text/csv" }));
      make("a", { href: place, download: `${this.key}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(place), 1000);
    }

    toggle(button) {
      const row = button.closest("tr");
      const isOpen = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) {
        row.nextElementSibling.remove();
        button.removeAttribute("aria-controls");
        return;
      }
      history.replaceState(null, "", this.link(Number(button.dataset.row)));
      const id = `${this.key}-detail-${button.dataset.row}`;
      button.setAttribute("aria-controls", id);
      row.after(this.detail(Number(button.dataset.row), id));
    }

    detail(i, id) {
      const cell = make("td", { colspan: 1 + this.data.results.length });
      const texts = this.texts?.[i] ?? null;
      if (texts === null) cell.append(make("p", { class: "note" }, this.data.without));
      else cell.append(...texts[0].map(([role, text]) => this.text(role, text, `prompt, ${role}`)));
      const sides = make("div", { class: "sides" });
      for (const [at, side] of ["chosen", "rejected"].entries()) {
        sides.append(this.side(i, side, texts?.[at + 1] ?? null));
      }
      cell.append(sides, this.tools(i, cell, texts));
      return make("tr", { class: "detail", id }, cell);
    }

    tools(i, cell, texts) {
      const bar = make("div", { class: "tools" });
      const at = this.rows.indexOf(i);
      for (const [name, step] of [["Previous", -1], ["Next", 1]]) {
        const button = make("button", { type: "button", class: "plain", "data-step": step }, name);
        button.disabled = this.rows[at + step] === undefined;
        button.addEventListener("click", () => this.open(this.rows[at + step]));
        bar.append(button);
      }
      if (texts !== null && texts[1].length === 1 && texts[2].length === 1) {
        const button = make("button", { type: "button", class: "plain", "aria-pressed": "false" }, "Mark differences");
        button.addEventListener("click", () => {
          const isOn = button.getAttribute("aria-pressed") === "false";
          button.setAttribute("aria-pressed", String(isOn));
          const parts = isOn ? differences(texts[1][0], texts[2][0]) : [[[texts[1][0], false]], [[texts[2][0], false]]];
          cell.querySelectorAll(".side .text").forEach((block, side) => {
            block.replaceChildren(...parts[side].map(([text, marked]) => (marked ? make("mark", {}, visible(text)) : visible(text))));
          });
        });
        bar.append(button);
      }
      bar.append(make("a", { href: this.link(i) }, "Link to this comparison"));
      return bar;
    }

    side(i, side, texts) {
      const several = this.data.results[0][side][i].length > 1;
      const box = make("div", { class: "side", "data-side": side });
      this.data.results[0][side][i].forEach((_, k) => {
        const name = several ? `${side} ${k + 1}` : side;
        const facts = this.data.results.map((result, at) => {
          const model = this.data.results.length > 1 ? `${this.data.models[at]}: ` : "reward ";
          return model + format(result[side][i][k]);
        });
        if (texts === null) {
          box.append(make("h4", {}, name, make("span", { class: "facts" }, facts.join(" · "))));
          return;
        }
        facts.push(`${whole.format([...texts[k]].length)} characters`);
        box.append(this.text(name, texts[k], name, facts.join(" · ")));
      });
      return box;
    }

    text(title, text, label, facts = "") {
      const heading = make("h4", {}, visible(title), make("span", { class: "facts" }, facts));
      const block = make(
        "div",
        { class: "text", dir: "auto", tabindex: "0", role: "region", "aria-label": visible(label) },
        ...blocks(text),
      );
      return make("div", { class: "turn" }, heading, block);
    }
  }

  const explorers = new Map();
  for (const root of document.querySelectorAll("[data-explorer]")) {
    explorers.set(root.dataset.explorer, new Explorer(root));
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-show]");
    if (link === null) return;
    event.preventDefault();
    const choices = JSON.parse(link.dataset.show);
    const none = { search: "", subset: "", ending: "", length: "", margin: "" };
    explorers.get(link.dataset.of).set({ ...none, ...choices });
  });

  function follow() {
    const [key, ...rest] = location.hash.slice(1).split("/");
    const explorer = explorers.get(key);
    if (explorer === undefined || rest.length === 0) return;
    let name = rest.join("/");
    try {
      name = decodeURIComponent(name);
    } catch {
      // a link that somebody cut: no comparison is called so
    }
    const i = explorer.data.ids.indexOf(name);
    if (i >= 0) explorer.open(i);
  }

  window.addEventListener("hashchange", follow);
  follow();

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
})();
