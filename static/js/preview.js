// A form with data-preview="id" shows what it would do while one types: it is sent to its own page as a preview, and the
// fragment that comes back replaces the element of that id. Only the latest answer counts.
import { morph } from "./morph.js";

const QUIET_MS = 400; // after the last keystroke

for (const form of document.querySelectorAll("form[data-preview]")) {
  let timer = null;
  let asking = null;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, QUIET_MS);
  };

  async function ask() {
    asking?.abort();
    const mine = (asking = new AbortController());
    const body = new FormData(form);
    body.set("preview", "1");
    const headers = { "HX-Request": "true", "HX-Target": form.dataset.preview };
    try {
      const response = await fetch(location.href, { method: "POST", body, headers, signal: mine.signal });
      if (!response.ok || response.redirected) return;
      const text = await response.text();
      const sent = new DOMParser().parseFromString(text, "text/html").getElementById(form.dataset.preview);
      const shown = document.getElementById(form.dataset.preview);
      if (sent && shown && asking === mine) morph(shown, sent);
    } catch {
      // Aborted, or the server is silent: the next keystroke asks again.
    }
  }

  form.addEventListener("input", later);
  form.addEventListener("change", later);
  form.addEventListener("submit", (event) => {
    if (event.submitter?.name !== "preview") return;
    if (event.submitter.tabIndex < 0) event.preventDefault(); // Enter in a field: the preview beside it is enough
    later();
  });
  if ([...form.elements].some((control) => control.value !== control.defaultValue && control.type === "text")) later();
}
