/**
 * A part of a page that the server writes anew every few seconds.
 *
 *     <lg-refresh id="today" data-seconds="5">...</lg-refresh>
 *
 * The same address is asked for, and the part with the same id takes this one's place. It waits
 * while somebody is inside by keyboard, while the page is hidden, and while it is paused: a button
 * for that comes first. An update is `lg-refresh`.
 */

import {t} from "../core/i18n.js";
import {icon} from "../core/icons.js";

const SECONDS = 5;

class Refresh extends HTMLElement {
  #timer;
  #isPaused = false;

  connectedCallback() {
    this.#bar();
    this.#timer = setInterval(() => this.#tick(), Number(this.dataset.seconds || SECONDS) * 1000);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  /** Ask now. */
  async ask() {
    const fresh = await page(location.href).catch(() => null);
    const part = fresh?.getElementById(this.id);
    if (!part || !this.isConnected) return;
    const content = document.createDocumentFragment();
    content.append(...part.childNodes);
    this.replaceChildren(this.button, content);
    this.dispatchEvent(new CustomEvent("lg-refresh", {bubbles: true, composed: true}));
  }

  #tick() {
    const isUsed = this.contains(document.activeElement) && document.activeElement !== this.button;
    if (!this.#isPaused && !document.hidden && !isUsed) this.ask();
  }

  #bar() {
    if (this.button) return this.prepend(this.button);
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "button button-quiet refresh-button";
    this.button.addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      this.#label();
    });
    this.#label();
    return this.prepend(this.button);
  }

  #label() {
    const text = this.#isPaused ? t("Go on") : t("Pause");
    this.button.replaceChildren(icon(this.#isPaused ? "play" : "pause"), text);
  }
}

// A document that the browser itself reads runs nothing; text that scripts parse is not let in here.
function page(address) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.setRequestHeader("accept", "text/html");
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(new Error(String(request.status))));
    request.onerror = () => reject(new Error("no answer"));
    request.send();
  });
}

customElements.define("lg-refresh", Refresh);
