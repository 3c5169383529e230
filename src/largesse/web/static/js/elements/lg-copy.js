/**
 * Something to take along: `<lg-copy class="copy"><code>https://...</code></lg-copy>` gets a button
 * that copies the text. Without scripts one selects it by hand.
 */

import {status} from "../core/announce.js";
import {t} from "../core/i18n.js";
import {icon} from "../core/icons.js";

const SHOWN_MILLISECONDS = 2000;

class Copy extends HTMLElement {
  connectedCallback() {
    if (this.querySelector("button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-quiet button-icon";
    button.setAttribute("aria-label", t("Copy"));
    button.append(icon("copy"));
    button.addEventListener("click", () => this.#copy(button));
    this.append(button);
  }

  async #copy(button) {
    const source = this.querySelector("code, input");
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
    } catch {
      getSelection().selectAllChildren(source); // To be copied by hand.
      return;
    }
    status(t("Copied"));
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), SHOWN_MILLISECONDS);
  }
}

customElements.define("lg-copy", Copy);
