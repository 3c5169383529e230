/**
 * A few further actions behind a button; the popover itself needs no script.
 *
 *     <lg-menu><button class="button button-icon" popovertarget="more" aria-label="More">...</button>
 *       <div class="menu" popover id="more"><button class="menu-item">...</button>...</div></lg-menu>
 *
 * With scripts arrow keys go from one to the next, and whatever is chosen closes it.
 */

class Menu extends HTMLElement {
  connectedCallback() {
    this.addEventListener("keydown", (event) => this.#key(event));
    this.addEventListener("click", (event) => event.target.closest(".menu-item") && this.#panel.hidePopover());
    this.#panel.addEventListener("toggle", (event) => this.#toggled(event.newState === "open"));
  }

  get #panel() {
    return this.querySelector("[popover]");
  }

  get #opener() {
    return this.querySelector("[popovertarget]");
  }

  get #items() {
    return [...this.#panel.querySelectorAll(".menu-item:not(:disabled)")];
  }

  #toggled(isOpen) {
    if (!isOpen) return;
    if (!CSS.supports("position-area", "block-end")) this.#place();
    this.#items[0]?.focus();
  }

  // Where the browser cannot hang it on its button by itself.
  #place() {
    const opener = this.#opener.getBoundingClientRect();
    const {width, height} = this.#panel.getBoundingClientRect();
    const start = Math.min(Math.max(8, opener.x + opener.width - width), innerWidth - width - 8);
    const below = opener.y + opener.height + 4;
    const fits = below + height <= innerHeight;
    const style = this.#panel.style;
    style.setProperty("position", "fixed");
    style.setProperty("inset", "auto");
    style.setProperty("inset-block-start", `${fits ? below : Math.max(8, opener.y - height - 4)}px`);
    style.setProperty(this.matches(":dir(rtl)") ? "inset-inline-end" : "inset-inline-start", `${start}px`);
  }

  #key(event) {
    const items = this.#items;
    const at = items.indexOf(document.activeElement);
    const steps = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1};
    if (!(event.key in steps)) return;
    event.preventDefault();
    if (!this.#panel.matches(":popover-open")) this.#panel.showPopover();
    else items.at(steps[event.key] % items.length)?.focus();
  }
}

customElements.define("lg-menu", Menu);
