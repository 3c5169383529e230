/**
 * <lg-chat-box>: where one writes. What was refused stays in the field, with the reason beside it.
 *
 * Tells of a message by `lg-chat` {text, key}; `answered` brings what became of it.
 */

import {html, nothing, render} from "../../vendor/lit/lit-html.js";
import {t} from "../core/i18n.js";
import {newKey} from "../core/keys.js";
import {icon} from "../room/parts.js";

class ChatBox extends HTMLElement {
  #isOpen = false;
  #problem = "";
  #sending = null;

  connectedCallback() {
    this.replaceChildren();
    this.#draw();
  }

  /** Whether one can write now. */
  set isOpen(isOpen) {
    this.#isOpen = isOpen;
    this.#draw();
  }

  /** An `ack` or a `refused` of the socket, if it is of this field's message. */
  answered(frame) {
    if (frame.key !== this.#sending?.key) return;
    const field = this.#field;
    if (frame.op === "ack" && field.value.trim() === this.#sending.text) field.value = "";
    this.#say(frame.op === "ack" ? "" : frame.detail);
  }

  /** The connection is gone: whether the message arrived is not known, so it stays in the field. */
  interrupted() {
    if (this.#sending) this.#say(t("The connection broke. Look whether your message is there before you send it again."));
  }

  get #field() {
    return this.querySelector("input");
  }

  #say(problem) {
    this.#sending = null;
    this.#problem = problem;
    this.#draw();
  }

  #submit(event) {
    event.preventDefault();
    const text = this.#field.value.trim();
    if (!text || this.#sending) return;
    this.#problem = "";
    this.#sending = {text, key: newKey()};
    this.#draw();
    this.dispatchEvent(new CustomEvent("lg-chat", {bubbles: true, composed: true, detail: this.#sending}));
  }

  #draw() {
    const problem = this.#problem;
    const hasText = this.#field?.value.trim();
    render(
      html`<form class="chat-box" @submit=${this.#submit}>
        <label class="visually-hidden" for="chat-text">${t("Your message")}</label>
        <input class="input" id="chat-text" name="text" autocomplete="off" enterkeyhint="send" maxlength=${this.getAttribute("lengthmax")}
          placeholder=${t("Say something")} ?disabled=${!this.#isOpen} @input=${this.#draw}
          aria-invalid=${problem ? "true" : nothing} aria-describedby=${problem ? "chat-problem" : nothing}>
        ${hasText ? html`<button class="chat-send" type="submit" aria-label=${t("Send message")} aria-busy=${this.#sending ? "true" : nothing}>${icon("send")}</button>` : nothing}
        ${problem ? html`<p class="chat-problem" id="chat-problem" role="status">${problem}</p>` : nothing}
      </form>`,
      this,
      {host: this},
    );
  }
}

customElements.define("lg-chat-box", ChatBox);
