// What a choice takes: the placeholder of a parameter's values, the arguments of an algorithm or of an early stopping rule.

document.addEventListener("change", ({ target }) => {
  if (!target.matches("select")) return;
  const values = target.closest("[data-space-row]")?.querySelector("[name$=-values]");
  if (values) values.placeholder = target.selectedOptions[0].dataset.hint;
  show(target);
});

function show(select) {
  for (const offer of document.querySelectorAll(`[data-offers-of="${select.id}"] > [data-offer]`)) {
    offer.hidden = offer.dataset.offer !== select.value;
  }
}

for (const { dataset } of document.querySelectorAll("[data-offers-of]")) {
  const select = document.getElementById(dataset.offersOf);
  if (select) show(select);
}
