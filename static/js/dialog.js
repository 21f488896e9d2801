// What is asked before something is done opens in <dialog id="dialog">, which htmx brings (hx-target="#dialog"). Its button
// posts by htmx too: what was refused comes back into the dialog. Where the question cannot be had, its link is followed.
import { isUnsaved } from "./typed.js";

const dialogOf = ({ detail }) => (detail.target?.id === "dialog" ? detail.target : null);
let opener = null; // has the focus again when the dialog closes
let isAsking = false; // a question is on its way: a second click waits for the first

// With a modifier the browser opens the page elsewhere, as it does for every link.
document.addEventListener("click", (event) => {
  const { metaKey, ctrlKey, shiftKey, altKey } = event;
  if ((metaKey || ctrlKey || shiftKey || altKey) && event.target.closest?.("a[hx-get]")) event.stopPropagation();
}, { capture: true });

/** Opens the question at `url`, as the link `source` would; it may be a button too. */
export const ask = (url, source) => htmx.ajax("get", url, { source, target: "#dialog", swap: "outerHTML" });

document.addEventListener("htmx:beforeRequest", (event) => {
  const dialog = dialogOf(event);
  if (!dialog) return;
  const { elt } = event.detail;
  const isRefused = elt.form && !elt.form.noValidate && !elt.form.reportValidity();
  if (isAsking || isRefused) return event.preventDefault();
  isAsking = true;
  if (!dialog.contains(elt)) opener = elt;
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (!dialogOf(event)) return;
  isAsking = false;
  const { xhr, requestConfig: { verb }, pathInfo } = event.detail;
  if (xhr.status && (xhr.status < 400 || xhr.status === 422)) return;
  if (verb === "get") location.assign(pathInfo.finalRequestPath);
  else if (!xhr.status) say(document.getElementById("dialog"), "The server did not answer. Reload the page to see whether it was done.");
});

// Why it could not be done is a page of its own without htmx.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = event;
  if (!dialogOf(event) || detail.requestConfig.verb === "get" || !detail.isError) return;
  Object.assign(detail, { shouldSwap: true, isError: false, swapOverride: "innerHTML", selectOverride: "main > *" });
});

document.addEventListener("htmx:afterSwap", ({ target: dialog }) => {
  if (dialog.id !== "dialog" || dialog.open) return;
  opener?.closest("[popover]:popover-open")?.hidePopover();
  dialog.addEventListener("click", (event) => {
    const isOut = event.target.closest("[data-close]");
    if (isOut) event.preventDefault();
    if (isOut || (event.target === dialog && mayClose(dialog))) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented && !mayClose(dialog, "Esc again")) event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    wayBack(opener)?.focus();
  });
  dialog.showModal();
});

/** Says once that what was typed is not saved; whoever then says it again means it. A click beside it never does. */
function mayClose(dialog, again = "") {
  if (!isUnsaved(dialog) || (again && dialog.querySelector("[data-said]"))) return true;
  const out = dialog.querySelector("[data-close]")?.textContent.trim() || "Cancel";
  say(dialog, `What you typed is not saved. ${again ? `${again}, or ${out},` : out} leaves it.`);
  return false;
}

function say(dialog, sentence) {
  const line = dialog.querySelector("[data-said]") ?? document.createElement("p");
  line.dataset.said = "";
  line.setAttribute("role", "alert");
  line.textContent = sentence;
  if (!line.isConnected) dialog.querySelector("footer").before(line);
  line.scrollIntoView({ block: "nearest" });
}

/** The link that asked or, when it is in a closed menu, the menu's button. */
function wayBack(link) {
  const menu = link?.closest("[popover]:not(:popover-open)");
  return menu ? document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`) : link;
}
