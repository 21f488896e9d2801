// The number of unseen notifications in the title and icon of the tab, in browsers that want it (a switch on the page Notifications).
// Whoever looks at any page of Trialdeck has seen them.
const EVERY_S = 30;
const icon = document.querySelector("link[data-unseen]");
const plain = icon.href, url = icon.dataset.url;

function show(count) {
  document.title = `${count ? `(${count}) ` : ""}${document.title.replace(/^\(\d+\) /, "")}`;
  icon.href = count ? icon.dataset.unseen : plain;
}

async function look() {
  const response = await fetch(url).catch(() => null);
  const count = response?.ok && !response.redirected ? (await response.json()).count : 0;
  const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value;
  if (count && !document.hidden && token) await fetch(url, { method: "POST", headers: { "X-CSRFToken": token } }).catch(() => null);
  show(count);
}

document.addEventListener("visibilitychange", look);
setInterval(look, EVERY_S * 1000);
look();
