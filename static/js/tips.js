// The marks of a chart carry their words in <title>. This shows them at once in one small box, on hover and on focus;
// Esc sends it away. The browser's own slow tooltip would stand beside it, so the words move to aria-label first.

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);

function wordsOf(mark) {
  const title = mark.querySelector("title");
  if (title) {
    mark.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  return mark.getAttribute("aria-label");
}

function show(mark) {
  const words = wordsOf(mark);
  if (!words) return hide();
  tip.textContent = words;
  tip.hidden = false;
  const on = mark.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const left = Math.min(Math.max(4, on.left + on.width / 2 - own.width / 2), innerWidth - own.width - 4);
  const above = on.top - own.height - 6;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : on.bottom + 6}px`;
}

function hide() {
  tip.hidden = true;
}

const markOf = (event) => event.target.closest?.(".chart a, .chart [data-tip]");

for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const mark = markOf(event);
    if (mark) show(mark);
  });
}
for (const kind of ["pointerout", "focusout"]) {
  document.addEventListener(kind, (event) => { if (markOf(event)) hide(); });
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
document.addEventListener("scroll", hide, { capture: true, passive: true });
