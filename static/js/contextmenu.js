// A right click on a row (or a card) opens the menu behind its "..." where the pointer is; so does the context menu key, at
// the button. With Shift, on a touch screen, in a field, and over selected text the browser's own menu comes.
const mark = document.querySelector(".pointer-mark"); // the menu hangs on it, and has nothing that a live fragment takes back

document.addEventListener("contextmenu", (event) => {
  const { target, clientX, clientY } = event, selected = getSelection(), isByPointer = event.button === 2;
  const button = target.closest("tbody tr, .card")?.querySelector(".row-actions [popovertarget]");
  const isTheirs = event.defaultPrevented || event.pointerType === "touch" || (event.shiftKey && isByPointer)
    || (!selected.isCollapsed && selected.containsNode(target, true)) || target.closest("input, textarea, select, .menu");
  if (isTheirs || !button?.checkVisibility()) return;
  event.preventDefault();
  Object.assign(mark.style, { left: `${clientX}px`, top: `${clientY}px` });
  const open = () => {
    const menu = button.isConnected ? button.popoverTargetElement : null;
    menu?.hidePopover();
    menu?.showPopover({ source: isByPointer ? mark : button });
    menu?.querySelector("a[href], button")?.focus();
  };
  // While the button is still down, its release would dismiss what opens now.
  if (event.buttons) addEventListener("pointerup", () => setTimeout(open), { once: true });
  else open();
});
