// A message can be sent away; good news goes by itself (float.css).
document.addEventListener("click", ({ target }) => target.closest?.("[data-dismiss]")?.closest(".toast").remove());
