// j and k go through the rows of a table; any other key presses what carries it as aria-keyshortcuts, an action in the row one is
// in, else in the page's head. Not while somebody types, nor behind a dialog. What acts at once when clicked asks first here.
const TYPED = "textarea, select, [contenteditable], input:not([type=checkbox], [type=radio], [type=button], [type=submit])";
const isOn = document.querySelector("#keys [type=checkbox]");

document.addEventListener("keydown", (event) => {
  const { key } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isOn?.checked === false) return;
  if (event.target.closest?.(TYPED) || document.querySelector("dialog:is(:modal, :popover-open)")) return;
  if (key === "j") move(+1);
  else if (key === "k") move(-1);
  else if (event.repeat || !press(key === " " ? "Space" : key)) return;
  event.preventDefault();
});

const linkOf = (row) => row.querySelector("th[scope=row] a[href]");
const rowHere = () => document.activeElement?.closest("main tbody tr");

function move(by) {
  const rows = [...document.querySelectorAll("main tbody tr")].filter((row) => linkOf(row)?.checkVisibility());
  const at = rows.indexOf(rowHere()), row = rows[at < 0 ? 0 : at + by];
  if (row) linkOf(row).focus();
}

function press(key) {
  const place = /^[a-z]$/.test(key) ? rowHere() ?? document.querySelector("main .page-head") : key === "Escape" ? document.querySelector(":target") : document;
  const carrier = [...(place?.querySelectorAll(`[aria-keyshortcuts="${CSS.escape(key)}"]`) ?? [])].at(-1);
  if (carrier?.type === "submit") htmx.ajax("get", carrier.form.action, { source: carrier, target: "#dialog", swap: "morph" });
  else if (carrier?.type !== "search") carrier?.click();
  else {
    carrier.focus();
    carrier.select();
  }
  return Boolean(carrier);
}
