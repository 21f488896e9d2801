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

document.addEventListener("reset", ({ target }) => {
  for (const all of target.closest(".has-bulk")?.querySelectorAll("[data-tick-all]") ?? []) all.checked = all.indeterminate = false;
});
