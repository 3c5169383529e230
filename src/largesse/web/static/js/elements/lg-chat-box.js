/**
 * <lg-chat-box>: where one writes. What was refused stays in the field, with the reason beside it.
 *
 * Tells of a message by `lg-chat` {text, key}; `answered` brings what became of it.
 */

import {LitElement, html, nothing} from "../../vendor/lit/lit.js";
import {live} from "../../vendor/lit/directives/live.js";
import {t} from "../core/i18n.js";
import {newKey} from "../core/keys.js";
import {icon} from "../room/parts.js";

export class ChatBox extends LitElement {
  static properties = {
    lengthMax: {type: Number},
    isOpen: {state: true},
    text: {state: true},
    problem: {state: true},
    sending: {state: true},
  };

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    this.text = "";
    this.isOpen ??= false;
  }

  /** An `ack` or a `refused` of the socket; false where it is not of this field's message. */
  answered(frame) {
    if (!this.sending || frame.key !== this.sending.key) return false;
    if (frame.op === "ack") {
      if (this.text.trim() === this.sending.text) this.text = "";
      this.problem = "";
    } else {
      this.problem = frame.detail;
    }
    this.sending = null;
    return true;
  }

  /** The connection is gone: whether the message arrived is not known, so it stays in the field. */
  interrupted() {
    if (!this.sending) return;
    this.sending = null;
    this.problem = t("The connection broke. Look whether your message is there before you send it again.");
  }

  #submit(event) {
    event.preventDefault();
    const text = this.text.trim();
    if (!text || this.sending) return;
    this.sending = {text, key: newKey()};
    this.problem = "";
    this.dispatchEvent(new CustomEvent("lg-chat", {bubbles: true, composed: true, detail: this.sending}));
  }

  render() {
    return html`<form class="chat-box" @submit=${this.#submit}>
      <label class="visually-hidden" for="chat-text">${t("Your message")}</label>
      <input class="input" id="chat-text" name="text" autocomplete="off" enterkeyhint="send" maxlength=${this.lengthMax}
        placeholder=${t("Say something")} ?disabled=${!this.isOpen} .value=${live(this.text)}
        aria-invalid=${this.problem ? "true" : nothing} aria-describedby=${this.problem ? "chat-problem" : nothing}
        @input=${(event) => (this.text = event.target.value)}>
      ${this.text.trim() ? html`<button class="chat-send" type="submit" aria-label=${t("Send message")} aria-busy=${this.sending ? "true" : nothing}>${icon("send")}</button>` : nothing}
      ${this.problem ? html`<p class="chat-problem" id="chat-problem" role="status">${this.problem}</p>` : nothing}
    </form>`;
  }
}

customElements.define("lg-chat-box", ChatBox);
