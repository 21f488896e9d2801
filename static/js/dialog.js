// Questions open in <dialog id="dialog">, which htmx fills (hx-target="#dialog"). Their button posts by htmx too: what was
// refused comes back into the dialog. Where a question cannot be had, its link is followed.
import { isElsewhere, isUnsaved } from "./typed.js";

const dialog = document.getElementById("dialog");

// With a modifier the browser opens the page elsewhere, as it does for every link.
document.addEventListener("click", (event) => {
  if (isElsewhere(event) && event.target.closest("a[hx-get]")) event.stopPropagation();
}, { capture: true });

// The focus goes back to the menu's button.
document.addEventListener("htmx:beforeRequest", ({ target }) => target.closest(".menu:popover-open")?.hidePopover());

document.addEventListener("htmx:beforeSwap", ({ detail, target }) => {
  if (target === dialog && dialog.open && !dialog.contains(detail.elt)) detail.shouldSwap = false; // clicked twice
  // Why it could not be done is a page of its own without htmx.
  if (detail.requestConfig.verb === "get" || !detail.isError || !(target === dialog || detail.elt.matches("form"))) return;
  Object.assign(detail, { target: dialog, shouldSwap: true, isError: false, swapOverride: "innerHTML", selectOverride: "main > *" });
});

document.addEventListener("htmx:afterRequest", ({ detail: { target, successful, xhr, requestConfig: { verb }, pathInfo } }) => {
  if (target !== dialog || successful) return;
  if (verb === "get") location.assign(pathInfo.finalRequestPath);
  else if (!xhr.status) say("The server did not answer. Reload the page to see whether it was done.");
});

document.addEventListener("htmx:afterSwap", ({ target }) => {
  if (target === dialog && dialog.open) dialog.querySelector("[aria-invalid=true]")?.focus();
  else if (target === dialog) dialog.showModal();
});
dialog.addEventListener("close", () => dialog.replaceChildren());
dialog.addEventListener("click", ({ target, detail }) => { if (target === dialog && detail < 2 && mayClose(false)) dialog.close(); });
dialog.addEventListener("cancel", (event) => { if (!mayClose(true)) event.preventDefault(); });

/** Says once that what was typed is not saved; Esc again means it. A click beside it never does. */
function mayClose(isByKey) {
  if (!isUnsaved(dialog) || (isByKey && dialog.querySelector("[data-said]:not([hidden])"))) return true;
  const out = dialog.querySelector("[data-close]")?.textContent.trim() || "Cancel";
  say(`Your changes are not saved. Press Esc or ${out} to discard them.`);
  return false;
}

function say(sentence) {
  const line = dialog.querySelector("[data-said]");
  line.textContent = sentence;
  line.hidden = false;
  line.scrollIntoView({ block: "nearest" });
}
