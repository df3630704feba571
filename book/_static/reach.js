// What is wider than its frame scrolls within it: the keyboard has to reach that frame, too. Frames change with the screen, with what
// is unfolded, and with formulas and letters that arrive late, so they are watched.
(() => {
  "use strict";
  const FRAMES = ".bd-article :is(div.output, pre, div.math, .pst-scrollable-table-container)";
  const reach = frame => {
    const scrolls = frame.scrollWidth > frame.clientWidth;
    if (scrolls) frame.tabIndex = 0;
    else frame.removeAttribute("tabindex");
    if (frame.matches(".pst-scrollable-table-container")) {
      for (const [name, value] of [["role", "group"], ["aria-label", "Table"]]) {
        if (scrolls) frame.setAttribute(name, value);
        else frame.removeAttribute(name);
      }
    }
  };
  const watch = new ResizeObserver(changes => new Set(changes.map(change => change.target.closest(FRAMES))).forEach(reach));
  addEventListener("load", () => document.querySelectorAll(FRAMES).forEach(frame => [frame, ...frame.children].forEach(box => watch.observe(box))));
})();
