// hx-swap="morph": what differs moves into the target, the rest stays the same elements, with focus, scroll positions, typed
// text, ticks, open menus and details. The answer is the target, found by its id; an id or data-key is a child's identity.
const chosen = new WeakSet(); // selects
document.addEventListener("change", ({ target }) => { if (target.matches("select")) chosen.add(target); });

htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap(style, target, fragment) {
    if (style !== "morph") return false;
    const sent = fragment.querySelector(`#${CSS.escape(target.id)}`), focused = document.activeElement;
    if (sent?.nodeName !== target.nodeName) return [];
    morph(target, sent);
    // Without moveBefore a moved row loses the focus.
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    return [target];
  },
});

function morph(from, to) {
  if (from.isEqualNode(to)) return;
  if (from.nodeType !== Node.ELEMENT_NODE) from.nodeValue = to.nodeValue;
  else {
    for (const name of new Set([...from.getAttributeNames(), ...to.getAttributeNames()])) {
      const value = to.getAttribute(name);
      if (value === from.getAttribute(name) || isKept(from, name)) continue;
      if (value === null) from.removeAttribute(name);
      else from.setAttribute(name, value);
    }
    if (!isTheirs(from)) morphChildren(from, to);
  }
}

/** Attributes that belong to the browser, or to whoever is typing. */
const isKept = (element, name) => (name === "open" && element.matches("details, dialog")) || (name === "value" && element === document.activeElement);

/** Is a person at it, or did they choose here? What was typed, and a tick, the browser keeps by itself. */
const isTheirs = (element) => element.matches("textarea, select") && (element === document.activeElement || chosen.has(element));

const keyOf = (node) => node.id || node.dataset?.key || null;

function morphChildren(from, to) {
  const wanted = new Set([...to.children].map(keyOf)), kept = new Map([...from.children].map((child) => [keyOf(child), child]));
  for (const [key, child] of kept) if (key && !wanted.has(key)) child.remove();
  let at = from.firstChild;
  const drop = () => { [at] = [at.nextSibling, at.remove()]; };
  for (const next of [...to.childNodes]) {
    const key = keyOf(next), same = key ? kept.get(key) : at && !keyOf(at) && at;
    if (same?.nodeName !== next.nodeName) { from.insertBefore(next, at); continue; }
    // Text between rows goes rather than a row moves: what moves may lose its focus and its open menu.
    while (at && at !== same && !keyOf(at)) drop();
    if (at === same) at = at.nextSibling;
    else (from.moveBefore ?? from.insertBefore).call(from, same, at);
    morph(same, next);
  }
  while (at) drop();
}
