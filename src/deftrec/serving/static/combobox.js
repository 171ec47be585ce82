// Text field with suggestions (ARIA combobox): arrow keys move, Enter selects, Escape closes.

import { make, debounced } from "./dom.js";

/**
 * Add suggestions to an input.
 * search(words) resolves to [{label, note, value}]; choose(value) is called with the selected value;
 * eager: suggest before anything is typed; none: text for an empty result.
 */
export function combobox(input, { search, choose, eager = false, none }) {
  const options = make("ul", { class: "options", role: "listbox", id: `${input.id}-options`, hidden: true });
  options.setAttribute("aria-label", input.labels[0].textContent);
  input.after(options);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": options.id,
  })) input.setAttribute(name, value);
  let shown = [];
  let active = -1;
  let asked = 0;

  function open(visible) {
    options.hidden = !visible;
    input.setAttribute("aria-expanded", String(visible));
    if (!visible) mark(-1);
  }

  function mark(place) {
    active = place;
    [...options.children].forEach((child, n) => child.setAttribute("aria-selected", String(n === place)));
    if (place >= 0) {
      input.setAttribute("aria-activedescendant", options.children[place].id);
      options.children[place].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function select(place) {
    const { value } = shown[place];
    input.value = "";
    open(false);
    choose(value);
  }

  async function suggest() {
    const mine = ++asked;
    const words = input.value.trim();
    if (!words && !eager) return open(false);
    const found = await search(words).catch(() => null);
    if (mine !== asked || document.activeElement !== input || found === null) return;
    shown = found;
    options.replaceChildren(
      ...found.map(({ label, note }, n) =>
        make(
          "li",
          { role: "option", id: `${options.id}-${n}`, "aria-selected": "false", onmousedown: (e) => e.preventDefault(), onclick: () => select(n) },
          make("span", {}, label),
          note ? make("small", {}, note) : null,
        ),
      ),
    );
    if (!found.length) options.append(make("li", { class: "empty" }, none));
    mark(found.length && words ? 0 : -1);
    open(true);
  }

  input.addEventListener("input", debounced(suggest, 120));
  input.addEventListener("focus", suggest);
  input.addEventListener("blur", () => open(false));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") open(false);
    else if (event.key === "Enter" && !options.hidden && active >= 0) select(active);
    else if (event.key === "ArrowDown" && options.hidden) suggest();
    else if (event.key === "ArrowDown" && shown.length) mark((active + 1) % shown.length);
    else if (event.key === "ArrowUp" && shown.length) mark((active - 1 + shown.length) % shown.length);
    else return;
    event.preventDefault();
  });
}
