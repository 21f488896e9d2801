// [data-copy="words"] copies its words; [data-copy] alone copies the text of the <pre> or [data-copied] beside it.

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const text = button.dataset.copy || button.parentElement.querySelector("pre, [data-copied]")?.textContent || "";
  await copy(text);
  const was = button.getAttribute("aria-label") ?? "";
  button.classList.add("is-copied");
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    button.classList.remove("is-copied");
    if (was) button.setAttribute("aria-label", was);
    else button.removeAttribute("aria-label");
  }, 1500);
});

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyWithoutRight(text); // plain http on another machine: the clipboard is only for secure pages
  }
}

function copyWithoutRight(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr-only";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
