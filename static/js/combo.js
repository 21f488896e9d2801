// Combo boxes (components/_combo.html): the keyboard, and what is chosen. htmx brings the options that match what is typed.
// The choice goes into the select and the text field that stand there without script.

customElements.define("combo-box", class extends HTMLElement {
  connectedCallback() { connect(this.querySelector("input")); }
});

function connect(box) {
  const list = box.nextElementSibling, select = box.form.elements[box.dataset.select], other = box.form.elements[box.dataset.other];
  const marked = () => list.querySelector("[aria-selected=true]");
  let isHurried = false; // Enter came before the options

  /** What is typed counts when it is an option's name, or was chosen to be created; else the form says what to do. */
  function take() {
    const text = box.value.trim().replace(/\s+/g, " ");
    const option = [...select.options].find((one) => one.text === text);
    if (option) select.value = option.value;
    if (option || other.value !== text) other.value = "";
    box.setCustomValidity(option || other.value ? "" : "Choose one of the list, or Create New.");
  }

  function mark(item) {
    for (const one of list.children) one.ariaSelected = String(one === item);
    box.ariaExpanded = String(Boolean(item));
    box.setAttribute("aria-activedescendant", item?.id ?? "");
    item?.scrollIntoView({ block: "nearest" });
  }

  function move(by) {
    const items = [...list.children];
    if (items.length) mark(items.at((items.indexOf(marked()) + by) % items.length));
    else box.click(); // asks for all of them
  }

  function choose(item) {
    if (item) box.value = other.value = item.dataset.text;
    take();
    return close();
  }

  function close() {
    const wasOpen = list.childElementCount > 0;
    list.replaceChildren();
    mark(null);
    return wasOpen;
  }

  const KEYS = {
    ArrowDown: () => move(+1),
    ArrowUp: () => move(-1),
    Enter: () => (list.ariaBusy && !isHurried ? (isHurried = true) : choose(marked())),
    Escape: close,
  };
  box.addEventListener("keydown", (event) => { if (KEYS[event.key] && KEYS[event.key]() !== false) event.preventDefault(); });
  box.addEventListener("focus", () => box.select());
  box.addEventListener("input", () => {
    list.ariaBusy = "true";
    isHurried = false;
    take();
  });
  box.addEventListener("blur", () => {
    if (!box.value.trim()) box.value = other.value || select.selectedOptions[0].text;
    choose(null);
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
  list.addEventListener("click", ({ target }) => choose(target.closest("[role=option]")));
  list.addEventListener("htmx:afterSwap", () => {
    list.ariaBusy = null;
    if (document.activeElement !== box) close();
    else if (isHurried) choose(marked());
    else mark(marked());
  });
  // Also where a form judges by itself (novalidate): a text that means no project would quietly become the one before.
  box.form.addEventListener("submit", (event) => { if (!box.reportValidity()) event.preventDefault(); }, { capture: true });
}
