// The filter line (filters/_line.html): the keyboard in its completions, which htmx brings for what is typed.
customElements.define("filter-line", class extends HTMLElement {
  connectedCallback() { connect(this.querySelector("input"), document.getElementById("completions")); }
});

function connect(box, list) {
  const marked = () => list.querySelector("[aria-selected=true]");

  function mark(item) {
    for (const one of list.querySelectorAll("[role=option]")) one.ariaSelected = String(one === item);
    list.hidden = !item;
    box.ariaExpanded = String(Boolean(item));
    box.setAttribute("aria-activedescendant", item?.id ?? "");
    item?.scrollIntoView({ block: "nearest" });
  }

  function move(by) {
    const items = [...list.querySelectorAll("[role=option]")];
    if (list.hidden || !items.length) htmx.trigger(box, "complete");
    else mark(items.at((items.indexOf(marked()) + by) % items.length));
  }

  function close() {
    const wasOpen = !list.hidden;
    mark(null);
    return wasOpen;
  }

  function choose(item) {
    if (!item || list.hidden) return false;
    box.value = item.dataset.text;
    box.setSelectionRange(item.dataset.at, item.dataset.at);
    mark(null);
    if (item.dataset.more) htmx.trigger(box, "complete");
    return true;
  }

  const KEYS = { ArrowDown: () => move(+1), ArrowUp: () => move(-1), Tab: (event) => !event.shiftKey && choose(marked()), Escape: close };
  box.addEventListener("keydown", (event) => { if (KEYS[event.key] && KEYS[event.key](event) !== false) event.preventDefault(); });
  box.addEventListener("htmx:configRequest", ({ detail }) => { detail.parameters.at = box.selectionStart; });
  // A cell of the table is a button of this form: its condition goes with the text. htmx only knows buttons within.
  box.form.addEventListener("htmx:configRequest", ({ target, detail: { parameters, triggeringEvent } }) => {
    const { name, value } = (target === box.form && triggeringEvent?.submitter) || {};
    if (name) parameters[name] = value;
  });
  // What was typed would stay, whatever the answer wrote.
  document.addEventListener("htmx:afterSwap", ({ target }) => { if (target.contains(box) && document.activeElement !== box) box.value = box.defaultValue; });
  box.addEventListener("blur", close);
  box.form.addEventListener("submit", close);
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
  list.addEventListener("click", ({ target }) => choose(target.closest("[role=option]")));
  list.addEventListener("htmx:afterSwap", () => mark(document.activeElement === box ? marked() : null));
}

// A click on a cell offers its conditions; without script it adds the first of them, "only this value".
document.addEventListener("click", (event) => {
  const cell = event.target.closest?.(".cell-btn"), menu = document.getElementById("cell-menu");
  if (!cell || !menu) return;
  event.preventDefault();
  const [, field, value] = cell.value.match(/^("(?:\\.|[^"\\])*"|[^=]*)=(.*)$/s);
  menu.querySelector("code").textContent = cell.value;
  for (const choice of menu.querySelectorAll("button")) {
    choice.value = field + choice.dataset.operator + value;
    choice.hidden = /[<>]/.test(choice.dataset.operator) && Number.isNaN(Number(value));
  }
  menu.showPopover({ source: cell });
});
