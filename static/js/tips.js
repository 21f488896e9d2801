// Shows the <title> of a chart's mark at once, on hover and focus, until a key or scrolling. It moves to aria-label: else the
// browser's own slow tooltip would stand beside it.

const tip = document.querySelector(".tip");

function show(mark) {
  const title = mark?.querySelector("title");
  if (title) mark.ariaLabel = title.textContent;
  title?.remove();
  tip.hidden = !mark?.ariaLabel;
  if (tip.hidden) return;
  tip.textContent = mark.ariaLabel;
  const { left, width, top, bottom } = mark.getBoundingClientRect(), above = top - tip.offsetHeight - 6;
  const end = innerWidth - tip.offsetWidth - 4;
  tip.style.left = `${Math.min(Math.max(4, left + width / 2 - tip.offsetWidth / 2), end)}px`;
  tip.style.top = `${above > 4 ? above : bottom + 6}px`;
}

for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, ({ target }) => show(target.closest?.(".chart a, .chart [data-tip]")));
}
for (const kind of ["keydown", "scroll"]) document.addEventListener(kind, () => show(null), { capture: true, passive: true });
