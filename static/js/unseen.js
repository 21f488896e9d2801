// The number of unseen notifications in the title of the tab (notifications/_unseen.html, with the icon), in browsers that want it: a
// switch on the page Notifications. Whoever looks at any page of Trialdeck has seen them.
const poll = document.getElementById("unseen");
poll.addEventListener("htmx:configRequest", ({ detail }) => { detail.parameters.is_looking = !document.hidden; });
poll.addEventListener("htmx:afterSwap", () => {
  document.title = `${poll.textContent.trim()} ${document.title.replace(/^\(\d+\) /, "")}`.trim();
});
