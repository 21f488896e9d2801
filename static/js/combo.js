// A select with data-combo="other" becomes one box in which typing searches. A text that is no option offers "Create New",
// which goes into the field `other` of the same form. Without script there are the select and that field, each with its label.

let made = 0; // boxes, for IDs

function enhance(root) {
  for (const select of root.querySelectorAll("select[data-combo]")) build(select);
}

function build(select) {
  const other = select.form?.elements[select.dataset.combo];
  if (!other) return;
  const list = document.createElement("ul");
  list.id = `combo-${++made}`;
  list.setAttribute("role", "listbox");
  list.hidden = true;
  const box = document.createElement("input");
  Object.assign(box, { className: "input", type: "text", autocomplete: "off", spellcheck: false, id: select.id });
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list" })) {
    box.setAttribute(name, value);
  }
  for (const name of ["aria-describedby", "aria-invalid"]) {
    if (select.hasAttribute(name)) box.setAttribute(name, select.getAttribute(name));
  }
  const around = document.createElement("div");
  around.className = "combo";
  around.append(box, list);
  select.removeAttribute("id"); // the label is the box's now
  delete select.dataset.combo;
  select.hidden = true;
  select.after(around);
  const field = other.closest(".field"), fault = field.querySelector(".error");
  if (fault) around.after(fault);
  field.hidden = true;
  connect({ select, other, box, list });
}

function connect(combo) {
  const { box, list, other } = combo;
  box.value = other.value || nameOf(combo);
  box.addEventListener("focus", () => box.select());
  box.addEventListener("click", () => open(combo, ""));
  box.addEventListener("input", () => {
    open(combo, tidy(box.value));
    take(combo);
  });
  box.addEventListener("blur", () => {
    close(combo);
    if (!tidy(box.value)) box.value = other.value || nameOf(combo);
    take(combo);
  });
  box.addEventListener("keydown", (event) => {
    if (KEYS[event.key]?.(combo)) event.preventDefault();
  });
  combo.select.form.addEventListener("submit", (event) => {
    // Also where a form judges by itself (novalidate): a text that means no project would quietly become the one before.
    if (!box.reportValidity()) event.preventDefault();
  }, { capture: true });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
  list.addEventListener("click", (event) => choose(combo, event.target.closest("[role=option]")));
}

const KEYS = {
  ArrowDown: (combo) => move(combo, +1),
  ArrowUp: (combo) => move(combo, -1),
  Enter: (combo) => !combo.list.hidden && choose(combo, marked(combo)),
  Escape: (combo) => close(combo),
};

const tidy = (text) => text.trim().replace(/\s+/g, " ");
const fold = (text) => text.normalize("NFKC").toLocaleLowerCase();
const nameOf = ({ select }) => select.selectedOptions[0]?.text ?? "";
const optionOf = ({ select }, text) => [...select.options].find((option) => option.text === text);
const marked = ({ list }) => list.querySelector('[aria-selected="true"]');

/** What is typed counts when it is an option's name, or was chosen to be made; else the form says what to do. */
function take(combo) {
  const { select, other, box } = combo;
  const text = tidy(box.value), option = optionOf(combo, text);
  if (option) {
    select.value = option.value;
    other.value = "";
  } else if (other.value !== text) {
    other.value = "";
  }
  const isKnown = option || (text && other.value === text);
  box.setCustomValidity(isKnown ? "" : "Choose one of the list, or Create New.");
}

function open(combo, text) {
  const { select, box, list } = combo;
  const found = [...select.options].filter((option) => fold(option.text).includes(fold(text)));
  list.replaceChildren(...found.map((option) => line(option.text)));
  if (text && !optionOf(combo, text)) {
    const create = line(`Create New “${text}”`);
    create.dataset.create = text;
    list.append(create);
  }
  list.hidden = !list.childElementCount;
  box.setAttribute("aria-expanded", String(!list.hidden));
  mark(combo, [...list.children].find((one) => one.textContent === tidy(box.value)) ?? list.firstElementChild);
}

function line(text) {
  const item = document.createElement("li");
  item.setAttribute("role", "option");
  item.textContent = text;
  return item;
}

/** True when there was something to close. */
function close({ box, list }) {
  const wasOpen = !list.hidden;
  list.hidden = true;
  box.setAttribute("aria-expanded", "false");
  box.removeAttribute("aria-activedescendant");
  return wasOpen;
}

function mark({ box, list }, item) {
  for (const one of list.children) {
    one.setAttribute("aria-selected", String(one === item));
    one.removeAttribute("id");
  }
  if (!item) return;
  item.id = `${list.id}-marked`;
  box.setAttribute("aria-activedescendant", item.id);
  item.scrollIntoView({ block: "nearest" });
}

function move(combo, by) {
  if (combo.list.hidden) open(combo, "");
  else {
    const items = [...combo.list.children], at = items.indexOf(marked(combo));
    mark(combo, items[(at + by + items.length) % items.length]);
  }
  return true;
}

function choose(combo, item) {
  if (!item) return false;
  combo.box.value = item.dataset.create ?? item.textContent;
  if (item.dataset.create) combo.other.value = item.dataset.create;
  take(combo);
  close(combo);
  return true;
}

document.addEventListener("htmx:afterSwap", ({ target }) => enhance(target));
enhance(document);
