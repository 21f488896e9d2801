// The box in the head of a table ticks and clears all rows below it, and shows whether all are ticked.
const boxes = () => [...document.querySelectorAll("tbody input[form=bulk]")];

function show({ type, target }) {
  const all = document.querySelector("[data-tick-all]"), rows = boxes();
  if (!all) return;
  if (target === all) for (const box of rows) box.checked = all.checked;
  const ticked = type === "reset" ? 0 : rows.filter((box) => box.checked).length;
  all.checked = ticked > 0 && ticked === rows.length;
  all.indeterminate = ticked > 0 && ticked < rows.length;
}
for (const kind of ["change", "reset"]) document.addEventListener(kind, show);

// Shift-click ticks or clears all rows from the last ticked one; Ctrl-click on a row is a click on its box.
let last = null;
document.addEventListener("click", ({ target, shiftKey, ctrlKey, metaKey }) => {
  const rows = boxes(), [from, to] = [rows.indexOf(last), rows.indexOf(target)].sort((one, other) => one - other);
  if (rows.includes(target)) {
    if (shiftKey && from >= 0) for (const box of rows.slice(from, to + 1)) box.checked = target.checked;
    last = target;
  } else if ((ctrlKey || metaKey) && !target.closest("a, button, label")) target.closest("tbody tr")?.querySelector("input[form=bulk]")?.click();
});
