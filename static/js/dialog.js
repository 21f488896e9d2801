// A link with data-dialog leads to a page that asks ([data-question]). Here the same question opens in a native <dialog>;
// its form posts as it would from the page. Whatever goes wrong, the link is followed.
import { isUnsaved } from "./typed.js";

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-dialog]");
  if (!link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  ask(link, link.href);
});

let asking = null; // whose question is on its way: a second click waits for the first

/** Opens the question at `url`. The focus comes back to `link`, which may be a button too. */
export async function ask(link, url) {
  if (asking) return;
  asking = link;
  try {
    const question = await fetchQuestion(url);
    if (question) show(question, link);
    else location.assign(url);
  } catch {
    location.assign(url);
  } finally {
    asking = null;
  }
}

async function fetchQuestion(url) {
  const response = await fetch(url, { headers: { "HX-Request": "true", "HX-Target": "dialog" } });
  if (!response.ok || response.redirected) return null;
  const question = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-question]");
  const form = question?.querySelector("form");
  // A form without an action posts to its page, which is not the page we are on.
  form?.setAttribute("action", new URL(form.getAttribute("action") || "", url).href);
  return question;
}

function show(question, link) {
  const dialog = document.createElement("dialog");
  dialog.className = question.className;
  dialog.setAttribute("aria-labelledby", question.getAttribute("aria-labelledby") ?? "");
  dialog.append(...document.importNode(question, true).childNodes);
  dialog.addEventListener("click", (event) => {
    const isOut = event.target.closest("[data-close]");
    if (isOut) event.preventDefault();
    if (isOut || (event.target === dialog && mayClose(dialog))) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented && !mayClose(dialog, "Esc again")) event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    wayBack(link)?.focus();
  });
  const menu = link.closest("[popover]:popover-open");
  document.body.append(dialog);
  document.dispatchEvent(new CustomEvent("dialog:shown", { detail: { dialog } }));
  menu?.hidePopover();
  dialog.showModal();
}

/** Says once that what was typed is not saved; whoever then says it again means it. A click beside it never does. */
function mayClose(dialog, again = "") {
  const line = dialog.querySelector("[data-unsaved]");
  if (!isUnsaved(dialog) || (line && again)) return true;
  const said = line ?? document.createElement("p");
  said.dataset.unsaved = "";
  said.setAttribute("role", "alert");
  const out = dialog.querySelector("[data-close]")?.textContent.trim() || "Cancel";
  said.textContent = `What you typed is not saved. ${again ? `${again}, or ${out},` : out} leaves it.`;
  if (!line) dialog.querySelector("footer").before(said);
  said.scrollIntoView({ block: "nearest" });
  return false;
}

/** The link that asked or, when it stands in a closed menu, the menu's button. */
function wayBack(link) {
  const menu = link.closest("[popover]");
  if (!menu || menu.matches(":popover-open")) return link;
  return document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
}
