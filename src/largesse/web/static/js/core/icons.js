/** The drawings of icons.svg for scripts; they say nothing, the words beside them do. */

const SVG = "http://www.w3.org/2000/svg";
const sprite = new URL("../../icons.svg", import.meta.url).pathname;

/** An icon as a new node, for `append` and for Lit's templates alike. */
export function icon(name, kind = "") {
  return drawing(name, kind ? `icon icon-${kind}` : "icon");
}

/** The gold mark that stands before a number of coins. */
export const coinMark = () => drawing("coin", "coin-mark");

/** The iris mark that stands before a number of diamonds. */
export const diamondMark = () => drawing("diamond", "diamond-mark");

function drawing(name, classes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", classes);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${sprite}#${name}`);
  svg.append(use);
  return svg;
}
