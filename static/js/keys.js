// Keys: "/" the search box (else the page that has one), j and k the rows of a table (Enter opens, x ticks), e c s r an act of
// the row one is in, else of the page, "?" tells them all. Never while somebody types, never with a modifier, never behind a
// dialog. What would act at once when clicked asks first when a key does it. The dialog of "?" switches them off, for this browser.
import { ask } from "./dialog.js";

const ACTS = { e: "edit", c: "clone", s: "stop", r: "rerun" };
const TYPED = "textarea, select, [contenteditable], input:not([type=checkbox], [type=radio], [type=button], [type=submit])";

const help = document.querySelector("dialog[data-keys]");
let off = false; // for browsers that keep nothing

function isOff() {
  try {
    return localStorage.getItem("keys") === "off";
  } catch {
    return off;
  }
}

function keep(isOn) {
  off = !isOn;
  try {
    if (isOn) localStorage.removeItem("keys");
    else localStorage.setItem("keys", "off");
  } catch { /* private window: holds for this page */ }
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isOff()) return;
  if (event.target.closest?.(TYPED) || document.querySelector("dialog:modal")) return;
  const does = KEYS[event.key];
  if (!does || (event.repeat && !"jk".includes(event.key))) return;
  if (does() !== false) event.preventDefault();
});

const KEYS = {
  "/": search,
  "?": tell,
  j: () => move(+1),
  k: () => move(-1),
  x: tick,
  ...Object.fromEntries(Object.entries(ACTS).map(([key, verb]) => [key, () => act(verb)])),
};

function search() {
  const box = document.querySelector("[data-search]");
  const everywhere = document.querySelector("a[data-search-everywhere]");
  if (!box && everywhere) location.assign(everywhere.href);
  if (!box) return Boolean(everywhere);
  box.focus();
  box.select();
  return true;
}

const linkOf = (row) => row.querySelector("th[scope=row] a[href]");
const rowHere = () => document.activeElement?.closest("main tbody tr");

function move(by) {
  const rows = [...document.querySelectorAll("main tbody tr")].filter((row) => linkOf(row)?.checkVisibility());
  const at = rows.indexOf(rowHere());
  const row = rows[at < 0 ? 0 : at + by];
  if (row) linkOf(row).focus();
  return rows.length > 0;
}

function tick() {
  const box = rowHere()?.querySelector("input[type=checkbox]");
  box?.click();
  return Boolean(box);
}

function act(verb) {
  const place = rowHere() ?? document.querySelector("main .page-head");
  const offered = [...(place?.querySelectorAll("a[href], form[action]") ?? [])];
  const found = offered.find((one) => new URL(one.getAttribute("href") ?? one.getAttribute("action"), location).pathname.endsWith(`/${verb}/`));
  if (!found) return false;
  if (found.matches("a")) found.click();
  else ask(found.action, found.querySelector("button"));
  return true;
}

function tell() {
  if (!help) return false;
  help.querySelector("[data-keys-on]").checked = !isOff();
  help.showModal();
  return true;
}

document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-keys-help]")) tell();
  else if (event.target === help) help.close(); // beside it
});
help?.querySelector("[data-keys-on]").addEventListener("change", (event) => keep(event.target.checked));
