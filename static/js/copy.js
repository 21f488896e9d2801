// [data-copy="words"] copies its words, [data-copy] the <pre> or [data-copied] beside it; also by http, without the newer clipboard.
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const area = document.createElement("textarea");
  area.value = button.dataset.copy || button.parentElement.querySelector("pre, [data-copied]")?.textContent || "";
  button.after(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  button.focus();
  button.ariaDescription = "Copied";
  setTimeout(() => { button.ariaDescription = null; }, 1500);
});
