// Rows of a form ([data-space-row]): "Remove" acts at once, however fast the clicks come; the type's hint is the values' placeholder.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[name=drop_row]");
  if (!button) return;
  event.preventDefault();
  const { form } = button, row = button.closest("[data-space-row]"), next = row.nextElementSibling ?? row.previousElementSibling;
  if (row.querySelector("[name$=-name]:not([value=''])")) form.dataset.typed = "already";
  row.remove();
  (next.querySelector("button") ?? form.querySelector("[name=add_row]:not([tabindex])")).focus();
  form.dispatchEvent(new Event("input", { bubbles: true }));
});

document.addEventListener("change", ({ target }) => {
  const values = target.matches("select") && target.closest("[data-space-row]")?.querySelector("[name$=-values]");
  if (values) values.placeholder = target.selectedOptions[0].dataset.hint;
});

// What the preview drew of a row ([data-drawn]: the id of its place) is shown in it; the row may have gone meanwhile.
document.addEventListener("htmx:afterSwap", ({ target }) => {
  for (const drawn of target.querySelectorAll("[data-drawn]"))
    document.getElementById(drawn.dataset.drawn)?.replaceChildren(...drawn.cloneNode(true).childNodes);
});
