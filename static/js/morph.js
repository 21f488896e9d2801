// hx-swap="morph": what differs moves into the target, the rest stays the same elements. Focus, scroll positions, typed
// text, ticked boxes, open menus and open details survive. The answer is the target itself, found by its id; children with
// an id or data-key keep their identity when they move. `open` of <details> belongs to the browser.

htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap(style, target, fragment) {
    if (style !== "morph") return false;
    const sent = fragment.querySelector(`#${CSS.escape(target.id)}`);
    if (sent?.nodeName !== target.nodeName) return [];
    const focused = document.activeElement;
    morphNode(target, sent);
    // Without moveBefore a moved row loses the focus.
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    return [target];
  },
});

function morphNode(from, to) {
  if (from.isEqualNode(to)) return;
  if (from.nodeType !== Node.ELEMENT_NODE) {
    from.nodeValue = to.nodeValue;
    return;
  }
  if (isTheirs(from)) return;
  morphAttributes(from, to);
  morphChildren(from, to);
}

/** Has a person typed or chosen here? Then it is theirs until they leave the page. */
function isTheirs(element) {
  if (element.matches("textarea, input:not([type=checkbox], [type=radio], [type=hidden])")) {
    return element === document.activeElement || element.value !== element.defaultValue;
  }
  if (element.matches("select")) {
    return element === document.activeElement || "touched" in element.dataset;
  }
  return false;
}

document.addEventListener("change", (event) => {
  if (event.target.matches?.("select")) event.target.dataset.touched = "";
});

function morphAttributes(from, to) {
  for (const { name, value } of to.attributes) {
    if (!isOpenState(from, name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!isOpenState(from, name) && name !== "data-touched" && !to.hasAttribute(name)) from.removeAttribute(name);
  }
}

const isOpenState = (element, name) => name === "open" && element.matches("details, dialog");

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE && (node.id || node.dataset.key)) || null;

function morphChildren(from, to) {
  const wanted = new Set([...to.childNodes].map(keyOf).filter(Boolean));
  const kept = new Map();
  for (const child of [...from.childNodes]) {
    const key = keyOf(child);
    if (!key) continue;
    if (wanted.has(key) && !kept.has(key)) kept.set(key, child);
    else child.remove();
  }

  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const key = keyOf(next);
    const same = key ? kept.get(key) : at && !keyOf(at) && at.nodeName === next.nodeName ? at : null;
    if (!same || same.nodeName !== next.nodeName) {
      from.insertBefore(document.importNode(next, true), at);
      continue;
    }
    kept.delete(key);
    // Text between rows goes rather than a row moves: what moves may lose its focus and its open menu.
    while (at && at !== same && !keyOf(at)) at = removed(at);
    if (at === same) at = at.nextSibling;
    else (from.moveBefore ?? from.insertBefore).call(from, same, at);
    morphNode(same, next);
  }
  while (at) at = removed(at);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}
