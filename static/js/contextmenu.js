// A right click on a row (or a card) opens the menu behind its "..." where the pointer is; so does the context menu key, at
// the button. With Shift, on a touch screen, in a field, and over selected text the browser's own menu comes.

document.addEventListener("contextmenu", (event) => {
  if (event.defaultPrevented || event.pointerType === "touch" || (event.shiftKey && event.button === 2)) return;
  const selected = getSelection();
  if (!selected.isCollapsed && selected.containsNode(event.target, true)) return;
  if (event.target.closest?.("input, textarea, select, .menu")) return;
  const button = event.target.closest?.("tbody tr, .card")?.querySelector(".row-actions [popovertarget]");
  if (!button?.checkVisibility()) return;
  event.preventDefault();
  const isByKey = event.button !== 2;
  const open = () => show(button, isByKey ? button : pointer(event));
  // While the button is still down, its release would dismiss what opens now.
  if (event.buttons) addEventListener("pointerup", () => setTimeout(open), { once: true });
  else open();
});

function show(button, source) {
  const menu = button.isConnected && button.popoverTargetElement;
  if (!menu) return;
  if (menu.matches(":popover-open")) menu.hidePopover();
  menu.showPopover({ source });
  menu.querySelector("a[href], button")?.focus();
}

let mark = null; // the menu hangs on it, so that a live fragment which comes anew finds nothing changed on the menu itself

function pointer({ clientX, clientY }) {
  if (!mark) {
    mark = document.createElement("i");
    mark.className = "pointer-mark";
    mark.setAttribute("aria-hidden", "true");
    document.body.append(mark);
  }
  mark.style.left = `${clientX}px`;
  mark.style.top = `${clientY}px`;
  return mark;
}
