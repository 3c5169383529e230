/** A field for a password gets a button that shows what is typed: `<lg-password>` around its `.field`. */

import {t} from "../core/i18n.js";
import {icon} from "../core/icons.js";

class Password extends HTMLElement {
  connectedCallback() {
    const field = this.querySelector("input");
    if (!field || this.querySelector("button")) return;
    const group = document.createElement("div");
    group.className = "input-group";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "input-affix";
    button.setAttribute("aria-label", t("Show the password"));
    button.setAttribute("aria-pressed", "false");
    button.append(icon("eye"));
    button.addEventListener("click", () => {
      const isShown = field.type === "password";
      field.type = isShown ? "text" : "password";
      button.setAttribute("aria-pressed", isShown);
    });
    field.before(group);
    group.append(field, button);
    // A browser keeps passwords, and not what is sent as plain text.
    field.form?.addEventListener("submit", () => (field.type = "password"));
  }
}

customElements.define("lg-password", Password);
