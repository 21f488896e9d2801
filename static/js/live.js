// What htmx's polling lacks: entity tags, so that what is unchanged costs a 304; rest while the page is hidden or the server
// silent; and words about that.

const REST_S = 30; // between two requests of a hidden page, and at most while the server is silent
const polls = new WeakMap(); // fragment -> { tag, failures, heardAt, askedAt }
const bar = document.querySelector("[data-live-state]:not([data-state=off])");
const banner = document.getElementById("live-lost");

const pollOf = (fragment) => polls.get(fragment) ?? polls.set(fragment, { failures: 0, heardAt: performance.timeOrigin, askedAt: 0 }).get(fragment);

function on(name, act) {
  document.addEventListener(`htmx:${name}`, (event) => {
    if (event.target.matches?.("[data-live]")) act(pollOf(event.target), event);
  });
}

on("configRequest", (poll, event) => {
  const { triggeringEvent, headers } = event.detail, { failures, askedAt } = poll;
  const pause = failures ? event.target.dataset.live * 2 ** (failures - 1) : document.hidden * REST_S;
  const isAsked = triggeringEvent && !document.hidden;
  if (!isAsked && Date.now() - askedAt < Math.min(pause, REST_S) * 1000) return event.preventDefault();
  poll.askedAt = Date.now();
  if (poll.tag) headers["If-None-Match"] = poll.tag;
});

on("beforeSwap", (poll, { detail }) => {
  if (detail.shouldSwap) poll.tag = detail.xhr.getResponseHeader("ETag");
});

on("afterRequest", (poll, { detail }) => {
  if (detail.successful) Object.assign(poll, { failures: 0, heardAt: Date.now() });
  else poll.failures += 1;
  say();
});

/** Says in the bar how old the oldest fragment is, and in the banner that the server is silent; one miss is no news. */
function say() {
  const all = [...document.querySelectorAll("[data-live]")].map(pollOf);
  const failures = Math.max(0, ...all.map((poll) => poll.failures));
  if (banner) banner.hidden = failures < 2;
  if (!bar || !all.length) return;
  bar.dataset.state = failures ? "lost" : "";
  bar.querySelector("[data-live-word]").textContent = failures ? "Not live" : "Live";
  bar.querySelector("[data-live-age]").textContent = `updated ${age((Date.now() - Math.min(...all.map((poll) => poll.heardAt))) / 1000)} ago`;
}

function age(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} m` : `${Math.floor(seconds / 3600)} h`;
}

setInterval(say, 1000);
say();
