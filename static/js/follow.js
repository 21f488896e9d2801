// The log ([data-follow]) stays at its end while it grows, unless somebody has scrolled up to read.
let isRead = false;

function follow() {
  const log = document.querySelector("[data-follow]");
  if (!isRead) log?.scrollTo(0, log.scrollHeight);
}

document.addEventListener("scroll", ({ target: log }) => {
  if (log.matches?.("[data-follow]")) isRead = log.scrollHeight - log.scrollTop - log.clientHeight > 24;
}, { capture: true, passive: true });
document.addEventListener("htmx:afterSwap", follow);
follow();
