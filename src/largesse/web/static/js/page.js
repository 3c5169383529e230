/**
 * What every page loads. An element `<lg-name>` that stands in the page brings its own file,
 * `elements/lg-name.js`; what a script makes later, that script imports.
 */

import "./core/forms.js";
import "./core/preferences.js";

const names = new Set(Array.from(document.querySelectorAll(":not(:defined)"), (element) => element.localName));
for (const name of names) {
  if (name.startsWith("lg-")) import(`./elements/${name}.js`);
}
