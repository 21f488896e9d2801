// The arrow keys go from left to right through a chart's marks, of which Tab reaches one.
document.addEventListener("keydown", (event) => {
  const mark = event.target.closest(".chart a"), chart = mark?.closest(".chart");
  if (!chart || event.ctrlKey || event.metaKey || event.altKey) return;
  const places = new Map([...chart.querySelectorAll("a")].map((each) => [each, each.getBBox().x]));
  const marks = [...places.keys()].sort((one, other) => places.get(one) - places.get(other)), at = marks.indexOf(mark), last = marks.length - 1;
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = marks[Math.min(Math.max(to, 0), last)];
  mark.setAttribute("tabindex", "-1");
  next.removeAttribute("tabindex");
  next.focus({ preventScroll: true });
});

// A range drawn along an axis of the parallel coordinates fills the form of that axis, which writes it into the filter.
document.addEventListener("pointerdown", (event) => {
  const axis = event.target.closest("[data-axis]");
  const form = axis && document.querySelector(`[data-range="${CSS.escape(axis.dataset.axis)}"]`);
  if (!form?.elements.min) return;
  event.preventDefault();
  addEventListener("pointerup", ({ clientY }) => {
    if (Math.abs(clientY - event.clientY) < 4) return;
    const { top, height } = axis.getBoundingClientRect(), { low, high, log } = axis.dataset, [a, b] = [Number(low), Number(high)];
    const ends = [event.clientY, clientY].map((y) => {
      const share = Math.min(Math.max(1 - (y - top) / height, 0), 1);
      return log ? Math.exp(Math.log(a) + share * Math.log(b / a)) : a + share * (b - a);
    });
    form.elements.min.value = Number(Math.min(...ends).toPrecision(4));
    form.elements.max.value = Number(Math.max(...ends).toPrecision(4));
    form.requestSubmit();
  }, { once: true });
});
