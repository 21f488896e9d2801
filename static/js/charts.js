// Two things that charts need beyond links and titles: the arrow keys go through a chart's marks, of which Tab reaches one; and a
// range drawn along an axis of the parallel coordinates fills the form of that axis, which writes it into the filter.

/** Returns the marks of a chart from left to right. */
function marksOf(chart) {
  const marks = [...chart.querySelectorAll("a")].map((mark) => ({ mark, x: mark.getBBox().x }));
  return marks.sort((one, other) => one.x - other.x).map(({ mark }) => mark);
}

document.addEventListener("keydown", (event) => {
  const mark = event.target.closest?.(".chart a"), chart = mark?.closest(".chart");
  if (!chart || event.ctrlKey || event.metaKey || event.altKey) return;
  const marks = marksOf(chart), at = marks.indexOf(mark), last = marks.length - 1;
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = marks[Math.min(Math.max(to, 0), last)];
  mark.setAttribute("tabindex", "-1");
  next.removeAttribute("tabindex");
  next.focus({ preventScroll: true });
});

let brush = null;

document.addEventListener("pointerdown", (event) => {
  const axis = event.target.closest?.("[data-axis]");
  const form = axis && document.querySelector(`[data-range="${CSS.escape(axis.dataset.axis)}"]`);
  if (form?.elements.min) brush = { axis, form, from: event.clientY };
  if (brush) event.preventDefault();
});

document.addEventListener("pointerup", (event) => {
  if (!brush) return;
  const { axis, form, from } = brush, { top, height } = axis.getBoundingClientRect();
  brush = null;
  if (Math.abs(event.clientY - from) < 4) return;
  const { low, high, log } = axis.dataset, [a, b] = [Number(low), Number(high)];
  const ends = [from, event.clientY].map((y) => {
    const share = Math.min(Math.max(1 - (y - top) / height, 0), 1);
    return log ? Math.exp(Math.log(a) + share * Math.log(b / a)) : a + share * (b - a);
  });
  form.elements.min.value = Number(Math.min(...ends).toPrecision(4));
  form.elements.max.value = Number(Math.max(...ends).toPrecision(4));
  form.requestSubmit();
});
