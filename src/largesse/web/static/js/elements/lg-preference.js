/**
 * A choice that this browser keeps: how much moves, how much is read out.
 *
 *     <lg-preference name="effects" hidden><fieldset class="segments">
 *       <label class="segment"><input type="radio" name="effects" value="all">All</label>...</fieldset></lg-preference>
 *
 * Hidden without scripts, for then nothing moves and nothing is read out.
 */

import {announcements, choose, effects} from "../core/preferences.js";

const READ = {effects, announcements};

class Preference extends HTMLElement {
  #follow = () => this.#mark();

  connectedCallback() {
    this.hidden = false;
    this.addEventListener("change", (event) => choose(this.getAttribute("name"), event.target.value));
    document.addEventListener("lg-preferences", this.#follow);
    this.#mark();
  }

  disconnectedCallback() {
    document.removeEventListener("lg-preferences", this.#follow);
  }

  #mark() {
    const chosen = READ[this.getAttribute("name")]();
    for (const input of this.querySelectorAll("input")) input.checked = input.value === chosen;
  }
}

customElements.define("lg-preference", Preference);
