/**
 * What one decided for this browser: how much moves, and how much is read out.
 *
 * Kept in localStorage; `lg-preferences` on `document` tells of a change, also of another tab's.
 */

const CHOICES = {effects: ["all", "small", "off"], announcements: ["all", "gifts", "off"]};
const PREFIX = "largesse-";
const reduced = matchMedia("(prefers-reduced-motion: reduce)");

/** "all", "small" or "off"; whoever asked his device for less motion begins with "small". */
export function effects() {
  return kept("effects") ?? (reduced.matches ? "small" : "all");
}

/** "all", "gifts" or "off". */
export function announcements() {
  return kept("announcements") ?? "all";
}

/** Decide anew; a choice that there is not is a bug. */
export function choose(name, choice) {
  if (!CHOICES[name]?.includes(choice)) throw new RangeError(`${name}: ${choice}`);
  try {
    localStorage.setItem(PREFIX + name, choice);
  } catch {
    // Where nothing can be kept it holds until the page is left.
    unkept.set(name, choice);
  }
  tell();
}

const unkept = new Map();

function kept(name) {
  let choice = unkept.get(name);
  try {
    choice ??= localStorage.getItem(PREFIX + name);
  } catch {
    // Nothing can be kept here, so nothing was.
  }
  return CHOICES[name].includes(choice) ? choice : undefined;
}

function tell() {
  document.documentElement.dataset.effects = effects();
  document.dispatchEvent(new CustomEvent("lg-preferences", {detail: {effects: effects(), announcements: announcements()}}));
}

addEventListener("storage", (event) => event.key?.startsWith(PREFIX) && tell());
reduced.addEventListener("change", tell);
document.documentElement.dataset.effects = effects();
