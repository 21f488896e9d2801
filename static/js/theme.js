// Light, dark or as the system: set before the first paint, which is why this is a classic script in the head.
{
  const root = document.documentElement;
  root.dataset.js = "";
  const read = () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } };
  const keep = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* private window: holds for this page */ } };

  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    for (const button of document.querySelectorAll("[data-theme-choice] button")) {
      button.setAttribute("aria-pressed", String(button.value === (root.dataset.theme ?? "")));
    }
  };

  show(read());
  document.addEventListener("DOMContentLoaded", () => show(read()));
  addEventListener("storage", (event) => { if (event.key === "theme") show(read()); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-choice] button");
    if (!button) return;
    keep(button.value);
    show(button.value);
  });
}
