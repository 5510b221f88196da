"use strict";

// Texts of a suite are untrusted: they enter the page through textContent alone, and the page's
// policy forbids every other way.
(() => {
  const PAGE_ROWS = 50;
  const SEARCH_DELAY_MS = 120;
  const SNIPPET_CHARACTERS = 160;
  const ENDINGS = { w: "won", l: "lost", t: "tied", d: "dropped" };
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
      for (const part of ["subset", "ending", "model", "sort"]) {
        this.find(part)?.addEventListener("change", () => this.update());
      }
      this.find("form").addEventListener("submit", (event) => event.preventDefault());
      this.find("form").addEventListener("reset", () => setTimeout(() => this.update()));
      this.find("previous").addEventListener("click", () => this.turn(-1));
      this.find("next").addEventListener("click", () => this.turn(1));
      this.body.addEventListener("click", (event) => {
        const button = event.target.closest("button[aria-expanded]");
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
      const kept = [];
      for (let i = 0; i < this.data.ids.length; i += 1) {
        if (subset !== "" && this.data.subset[i] !== Number(subset)) continue;
        if (!this.hasEnding(i, ending, model)) continue;
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

    toggle(button) {
      const row = button.closest("tr");
      const isOpen = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) {
        row.nextElementSibling.remove();
        button.removeAttribute("aria-controls");
        return;
      }
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
      cell.append(sides);
      return make("tr", { class: "detail", id }, cell);
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
        visible(text),
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
    explorers.get(link.dataset.of).set({ search: "", subset: "", ending: "", ...choices });
  });

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
})();
