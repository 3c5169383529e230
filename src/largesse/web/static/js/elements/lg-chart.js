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
const WIDTH = 640;
const HEIGHT = 200;
const FOOT = 24;
const HEAD = 18;
const LABELS_MAX = 8;

class Chart extends HTMLElement {
  connectedCallback() {
    if (this.querySelector(":scope > svg")) return;
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
    this.prepend(this.#draw(rows, table.caption?.textContent.trim() ?? ""));
  }

  #draw(rows, caption) {
    const isRtl = this.matches(":dir(rtl)");
    const top = Math.max(1, ...rows.map((row) => row.value));
    const best = rows.find((row) => row.value === top);
    const svg = node("svg", {class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img"});
    const title = node("title", {});
    title.textContent = best ? `${caption}. ${t("Most: %(label)s, %(value)s", {label: best.label, value: best.text})}` : caption;
    svg.append(title, node("line", {class: "chart-ground", x1: 0, x2: WIDTH, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT}));
    const step = WIDTH / Math.max(1, rows.length);
    const every = Math.ceil(rows.length / LABELS_MAX);
    rows.forEach((row, index) => {
      const middle = (isRtl ? rows.length - 1 - index : index) * step + step / 2;
      const size = (HEIGHT - FOOT - HEAD) * (Math.max(0, row.value) / top);
      const width = Math.min(48, step * 0.72);
      const bar = node("rect", {class: "chart-bar", x: middle - width / 2, y: HEIGHT - FOOT - size, width, height: size, rx: Math.min(4, width / 4)});
      const name = node("title", {});
      name.textContent = `${row.label}: ${row.text}`;
      bar.append(name);
      svg.append(bar);
      if (row === best && row.value > 0) svg.append(label(row.text, middle, HEIGHT - FOOT - size - 6, "chart-best"));
      if (index % every === 0) svg.append(label(row.label, middle, HEIGHT - 6, "chart-label"));
    });
    return svg;
  }
}

function label(text, x, y, kind) {
  const found = node("text", {class: kind, x: Math.min(WIDTH - 24, Math.max(24, x)), y, "text-anchor": "middle"});
  found.textContent = text;
  return found;
}

function node(name, attributes) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
}

customElements.define("lg-chart", Chart);
