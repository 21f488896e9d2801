// The box in the head of a table ticks and clears all rows below it, and shows whether all are ticked.

document.addEventListener("change", (event) => {
  const table = event.target.closest?.("table");
  const all = table?.querySelector("thead [data-tick-all]");
  if (!all) return;
  const rows = [...table.querySelectorAll("tbody input[form=bulk]")];
  if (event.target === all) for (const row of rows) row.checked = all.checked;
  show(all, rows);
});

document.addEventListener("reset", (event) => {
  if (event.target.id !== "bulk") return;
  for (const all of document.querySelectorAll("[data-tick-all]")) all.checked = all.indeterminate = false;
});

function show(all, rows) {
  const ticked = rows.filter((row) => row.checked).length;
  all.checked = ticked > 0 && ticked === rows.length;
  all.indeterminate = ticked > 0 && ticked < rows.length;
}
