// The filter of a table (filters/_line.html): the keyboard in its completions, which htmx brings for what is typed.
const box = document.querySelector("#filter [role=combobox]"), list = document.getElementById("completions");
const menu = document.getElementById("cell-menu");
const marked = () => list.querySelector("[aria-selected=true]");

/** Marks this completion; without one, the list closes. */
function mark(option) {
  marked()?.setAttribute("aria-selected", "false");
  option?.setAttribute("aria-selected", "true");
  option?.scrollIntoView({ block: "nearest" });
  list.hidden = !option;
  box.ariaExpanded = String(!list.hidden);
  box.setAttribute("aria-activedescendant", option?.id ?? "");
}

function move(by) {
  const options = [...list.querySelectorAll("[role=option]")];
  if (list.hidden || !options.length) htmx.trigger(box, "complete");
  else mark(options.at((options.indexOf(marked()) + by) % options.length));
}

function choose(option) {
  box.value = option.dataset.text;
  box.setSelectionRange(option.dataset.at, option.dataset.at);
  mark(null);
  if (option.dataset.more) htmx.trigger(box, "complete");
}

box.addEventListener("keydown", (event) => {
  const { key, shiftKey } = event, option = list.hidden ? null : marked();
  if (key === "ArrowDown") move(+1);
  else if (key === "ArrowUp") move(-1);
  else if (option && key === "Tab" && !shiftKey) choose(option);
  else if (option && key === "Escape") mark(null);
  else return;
  event.preventDefault();
});
box.addEventListener("htmx:configRequest", ({ detail }) => { detail.parameters.at = box.selectionStart; });
for (const kind of ["focusout", "submit"]) box.form.addEventListener(kind, () => mark(null));
list.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
list.addEventListener("click", ({ target }) => [target.closest("[role=option]")].filter(Boolean).forEach(choose));
list.addEventListener("htmx:afterSwap", () => mark(document.activeElement === box ? marked() : null));

document.addEventListener("htmx:afterSwap", ({ target }) => {
  if (!target.contains(box)) return;
  menu?.hidePopover();
  if (document.activeElement !== box) box.value = box.defaultValue; // what was typed would stay, whatever the answer wrote
});

// The conditions of a cell open at it.
menu?.addEventListener("htmx:afterSwap", ({ detail }) => menu.showPopover({ source: detail.requestConfig.triggeringEvent.submitter }));
