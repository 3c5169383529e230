/**
 * Sections of which one is shown.
 *
 *     <lg-tabs><div class="tabs"><a class="tab" href="#coins">Coins</a>...</div>
 *       <section id="coins">...</section>...</lg-tabs>
 *
 * Without scripts the links lead down the page to the sections, which all show. With scripts they
 * are tabs: arrow keys go from one to the next. A change is `lg-tab` {name}.
 */

class Tabs extends HTMLElement {
  #tabs = [];

  connectedCallback() {
    const list = this.querySelector(".tabs");
    this.#tabs = [...list.querySelectorAll(".tab")];
    list.setAttribute("role", "tablist");
    for (const tab of this.#tabs) {
      const panel = this.#panelOf(tab);
      tab.setAttribute("role", "tab");
      tab.id ||= `${panel.id}-tab`;
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      panel.tabIndex = 0;
      tab.addEventListener("click", (event) => (event.preventDefault(), this.#choose(tab)));
    }
    list.addEventListener("keydown", (event) => this.#key(event));
    const here = this.#tabs.find((tab) => tab.hash && tab.hash === location.hash);
    const chosen = here ?? this.#tabs.find((tab) => tab.hasAttribute("aria-current")) ?? this.#tabs[0];
    for (const tab of this.#tabs) tab.removeAttribute("aria-current");
    this.#mark(chosen);
  }

  /** Show the section with this id. */
  show(name) {
    const tab = this.#tabs.find((each) => this.#panelOf(each).id === name);
    if (tab) this.#choose(tab);
  }

  #panelOf(tab) {
    return this.querySelector(`#${CSS.escape(decodeURIComponent(tab.hash.slice(1)))}`);
  }

  #choose(tab) {
    if (tab.getAttribute("aria-selected") === "true") return;
    this.#mark(tab);
    const detail = {name: this.#panelOf(tab).id};
    this.dispatchEvent(new CustomEvent("lg-tab", {bubbles: true, composed: true, detail}));
  }

  #mark(chosen) {
    for (const tab of this.#tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
      this.#panelOf(tab).hidden = !isChosen;
    }
  }

  #key(event) {
    const at = this.#tabs.indexOf(event.target.closest(".tab"));
    const sign = this.matches(":dir(rtl)") ? -1 : 1;
    const steps = {ArrowRight: at + sign, ArrowLeft: at - sign, Home: 0, End: -1};
    if (at < 0 || !(event.key in steps)) return;
    event.preventDefault();
    const tab = this.#tabs.at(steps[event.key] % this.#tabs.length);
    tab.focus();
    this.#choose(tab);
  }
}

customElements.define("lg-tabs", Tabs);
