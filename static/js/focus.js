// Keeps the focus where somebody works: after an action the page or its row is drawn anew, and the control that was pressed may be
// gone. Then the focus goes to the same control of the same row or page head, else to the row's name or the next button there.

const KEPT = "focus"; // in sessionStorage, from the page that acts to the page that it leads to
let acting = null; // where the question was asked
let posted = null; // where the button stands that posted last; it is disabled meanwhile, which takes the focus from it

/** Where an element is: its row and what it does; null where no focus needs to be kept. */
function placeOf(element) {
  const menu = element?.closest("[popover]"); // the action of a menu belongs to its button
  const row = element?.closest("main [data-key]"), head = element?.closest("main .page-head");
  if (!row && !head) return null;
  const shown = menu && document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
  const isByKey = Boolean(document.querySelector(":focus-visible"));
  return { path: location.pathname, key: row?.dataset.key ?? "", at: row ? row.sectionRowIndex : -1, does: doesOf(shown ?? element), isByKey };
}

const doesOf = (element) => element.getAttribute("href") ?? element.getAttribute("popovertarget") ?? element.closest("form")?.getAttribute("action") ?? "";

function controlAt({ key, at, does }) {
  const rows = [...document.querySelectorAll("main tbody tr[data-key]")]; // a deleted row: the one in its place
  const row = key ? document.querySelector(`main [data-key="${CSS.escape(key)}"]`) ?? rows[Math.min(at, rows.length - 1)] : document.querySelector("main .page-head");
  const controls = [...(row?.querySelectorAll("a[href], button:not([disabled])") ?? [])].filter((one) => one.checkVisibility());
  const named = key ? row?.querySelector("th[scope=row] a[href]") : controls.find((one) => one.closest(".actions"));
  return controls.find((one) => does && doesOf(one) === does) ?? named ?? controls[0];
}

function restore(place) {
  if (!document.activeElement || document.activeElement === document.body) controlAt(place)?.focus({ focusVisible: place.isByKey });
}

document.addEventListener("htmx:beforeRequest", ({ detail: { elt, target, requestConfig: { verb } } }) => {
  const place = elt.closest("#dialog") ? acting : placeOf(pressed(elt));
  if (verb === "post") keep(posted = place);
  else if (target?.id === "dialog" && !elt.closest("#dialog")) acting = place;
});

addEventListener("submit", ({ target: form }) => {
  if (form.method === "post") keep(form.closest("#dialog") ? acting : placeOf(form.querySelector("button")));
}, { capture: true });

/** Where the hand is: a key presses the action of a closed menu while the focus is elsewhere in the row. */
const pressed = (elt) => (elt.closest("[popover]") && document.activeElement.closest("main") ? document.activeElement : elt);

const keep = (place) => place && sessionStorage.setItem(KEPT, JSON.stringify(place));

document.addEventListener("htmx:afterRequest", ({ detail: { requestConfig: { verb } } }) => {
  if (verb === "post" && posted) restore(posted);
});

let before = null;
document.addEventListener("htmx:beforeSwap", () => { before = placeOf(document.activeElement); });
document.addEventListener("htmx:afterSettle", () => { if (before) restore(before); });

const kept = JSON.parse(sessionStorage.getItem(KEPT));
sessionStorage.removeItem(KEPT);
if (kept?.path === location.pathname) restore(kept);
