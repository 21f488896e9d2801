// Keeps every [data-live] fragment as new as the server: it gets "tick" every data-live seconds, for which htmx asks with the
// entity tag of the last answer. 304 costs nothing; 200 is morphed in. A fragment that comes back without data-live has
// ended. Hidden pages ask rarely. When the server is silent the page says so and stays usable.

const HIDDEN_SECONDS = 30;
const LONGEST_PAUSE = 30; // seconds between two tries while the server is silent
const PATIENCE_MS = 10_000; // until a request counts as unanswered

const polls = new Map(); // fragment -> { tag, failures, heardAt, isBusy, timer }
const live = document.querySelector("[data-live-state]");
const banner = document.querySelector("[data-live-banner]");
const openedAt = Date.now();
let ended = false; // a fragment could no longer be had

/** Takes up fragments that are new on the page. */
function find() {
  if (live?.dataset.state === "off") return;
  for (const element of document.querySelectorAll("[data-live][id]")) {
    if (polls.has(element)) continue;
    polls.set(element, { failures: 0, heardAt: openedAt });
    plan(element);
  }
}

function plan(element) {
  const poll = polls.get(element);
  const every = element.isConnected && Number(element.dataset.live);
  clearTimeout(poll.timer);
  if (every) poll.timer = setTimeout(ask, pauseOf(poll, every) * 1000, element);
  else polls.delete(element); // gone, or ended
}

function pauseOf({ failures }, every) {
  if (failures) return Math.min(every * 2 ** (failures - 1), LONGEST_PAUSE);
  return document.hidden ? Math.max(every, HIDDEN_SECONDS) : every;
}

function ask(element) {
  if (polls.get(element).isBusy) return; // planned again when it is answered
  plan(element);
  htmx.trigger(element, "tick");
}

const askAll = () => polls.forEach((poll, element) => ask(element));

function on(name, act) {
  document.addEventListener(`htmx:${name}`, (event) => {
    const element = event.detail.requestConfig?.elt ?? event.detail.elt;
    const poll = polls.get(element);
    if (poll) act(poll, element, event);
  });
}

on("configRequest", (poll, element, { detail }) => {
  poll.isBusy = true;
  detail.timeout = PATIENCE_MS;
  if (poll.tag) detail.headers["If-None-Match"] = poll.tag;
});

// Signed out meanwhile: what somebody reads or types is not taken away, unless they ask for something.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  const { elt, xhr } = event.detail;
  if (xhr.getResponseHeader("HX-Redirect") && !elt.matches("a, button, form")) end(elt, event);
});

on("beforeSwap", (poll, element, event) => {
  const { xhr, shouldSwap } = event.detail;
  const isSent = shouldSwap && xhr.response.includes(`id="${element.id}"`);
  if (isSent) poll.tag = xhr.getResponseHeader("ETag");
  else if (xhr.status !== 304 && !isSilence(xhr)) end(element, event);
});

/** Signed out, deleted, or no longer mine to see: a reload shows which. */
function end(element, event) {
  event.preventDefault();
  delete element.dataset.live;
  ended = true;
}

const isSilence = ({ status }) => status === 0 || status === 429 || status >= 500;

on("afterRequest", (poll, element, { detail }) => {
  poll.isBusy = false;
  if (isSilence(detail.xhr)) poll.failures += 1;
  else Object.assign(poll, { failures: 0, heardAt: Date.now() });
  plan(element);
  say();
});

/** Says in the bar how old the oldest fragment is, and in the banner that the server is silent. */
function say() {
  if (live?.dataset.state === "off") return;
  const all = [...polls.values()];
  const isLost = all.some(({ failures }) => failures > 0);
  const heard = age(Math.min(Date.now(), ...all.map(({ heardAt }) => heardAt)));
  if (banner) {
    banner.hidden = !ended && !all.some(({ failures }) => failures > 1); // one miss is no news
    const isEnd = ended && !isLost;
    set(banner, "b", isEnd ? "This page can no longer be kept up to date." : "Connection lost, retrying.");
    set(banner, "[data-live-lost]", isEnd ? "You may be signed out, or what it showed is gone. Reload to see." : `What you see is ${heard} old; you can go on reading.`);
    set(banner, "[data-live-retry]", isEnd ? "Reload" : "Try now");
  }
  if (!live) return;
  if (isLost) live.dataset.state = "lost";
  else delete live.dataset.state;
  set(live, "[data-live-word]", isLost ? "Not live" : "Live");
  set(live, "[data-live-age]", `updated ${heard} ago`);
}

function age(since) {
  const seconds = Math.max(0, Math.round((Date.now() - since) / 1000));
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} m` : `${Math.floor(seconds / 3600)} h`;
}

function set(place, selector, text) {
  const element = place.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}

banner?.querySelector("[data-live-retry]").addEventListener("click", () => (ended ? location.reload() : askAll()));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) polls.forEach((poll, element) => poll.isBusy || plan(element));
  else askAll();
});
document.addEventListener("htmx:afterSettle", find);
addEventListener("online", askAll);
addEventListener("pageshow", (event) => { if (event.persisted) askAll(); });
setInterval(say, 1000);
find();
say();
