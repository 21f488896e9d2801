// What somebody typed into a form[data-typed]. Control (or Command) and Enter in a field press the button that saves: the one
// with data-saves, else the primary one. Who leaves with something unsaved is asked, by the browser or by a line in the
// dialog; [data-close] leaves as it says. data-typed="already": the server gave back what was not saved.

const TYPED = "textarea, input:not([type=checkbox], [type=radio], [type=hidden], [type=search])"; // choices are soon made again
const before = new WeakMap(); // form -> what stood in it before the first touch
const touched = new WeakSet(); // forms that were typed in, or whose rows came or went
let sent = null; // the form that is on its way
let leaves = false; // by the way out

for (const kind of ["focusin", "pointerdown"]) {
  document.addEventListener(kind, (event) => {
    const form = formOf(event.target);
    if (form?.matches("[data-typed]") && !before.has(form)) before.set(form, textOf(form));
  }, { capture: true });
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(event);
  else if (event.key === "Escape") leave(event);
});

function save(event) {
  const form = formOf(event.target);
  const button = form?.method === "post" && (form.querySelector("[data-saves]") ?? form.querySelector("[type=submit].is-primary"));
  if (!button || !event.target.matches("input, textarea, select")) return;
  event.preventDefault();
  button.click();
}

/** Esc on the page of one block is its way out, as it is in the dialog. */
function leave(event) {
  if (document.querySelector("dialog:modal, [popover]:popover-open")) return;
  const question = document.querySelector("main [data-question]");
  const out = question?.querySelector("a[data-close]");
  if (out && (question.contains(event.target) || !formOf(event.target))) location.assign(out.href);
}

document.addEventListener("click", (event) => {
  const isOut = event.target.closest?.("a[data-close]") && !event.defaultPrevented && event.button === 0;
  leaves = isOut && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
});
document.addEventListener("submit", (event) => { if (!event.defaultPrevented) sent = event.target; });
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (!event.defaultPrevented && event.detail.xhr.getResponseHeader("HX-Redirect")) sent = event.detail.elt.form;
});
document.addEventListener("input", (event) => {
  sent = null;
  const form = formOf(event.target);
  if (form && (event.target === form || event.target.matches(TYPED))) touched.add(form);
});
addEventListener("pageshow", () => { sent = null; leaves = false; });
addEventListener("beforeunload", (event) => {
  if (!leaves && isUnsaved(document, sent)) event.preventDefault();
});

/** Was something typed below `part` that is not saved? `but`: a form that does not count. */
export function isUnsaved(part, but = null) {
  return [...part.querySelectorAll("form[data-typed]")].some((form) => form !== but && hasChanged(form));
}

function hasChanged(form) {
  return form.dataset.typed === "already" || (touched.has(form) && before.get(form) !== textOf(form));
}

function textOf(form) {
  const told = [...new FormData(form)].map(([name, value]) => [name, typeof value === "string" ? value : value.name]);
  return JSON.stringify(told.filter(([, value]) => value)); // an empty row more is nothing typed
}

const formOf = (target) => target.form ?? target.closest?.("form");
