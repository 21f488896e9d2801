// The box in the head of a table ticks and clears all rows below it, and shows whether all are ticked.
document.addEventListener("change", ({ target }) => {
  const all = target.closest?.("table")?.querySelector("[data-tick-all]");
  if (!all) return;
  const rows = [...all.closest("table").querySelectorAll("tbody input[form=bulk]")];
  if (target === all) for (const row of rows) row.checked = all.checked;
  const ticked = rows.filter((row) => row.checked).length;
  all.checked = ticked > 0 && ticked === rows.length;
  all.indeterminate = ticked > 0 && ticked < rows.length;
});

// Shift-click ticks or clears all rows from the last ticked one; Ctrl-click on a row is a click on its box.
let last = null;
document.addEventListener("click", ({ target, shiftKey, ctrlKey, metaKey }) => {
  const box = target.closest?.("tbody input[form=bulk]"), rows = [...(box?.closest("tbody").querySelectorAll("input[form=bulk]") ?? [])];
  if (!box && (ctrlKey || metaKey) && !target.closest("a, button, label")) target.closest("tbody tr")?.querySelector("input[form=bulk]")?.click();
  if (!box) return;
  const [from, to] = [rows.indexOf(last), rows.indexOf(box)].sort((one, other) => one - other);
  if (shiftKey && from >= 0) for (const row of rows.slice(from, to + 1)) row.checked = box.checked;
  last = box;
});

document.addEventListener("reset", ({ target }) => {
  for (const all of target.closest(".has-bulk")?.querySelectorAll("[data-tick-all]") ?? []) all.checked = all.indeterminate = false;
});
