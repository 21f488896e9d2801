// Who leaves a form[data-typed] with typed text that is not saved is asked, by the browser or by a line in the dialog; [data-close]
// leaves as it says. data-typed="already": the server gave back what was not saved. Control (or Command) and Enter save.
const TYPED = "textarea, input:not([type=checkbox], [type=radio], [type=hidden], [type=search])"; // choices are soon made again
let leaver = null; // what leaves the page: the form that is on its way, or the way out

document.addEventListener("keydown", (event) => {
  const { key, target } = event, { form } = target;
  if (event.defaultPrevented || event.isComposing) return;
  if (key === "Escape") leave(target);
  if (key !== "Enter" || !(event.ctrlKey || event.metaKey) || form?.method !== "post" || target.matches("button")) return;
  event.preventDefault();
  (form.querySelector("[data-saves]") ?? form.querySelector("[type=submit].is-primary"))?.click();
});

/** Esc on the page of one block is its way out, as it is in the dialog. */
function leave(target) {
  const out = document.querySelector("main [data-question] a[data-close]");
  if (!out || document.querySelector("dialog:modal, [popover]:popover-open")) return;
  if (!target.form || out.closest("[data-question]").contains(target)) location.assign(out.href);
}

/** Does a click open another tab or window, so that this page stays? */
export const isElsewhere = ({ button, metaKey, ctrlKey, shiftKey, altKey }) => button || metaKey || ctrlKey || shiftKey || altKey;

for (const kind of ["click", "submit", "input", "pageshow"]) {
  addEventListener(kind, (event) => {
    const { type, target, submitter } = event;
    leaver = event.defaultPrevented || isElsewhere(event) ? null : type === "submit" ? target : target.closest?.("a[data-close]");
    if (leaver && submitter?.dataset.back) history.replaceState(history.state, "", submitter.dataset.back); // where Back leads
  });
}
document.addEventListener("htmx:beforeOnLoad", ({ detail: { xhr, elt } }) => {
  if (xhr.getResponseHeader("HX-Redirect")) leaver = elt.form;
});
addEventListener("beforeunload", (event) => {
  if (!leaver?.matches("a") && isUnsaved(document, leaver)) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", ({ target }) => { // what is drawn anew within a form would look saved
  const form = target.parentElement?.closest("form[data-typed]");
  if (form && hasChanged(form)) form.dataset.typed = "already";
});

/** Was something typed below `part` that is not saved? `but`: a form that does not count. */
export const isUnsaved = (part, but = null) => [...part.querySelectorAll("form[data-typed]")].some((form) => form !== but && hasChanged(form));

const hasChanged = ({ dataset, elements }) => dataset.typed === "already" || [...elements].some((one) => one.matches(TYPED) && one.value !== one.defaultValue);
