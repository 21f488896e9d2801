// Keeps every [data-live] fragment as new as the server: asks its data-live-url every data-live seconds, one request at a
// time for each, with the entity tag of the last answer. 304 costs nothing; 200 is morphed in. A fragment that comes back
// without data-live has ended. The address is this page's own when data-live-url is left out, so that links in the
// fragment (sort, pages) are those of the page. Hidden pages ask rarely. When the server is silent the page says so and stays usable.
import { morph } from "./morph.js";

const HIDDEN_SECONDS = 30;
const LONGEST_PAUSE = 30; // seconds between two tries while the server is silent
const PATIENCE = 10; // seconds until a request counts as unanswered

const loops = new Map(); // fragment id -> its Loop
const live = document.querySelector("[data-live-state]");
const banner = document.querySelector("[data-live-banner]");
const openedAt = Date.now();

class Loop {
  failures = 0;
  heardAt = openedAt;
  busy = false;

  constructor(id) {
    this.id = id;
    this.tag = this.element.dataset.liveTag;
    this.plan();
  }

  get element() {
    return document.getElementById(this.id);
  }

  /** Seconds to the next try; null when the fragment is gone or has ended. */
  get pause() {
    const every = Number(this.element?.dataset.live);
    if (!every) return null;
    if (this.failures) return Math.min(every * 2 ** (this.failures - 1), LONGEST_PAUSE);
    return document.hidden ? Math.max(every, HIDDEN_SECONDS) : every;
  }

  plan() {
    clearTimeout(this.timer);
    if (this.pause === null) loops.delete(this.id);
    else this.timer = setTimeout(() => this.ask(), this.pause * 1000);
  }

  end() {
    clearTimeout(this.timer);
    delete this.element?.dataset.live;
  }

  async ask() {
    if (this.busy || !this.element) return;
    this.busy = true;
    clearTimeout(this.timer);
    try {
      this.take(await this.fetch());
    } catch {
      this.failures += 1;
    }
    this.busy = false;
    this.plan();
    find();
    say();
  }

  async fetch() {
    const headers = { "HX-Request": "true", "HX-Target": this.id, "HX-Current-URL": location.href };
    if (this.tag) headers["If-None-Match"] = this.tag;
    const response = await fetch(this.element.dataset.liveUrl || location.href, {
      headers,
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE * 1000),
    });
    return { response, text: response.status === 200 ? await response.text() : "" };
  }

  take({ response, text }) {
    if (response.status >= 500 || response.status === 429) throw new Error(`the server answered ${response.status}`);
    this.failures = 0;
    this.heardAt = Date.now();
    if (response.status === 304) return;
    const sent = text && new DOMParser().parseFromString(text, "text/html").getElementById(this.id);
    if (!sent || sent.nodeName !== this.element?.nodeName) {
      // Signed out, deleted, or no longer mine to see: a reload shows which.
      if (this.element) ended = true;
      this.end();
      return;
    }
    this.tag = response.headers.get("ETag");
    morph(this.element, sent);
    document.dispatchEvent(new CustomEvent("live:changed", { detail: { id: this.id } }));
  }
}

let ended = false; // a fragment could no longer be had

/** Takes up fragments that are new on the page. */
function find() {
  if (live?.dataset.state === "off") return;
  for (const { id } of document.querySelectorAll("[data-live][id]")) {
    if (!loops.has(id)) loops.set(id, new Loop(id));
  }
}

/** Says in the bar how old the oldest fragment is, and in the banner that the server is silent. */
function say() {
  if (live?.dataset.state === "off") return;
  const all = [...loops.values()];
  const lost = all.some((loop) => loop.failures > 0);
  const heardAt = Math.min(Date.now(), ...all.map((loop) => loop.heardAt));
  banner?.toggleAttribute("hidden", !ended && !all.some((loop) => loop.failures > 1)); // one miss is no news
  if (banner && ended && !lost) {
    set(banner.querySelector("b"), "This page can no longer be kept up to date.");
    set(banner.querySelector("[data-live-lost]"), "You may be signed out, or what it showed is gone. Reload to see.");
    set(banner.querySelector("[data-live-retry]"), "Reload");
  } else if (banner) {
    set(banner.querySelector("b"), "Connection lost, retrying.");
    set(banner.querySelector("[data-live-lost]"), `What you see is ${age(heardAt)} old; you can go on reading.`);
    set(banner.querySelector("[data-live-retry]"), "Try now");
  }
  if (!live) return;
  if (lost) live.dataset.state = "lost";
  else delete live.dataset.state;
  set(live.querySelector("[data-live-word]"), lost ? "Not live" : "Live");
  set(live.querySelector("[data-live-age]"), `updated ${age(heardAt)} ago`);
}

function age(since) {
  const seconds = Math.max(0, Math.round((Date.now() - since) / 1000));
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} m` : `${Math.floor(seconds / 3600)} h`;
}

function set(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function askAll() {
  for (const loop of loops.values()) loop.ask();
}

banner?.querySelector("[data-live-retry]").addEventListener("click", () => (ended ? location.reload() : askAll()));
document.addEventListener("visibilitychange", () => (document.hidden ? loops.forEach((loop) => loop.busy || loop.plan()) : askAll()));
addEventListener("online", askAll);
addEventListener("pageshow", (event) => { if (event.persisted) askAll(); });
setInterval(say, 1000);
find();
say();
