/**
 * A dialog: from the bottom of a phone, in the middle of a desk. What is behind it rests, Escape and
 * the scrim close it, and the focus goes back to where it came from.
 *
 *     <a class="button" href="/recharge" data-sheet="recharge">Recharge</a>
 *     <lg-sheet id="recharge"><dialog class="sheet" aria-labelledby="...">
 *       <div class="sheet-header"><h2>...</h2><button data-close>...</button></div>
 *       <div class="sheet-body">...</div><div class="sheet-footer">...</div></dialog></lg-sheet>
 *
 * Without scripts the link leads to a page that does the same. Methods `open()` and `close(value)`;
 * events `lg-open` and `lg-close` {value}, neither of a sheet inside another one's.
 */

class Sheet extends HTMLElement {
  #back;

  connectedCallback() {
    const dialog = this.dialog;
    dialog.addEventListener("click", (event) => this.#clicked(event));
    dialog.addEventListener("close", () => this.#closed());
  }

  get dialog() {
    return this.querySelector("dialog");
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** Show it over everything; `opener` gets the focus when it closes. */
  open(opener = document.activeElement) {
    if (this.isOpen) return;
    this.#back = opener;
    this.dialog.showModal();
    this.#tell("lg-open", {});
  }

  close(value = "") {
    this.dialog.close(value);
  }

  #clicked(event) {
    const closer = event.target.closest?.("[data-close]");
    if (closer && closer.closest("dialog") === this.dialog) return this.close(closer.value ?? "");
    // A click on the scrim is one on the dialog itself, outside of its box.
    if (event.target !== this.dialog) return undefined;
    const box = this.dialog.getBoundingClientRect();
    const isInside =
      event.clientX >= box.x && event.clientX <= box.x + box.width && event.clientY >= box.y && event.clientY <= box.y + box.height;
    return isInside ? undefined : this.close();
  }

  #closed() {
    if (this.#back?.isConnected) this.#back.focus();
    this.#tell("lg-close", {value: this.dialog.returnValue});
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, {bubbles: true, composed: true, detail}));
  }
}

customElements.define("lg-sheet", Sheet);

document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-sheet]");
  const sheet = opener && document.getElementById(opener.dataset.sheet);
  if (!sheet?.open || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  sheet.open(opener);
});
