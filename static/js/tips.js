// Shows the <title> of a chart's mark at once, on hover and focus, until a key or scrolling. It moves to aria-label: else the
// browser's own slow tooltip would stand beside it.
const tip = document.querySelector(".tip"), place = document.querySelector(".tip-mark");

function show(mark) {
  const title = mark?.querySelector("title");
  if (title) mark.ariaLabel = title.textContent;
  title?.remove();
  tip.hidden = !mark?.ariaLabel;
  if (tip.hidden) return;
  tip.textContent = mark.ariaLabel;
  const { left, top, width, height } = mark.getBoundingClientRect();
  Object.assign(place.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
}

for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, ({ target }) => show(target.closest?.(".chart a, .chart [data-tip]")));
for (const kind of ["keydown", "scroll"]) document.addEventListener(kind, () => show(null), { capture: true, passive: true });
