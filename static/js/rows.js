// The rows of a search space: added and removed at once (without script the server does it), each saying what its type
// takes. Rows and JSON are two views of one space: whoever turns to the other finds there what was typed here.

document.addEventListener("click", (event) => {
  const add = event.target.closest?.("[data-add-row]");
  const drop = event.target.closest?.("[data-drop-row]");
  if (!add && !drop) return;
  event.preventDefault();
  const form = event.target.closest("form");
  if (add) addRow(add.closest("[data-rows]"));
  else dropRow(drop.closest("[data-space-row]"));
  form.dispatchEvent(new Event("input", { bubbles: true }));
});

function addRow(rows) {
  const row = rows.querySelector("template[data-row]").content.firstElementChild.cloneNode(true);
  const place = nextPlace(rows);
  for (const control of row.querySelectorAll("[name]")) {
    control.name = control.name.replace("__place__", place);
    if (control.value === "__place__") control.value = place;
  }
  rows.querySelector("template[data-row]").before(row);
  row.querySelector("input").focus();
}

function dropRow(row) {
  const next = row.nextElementSibling?.matches("[data-space-row]") ? row.nextElementSibling : row.previousElementSibling;
  const rows = row.closest("[data-rows]");
  row.remove();
  (next?.querySelector("[data-drop-row]") ?? rows.querySelector("[data-add-row]")).focus();
}

function nextPlace(rows) {
  const places = [...rows.querySelectorAll("[data-space-row] [name$=-name]")].map((input) => Number(input.name.split("-")[1]));
  return Math.max(-1, ...places) + 1;
}

document.addEventListener("change", (event) => {
  const row = event.target.closest?.("[data-space-row]");
  if (row && event.target.matches("select")) {
    row.querySelector("[name$=-values]").placeholder = event.target.selectedOptions[0].dataset.hint;
  }
  if (event.target.matches?.("[name=space_as]")) turn(event.target);
  if (event.target.matches?.("select[id]")) showOffer(event.target);
});

/** Fills the view that is turned to from the other one, if that one is without fault. */
async function turn(radio) {
  const form = radio.form;
  const data = new FormData(form);
  const other = radio.value === "json" ? "rows" : "json";
  data.set("space_as", other);
  try {
    const response = await fetch(location.href, { method: "POST", body: data, headers: { "HX-Request": "true", "HX-Target": "space" } });
    if (!response.ok || response.redirected || form.elements.space_as.value !== radio.value) return;
    const sent = new DOMParser().parseFromString(await response.text(), "text/html");
    if (sent.querySelector(".error")) return; // what was typed cannot be read: both stay as they are
    const nested = sent.querySelector("[data-nested]:not([hidden])");
    if (nested) return backToJson(form);
    if (radio.value === "json") form.elements.space_document.value = sent.querySelector("[name=space_document]").value;
    else replaceRows(form.querySelector("[data-rows]"), sent.querySelectorAll("[data-rows] > [data-space-row]"));
  } catch {
    // Silent: the other view stays as it was, and what counts is what is seen.
  }
}

/** Rows have no place for a nested space: it stays in view as JSON, and a line says so. */
function backToJson(form) {
  form.elements.space_as.value = "json";
  form.querySelector("[data-nested]").hidden = false;
}

function replaceRows(rows, sent) {
  if (!sent.length) return;
  for (const row of rows.querySelectorAll(":scope > [data-space-row]")) row.remove();
  rows.querySelector("template[data-row]").before(...[...sent].map((row) => document.importNode(row, true)));
}

function showOffer(select) {
  const offers = document.querySelectorAll(`[data-offers-of="${CSS.escape(select.id)}"] > [data-offer]`);
  for (const offer of offers) offer.hidden = offer.dataset.offer !== select.value;
}

for (const offers of document.querySelectorAll("[data-offers-of]")) {
  const select = document.getElementById(offers.dataset.offersOf);
  if (select) showOffer(select);
}
