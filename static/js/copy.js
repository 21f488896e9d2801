// [data-copy="words"] copies its words, [data-copy] the <pre> or [data-copied] beside it; also by http, without the newer clipboard.
document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-copy]");
  if (!button) return;
  const area = document.createElement("textarea"), label = button.ariaLabel;
  area.value = button.dataset.copy || button.parentElement.querySelector("pre, [data-copied]")?.textContent || "";
  area.className = "sr-only";
  button.after(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  button.focus();
  if (button.matches(".is-copied")) return;
  button.classList.add("is-copied");
  button.ariaLabel = "Copied";
  setTimeout(() => {
    button.classList.remove("is-copied");
    button.ariaLabel = label;
  }, 1500);
});
