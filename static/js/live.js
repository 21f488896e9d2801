// What htmx's polling lacks: one request for all fragments of a page that are due ([data-beside]: the id of the one that asks), entity
// tags, so that what is unchanged costs a 304; rest while the page is hidden or the server silent; and words about that.
const REST_S = 30; // between two requests of a hidden page, and at most while the server is silent
const EARLY_MS = 500; // a timer is not exact
const bar = document.querySelector("[data-live-state]:not([data-state=off])");
const banner = document.getElementById("live-lost");

/** What is known of a fragment, kept at its element. */
const pollOf = (fragment) => fragment.poll ??= { failures: 0, heardAt: performance.timeOrigin, askedAt: performance.timeOrigin };

document.addEventListener("htmx:configRequest", (event) => {
  const { target, detail: { triggeringEvent, headers } } = event, { id, dataset: { live, tag } } = target, { failures } = pollOf(target);
  if (!live) return;
  const isAsked = triggeringEvent && !document.hidden, pause = failures ? live * 2 ** (failures - 1) : document.hidden * REST_S;
  const isDue = (fragment, seconds) => isAsked || Date.now() - pollOf(fragment).askedAt > seconds * 1000 - EARLY_MS;
  if (!isDue(target, Math.min(pause, REST_S))) return event.preventDefault();
  const beside = [...document.querySelectorAll(`[data-beside="${id}"]`)].filter((each) => isDue(each, each.dataset.every));
  for (const each of [target, ...beside]) pollOf(each).askedAt = Date.now();
  if (beside.length) headers["Live-With"] = beside.map((each) => `${each.id}=${each.dataset.tag}`).join(" ");
  headers["If-None-Match"] = `"${tag}"`;
});

document.addEventListener("htmx:afterRequest", ({ target, detail: { successful, xhr } }) => {
  if (xhr.status === 304 && target.dataset.live) target.dataset.tag = xhr.getResponseHeader("ETag").replace(/^W\/|"/g, ""); // the same, by a newer version
  Object.assign(pollOf(target), successful ? { failures: 0, heardAt: Date.now() } : { failures: pollOf(target).failures + 1 });
  say();
});

document.addEventListener("htmx:beforeSwap", ({ target, detail }) => { // an answer to what is no longer asked: filtered or sorted since
  const { elt, path } = detail.requestConfig;
  if (target.dataset.live && elt === target && path !== (target.getAttribute("hx-get") || location.href)) detail.shouldSwap = false;
});

/** Says in the bar how old the oldest fragment is, and in the banner that the server is silent; one miss is no news. */
function say() {
  const all = [...document.querySelectorAll("[data-live]")].map(pollOf);
  const failures = Math.max(0, ...all.map((poll) => poll.failures));
  if (banner) banner.hidden = failures < 2;
  if (!bar || !all.length) return;
  bar.dataset.state = failures ? "lost" : "";
  bar.querySelector("[data-live-word]").textContent = failures ? "Not live" : "Live";
  bar.querySelector("[data-live-age]").textContent = `updated ${duration((Date.now() - Math.min(...all.map((poll) => poll.heardAt))) / 1000, true)} ago`;
}

const UNITS = [["s", 1, 0], ["m", 60, 60], ["h", 3600, 3600], ["d", 86400, 2 * 86400]]; // name, length, where it begins

/** As the server writes it, in two units or the larger of them: 12 m 05 s, 12 m. */
function duration(seconds, isShort) {
  const whole = Math.round(seconds), at = UNITS.findLastIndex(([, , begin]) => whole >= begin);
  const [unit, length] = UNITS[at], [smaller, part] = UNITS[at - 1] ?? [], rest = part && Math.floor((whole % length) / part);
  return `${Math.floor(whole / length)} ${unit}${rest && !isShort ? ` ${String(rest).padStart(unit === "d" ? 1 : 2, "0")} ${smaller}` : ""}`;
}

/** Counts on what has an age: 3 m ago, or how long something has run. The server wrote the age: two clocks need not agree. */
function tick() {
  for (const element of document.querySelectorAll("[data-age]")) {
    const { age, form } = element.dataset;
    if (element.counted?.age !== age) element.counted = { age, since: Date.now() };
    const seconds = Number(age) + (Date.now() - element.counted.since) / 1000;
    const text = duration(seconds, form) + (form === "ago" ? " ago" : "");
    if (seconds >= 1 && element.textContent !== text) element.textContent = text;
  }
  say();
}

setInterval(tick, 1000); tick();
