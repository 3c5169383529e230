/**
 * Asks once more before a form is sent that cannot be taken back.
 *
 *     <lg-confirm data-question="End this live?" data-text="..." data-yes="End the live"><form>...</form></lg-confirm>
 *
 * Without scripts the form is sent at once.
 */

import {t} from "../core/i18n.js";

class Confirm extends HTMLElement {
  #isSure = false;

  connectedCallback() {
    // Before forms.js, which would take the first press for the only one.
    this.addEventListener("submit", (event) => this.#asked(event), {capture: true});
  }

  async #asked(event) {
    if (this.#isSure) {
      this.#isSure = false;
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    const {target, submitter} = event;
    if (!(await this.#ask(submitter))) return;
    this.#isSure = true;
    target.requestSubmit(submitter);
  }

  #ask(submitter) {
    const dialog = document.createElement("dialog");
    dialog.className = "sheet sheet-question";
    const title = document.createElement("h2");
    title.id = `question-${crypto.randomUUID()}`;
    title.textContent = this.dataset.question;
    dialog.setAttribute("aria-labelledby", title.id);
    const text = document.createElement("p");
    text.textContent = this.dataset.text ?? "";
    const body = document.createElement("div");
    body.className = "sheet-body stack";
    body.append(title, text);
    const footer = document.createElement("div");
    footer.className = "sheet-footer actions";
    footer.append(button(t("Cancel"), "", "button"), button(this.dataset.yes ?? t("Yes"), "yes", "button button-primary button-danger"));
    dialog.append(body, footer);
    this.append(dialog);
    footer.addEventListener("click", (event) => event.target.closest("button") && dialog.close(event.target.closest("button").value));
    return new Promise((answer) => {
      dialog.addEventListener("close", () => {
        dialog.remove();
        submitter?.focus();
        answer(dialog.returnValue === "yes");
      });
      dialog.showModal();
    });
  }
}

function button(text, value, classes) {
  const made = document.createElement("button");
  made.type = "button";
  made.value = value;
  made.className = classes;
  made.textContent = text;
  return made;
}

customElements.define("lg-confirm", Confirm);
