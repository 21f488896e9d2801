// A log ([data-follow]) stays at its end while it grows, unless somebody has scrolled up to read.

const END = 24; // pixels from the bottom that still count as the end
const reading = new WeakSet(); // logs in which somebody has scrolled up

function follow() {
  for (const log of document.querySelectorAll("[data-follow]")) {
    if (!reading.has(log)) log.scrollTop = log.scrollHeight;
  }
}

document.addEventListener("scroll", ({ target }) => {
  if (!target.matches?.("[data-follow]")) return;
  if (target.scrollHeight - target.scrollTop - target.clientHeight < END) reading.delete(target);
  else reading.add(target);
}, { capture: true, passive: true });
document.addEventListener("htmx:afterSwap", follow);
follow();
