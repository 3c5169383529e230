/**
 * An instant in the reader's own time zone and language.
 *
 *     <lg-time><time datetime="2026-11-22T18:04:00Z">22 Nov 2026, 18:04 UTC</time></lg-time>
 *
 * `format` is "relative" ("5 minutes ago", kept true), "date", "time" or "instant" (both).
 */

import {locale} from "../core/i18n.js";

const FORMATS = {
  instant: {dateStyle: "medium", timeStyle: "short"},
  date: {dateStyle: "medium"},
  time: {timeStyle: "short"},
};
const UNITS = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const AGAIN_MILLISECONDS = 30_000;
const shown = new Set();
const relative = new Intl.RelativeTimeFormat(locale, {numeric: "auto"});
let timer;

class Time extends HTMLElement {
  connectedCallback() {
    this.write();
    if (this.getAttribute("format") !== "relative") return;
    shown.add(this);
    timer ??= setInterval(() => shown.forEach((each) => each.write()), AGAIN_MILLISECONDS);
  }

  disconnectedCallback() {
    shown.delete(this);
  }

  write() {
    const time = this.querySelector("time");
    const instant = new Date(time?.dateTime ?? "");
    if (Number.isNaN(instant.valueOf())) return;
    const format = this.getAttribute("format") ?? "instant";
    const whole = new Intl.DateTimeFormat(locale, FORMATS[format] ?? FORMATS.instant).format(instant);
    time.textContent = format === "relative" ? ago(instant) : whole;
    if (format === "relative") time.title = whole;
  }
}

function ago(instant) {
  const seconds = (instant - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return relative.format(unit === "second" ? 0 : Math.trunc(seconds / length), unit);
}

customElements.define("lg-time", Time);
