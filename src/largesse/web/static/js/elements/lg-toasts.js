/** Short words over the page that go by themselves: `toast(text)`; base.html has their place. */

import {alert, status} from "../core/announce.js";
import {t} from "../core/i18n.js";
import {icon} from "../core/icons.js";

const SECONDS = 6;
const TOASTS_MAX = 3;

class Toasts extends HTMLElement {
  /** Show words. `action` {text, run} is a button beside them; `kind` "bad" is read out at once. */
  show(text, {kind = "info", action, seconds = SECONDS} = {}) {
    const toast = document.createElement("div");
    toast.className = `toast toast-${kind}`;
    if (kind !== "info") toast.append(icon(kind));
    const words = document.createElement("span");
    words.textContent = text;
    toast.append(words);
    if (action) toast.append(this.#button(action.text, () => (toast.remove(), action.run())));
    toast.append(this.#closer(toast));
    this.append(toast);
    while (this.childElementCount > TOASTS_MAX) this.firstElementChild.remove();
    (kind === "bad" ? alert : status)(text);
    this.#goLater(toast, seconds);
    return toast;
  }

  #button(text, run) {
    const button = document.createElement("button");
    button.className = "button button-quiet";
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", run);
    return button;
  }

  #closer(toast) {
    const button = this.#button("", () => toast.remove());
    button.classList.add("button-icon");
    button.setAttribute("aria-label", t("Close"));
    button.append(icon("close"));
    return button;
  }

  // Whoever points at it or is in it still reads.
  #goLater(toast, seconds) {
    let timer;
    const stay = () => clearTimeout(timer);
    const go = () => {
      stay();
      timer = setTimeout(() => toast.remove(), seconds * 1000);
    };
    toast.addEventListener("pointerenter", stay);
    toast.addEventListener("focusin", stay);
    toast.addEventListener("pointerleave", go);
    toast.addEventListener("focusout", go);
    go();
  }
}

customElements.define("lg-toasts", Toasts);

/** Show words over the page. */
export function toast(text, options) {
  return document.querySelector("lg-toasts")?.show(text, options);
}
