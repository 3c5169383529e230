/**
 * Sentences in the visitor's language, named by their English words as in Python and templates.
 *
 *     t("Send %(name)s", {name})          tn("%(n)s coin", "%(n)s coins", 5)
 *
 * `make messages` finds the words of `t` and `tn` in the scripts. The page names the catalogue in
 * `<meta name="catalogue">`; English has none. Modules that import this one wait for it.
 */

export const language = document.documentElement.lang || "en";

/** What Intl is asked for: a pretend language counts and writes dates as English does. */
export const locale = /-X[A-Z]$/.test(language) ? "en" : language;

const address = document.querySelector('meta[name="catalogue"]')?.content;
const catalogue = address ? await load(address) : {plurals: "", messages: {}};

async function load(address) {
  try {
    const answer = await fetch(address);
    if (answer.ok) return await answer.json();
  } catch {
    // English is better than nothing.
  }
  return {plurals: "", messages: {}};
}

/** The sentence with its facts put in; `%(name)s` is the fact `name`, as text. */
export function t(id, facts) {
  return filled(catalogue.messages[id] ?? id, facts);
}

/** The sentence for a number, which is the fact `n` written as people write it there. */
export function tn(one, many, n, facts) {
  const forms = catalogue.messages[one];
  const form = Array.isArray(forms) ? forms[pluralOf(n)] : undefined;
  return filled(form ?? (n === 1 ? one : many), {n: formatNumber(n), ...facts});
}

const numbers = new Intl.NumberFormat(locale);

/** A number as people write it there: `17,500`. */
export function formatNumber(number) {
  return numbers.format(number);
}

/** Two or more as one enumeration: `Ana, Bob, and Eve`. */
export function formatList(texts) {
  return new Intl.ListFormat(locale, {style: "short"}).format(texts);
}

// Plural rules of gettext repeat with every hundred, so two hundred answers hold them all.
function pluralOf(n) {
  const whole = Math.floor(Math.abs(n));
  return Number(catalogue.plurals[whole < 200 ? whole : 100 + (whole % 100)] ?? 0);
}

function filled(text, facts = {}) {
  return text.replace(/%\((\w+)\)s|%%/g, (all, name) => (name ? String(facts[name] ?? all) : "%"));
}
