// The number of unseen notifications (notifications/_unseen.html) in the title of the tab. Whoever looks at any page has seen them.
const poll = document.getElementById("unseen");
poll.addEventListener("htmx:configRequest", ({ detail }) => { detail.parameters.is_looking = !document.hidden; });
poll.addEventListener("htmx:afterSwap", () => {
  document.title = `${poll.textContent.trim()} ${document.title.replace(/^\(\d+\) /, "")}`.trim();
});
