/**
 * Bars over a table: the numbers of the server, drawn.
 *
 *     <lg-chart><table class="table"><thead>...</thead><tbody>
 *       <tr><th scope="row">Mon</th><td data-value="120">120</td></tr>...</tbody></table></lg-chart>
 *
 * The table stays, folded away behind "Show the numbers"; without scripts it is all there is.
 */

import {t} from "../core/i18n.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH_MIN = 240;
const HEIGHT = 200;
const FOOT = 24;
const HEAD = 18;
const LABEL_WIDTH = 56;

class Chart extends HTMLElement {
  #watcher;
  #width = 0;

  connectedCallback() {
    if (this.#watcher) {
      this.#watcher.observe(this);
      return;
    }
    const table = this.querySelector("table");
    const rows = [...table.tBodies[0].rows].map((row) => {
      const cell = row.querySelector("[data-value]");
      return {label: row.cells[0].textContent.trim(), value: Number(cell?.dataset.value ?? 0), text: cell?.textContent.trim() ?? ""};
    });
    const frame = table.closest(".table-frame") ?? table;
    const numbers = document.createElement("details");
    numbers.className = "disclosure";
    const summary = document.createElement("summary");
    summary.textContent = t("Show the numbers");
    frame.replaceWith(numbers);
    numbers.append(summary, frame);
    const caption = table.caption?.textContent.trim() ?? "";
    // Drawn in true size, so that its words are as large as all others.
    this.#watcher = new ResizeObserver(([{contentRect}]) => this.#redraw(rows, caption, Math.floor(contentRect.width)));
    this.#watcher.observe(this);
  }

  disconnectedCallback() {
    this.#watcher?.disconnect();
  }

  #redraw(rows, caption, width) {
    if (width === this.#width || width === 0) return;
    this.#width = width;
    this.querySelector(":scope > svg")?.remove();
    this.prepend(this.#draw(rows, caption, Math.max(WIDTH_MIN, width)));
  }

  #draw(rows, caption, width) {
    const isRtl = this.matches(":dir(rtl)");
    const top = Math.max(1, ...rows.map((row) => row.value));
    const best = rows.find((row) => row.value === top);
    const svg = node("svg", {class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img"});
    const title = node("title", {});
    title.textContent = best ? `${caption}. ${t("Most: %(label)s, %(value)s", {label: best.label, value: best.text})}` : caption;
    svg.append(title, node("line", {class: "chart-ground", x1: 0, x2: width, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT}));
    const step = width / Math.max(1, rows.length);
    const every = Math.ceil((rows.length * LABEL_WIDTH) / width);
    rows.forEach((row, index) => {
      const middle = (isRtl ? rows.length - 1 - index : index) * step + step / 2;
      const size = (HEIGHT - FOOT - HEAD) * (Math.max(0, row.value) / top);
      const thick = Math.min(48, step * 0.72);
      const bar = node("rect", {class: "chart-bar", x: middle - thick / 2, y: HEIGHT - FOOT - size, width: thick, height: size, rx: Math.min(4, thick / 4)});
      const name = node("title", {});
      name.textContent = `${row.label}: ${row.text}`;
      bar.append(name);
      svg.append(bar);
      if (row === best && row.value > 0) svg.append(label(row.text, within(middle, width), HEIGHT - FOOT - size - 6, "chart-best"));
      if (index % every === 0) svg.append(label(row.label, within(middle, width), HEIGHT - 6, "chart-label"));
    });
    return svg;
  }
}

const within = (x, width) => Math.min(width - 24, Math.max(24, x));

function label(text, x, y, kind) {
  const found = node("text", {class: kind, x, y, "text-anchor": "middle"});
  found.textContent = text;
  return found;
}

function node(name, attributes) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
}

customElements.define("lg-chart", Chart);
