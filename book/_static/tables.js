// A table that is wider than the page scrolls within its own frame; the keyboard has to reach that frame, too.
(() => {
  "use strict";
  const frames = () => {
    for (const frame of document.querySelectorAll(".pst-scrollable-table-container")) {
      if (frame.scrollWidth > frame.clientWidth) {
        frame.setAttribute("tabindex", "0");
        frame.setAttribute("role", "group");
        frame.setAttribute("aria-label", "Table");
      } else {
        ["tabindex", "role", "aria-label"].forEach(name => frame.removeAttribute(name));
      }
    }
  };
  window.addEventListener("load", frames);
  window.addEventListener("resize", frames);
})();
