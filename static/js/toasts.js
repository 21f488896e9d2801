// Messages can be sent away; good news goes by itself, unless somebody is reading it. Errors stay.

const READING_MS = 8000;

for (const toast of document.querySelectorAll("[data-toasts] > .toast")) {
  toast.querySelector("[data-dismiss]")?.addEventListener("click", () => toast.remove());
  if (!["error", "warning"].includes(toast.dataset.level)) leave(toast);
}

function leave(toast) {
  setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) leave(toast);
    else toast.remove();
  }, READING_MS);
}
