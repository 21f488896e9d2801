// Keeps the focus where somebody works: after an action the page or its row is drawn anew, and the control that was pressed may be
// gone. Then the focus goes to the same control of the same row or page head, else to the row's name or the next button there.
// Where the focus was: its row and what it does. A page that acts hands it to the page that it leads to.
let place = JSON.parse(sessionStorage.getItem("focus"));

/** What a control does; an action of a menu, which is closed later, counts as the button of the menu. */
const doesOf = (element) => element.closest("[popover]")?.id ?? element.getAttribute("popovertarget")
  ?? element.getAttribute("href") ?? element.closest("form")?.getAttribute("action");

/** A dialog belongs to where it was opened; what has lost the focus, because it is disabled or gone, still has its place. */
function note() {
  const element = document.activeElement, row = element.closest("main [data-key]");
  if (element === document.body || element.closest("dialog")) return;
  const isByKey = Boolean(document.querySelector(":focus-visible"));
  place = row || element.closest("main .page-head")
    ? { path: location.pathname, key: row?.dataset.key, at: row?.sectionRowIndex, does: doesOf(element), isByKey }
    : null;
}

function restore() {
  if (place && document.activeElement === document.body) controlAt(place)?.focus({ focusVisible: place.isByKey });
}

function controlAt({ key, at, does }) {
  const rows = [...document.querySelectorAll("main tbody tr[data-key]")]; // a deleted row: the one in its place
  const row = document.querySelector(key ? `main [data-key="${CSS.escape(key)}"]` : "main .page-head") ?? rows[Math.min(at, rows.length - 1)];
  const controls = [...(row?.querySelectorAll("a[href], button:not([disabled])") ?? [])].filter((one) => one.checkVisibility());
  const named = key ? row?.querySelector("th[scope=row] a[href]") : controls.find((one) => one.closest(".actions"));
  return controls.find((one) => does && doesOf(one) === does) ?? named ?? controls[0];
}

addEventListener("pointerdown", ({ target }) => { if (!target.closest?.("dialog")) place = null; }, { capture: true }); // left it by a click
for (const kind of ["htmx:beforeRequest", "htmx:beforeSwap", "submit"]) addEventListener(kind, note, { capture: true });
for (const kind of ["htmx:afterRequest", "htmx:afterSettle"]) addEventListener(kind, restore);

addEventListener("pagehide", () => { if (place) sessionStorage.setItem("focus", JSON.stringify(place)); });
sessionStorage.removeItem("focus");
if (place?.path !== location.pathname) place = null;
restore();
