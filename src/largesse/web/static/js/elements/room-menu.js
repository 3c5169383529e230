/**
 * <lg-room-menu>: how much moves and how much is read out, in this browser; and a pause for the chat.
 *
 * Tells of the pause by `lg-pause` {isPaused}.
 */

import {LitElement, html} from "../../vendor/lit/lit.js";
import {t} from "../core/i18n.js";
import {announcements, choose, effects} from "../core/preferences.js";
import {icon} from "../room/parts.js";

export class RoomMenu extends LitElement {
  static properties = {isPaused: {state: true}};

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    document.addEventListener("lg-preferences", this.#changed);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener("lg-preferences", this.#changed);
  }

  #changed = () => this.requestUpdate();

  #pause() {
    this.dispatchEvent(new CustomEvent("lg-pause", {bubbles: true, composed: true, detail: {isPaused: !this.isPaused}}));
  }

  render() {
    return html`<button class="room-chip room-chip-icon" type="button" popovertarget="room-menu" aria-label=${t("Room menu")} title=${t("Room menu")}>${icon("more")}</button>
      <div class="menu room-menu" id="room-menu" popover role="dialog" aria-label=${t("Room menu")}>
        ${this.#choice("effects", t("Effects"), effects(), {all: t("All"), small: t("Small"), off: t("Off")})}
        ${this.#choice("announcements", t("Read out"), announcements(), {all: t("All"), gifts: t("Gifts"), off: t("Off")})}
        <label class="check"><input class="switch" type="checkbox" role="switch" .checked=${Boolean(this.isPaused)} @change=${this.#pause}><span>${t("Pause the chat")}</span></label>
      </div>`;
  }

  #choice(setting, label, chosen, options) {
    return html`<fieldset class="room-menu-part"><legend class="field-label">${label}</legend>
      <div class="segments">${Object.entries(options).map(([option, text]) => html`<label class="segment"><input type="radio" name="menu-${setting}" value=${option} .checked=${chosen === option} @change=${() => choose(setting, option)}>${text}</label>`)}</div>
    </fieldset>`;
  }
}

customElements.define("lg-room-menu", RoomMenu);
