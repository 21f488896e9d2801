// Light, dark or as the system: set before the first paint, which is why this is a classic script in the head.
{
  const root = document.documentElement;
  let store = {}; // holds for this page, where the browser keeps nothing
  try { store = localStorage; } catch { /* private window */ }

  const show = () => {
    root.dataset.theme = ["light", "dark"].includes(store.theme) ? store.theme : "";
    for (const button of document.querySelectorAll("[data-theme-choice] button")) {
      button.ariaPressed = String(button.value === root.dataset.theme);
    }
  };

  root.dataset.js = "";
  show();
  for (const kind of ["DOMContentLoaded", "storage"]) addEventListener(kind, show);
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("[data-theme-choice] button");
    if (!button) return;
    store.theme = button.value;
    show();
  });
}
