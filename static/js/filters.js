// A filter form (form[data-filters], GET) leaves out of the address what nobody asked for, and a choice acts at once.

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-filters]")) return;
  for (const control of event.target.elements) {
    if (control.name && !control.value) control.disabled = true;
  }
});

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-filters]");
  if (form && event.target.matches("select")) form.requestSubmit();
});

// Back to this page as the browser kept it: the controls must answer again.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const control of document.querySelectorAll("form[data-filters] :disabled")) control.disabled = false;
});
