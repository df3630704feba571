// What scrolls sideways on a narrow screen can be reached, and so scrolled, by the keyboard.
(() => {
  "use strict";
  const reach = () => document.querySelectorAll(
    ".bd-article div.output, .bd-article pre, .bd-article div.math, .bd-article .pst-scrollable-table-container"
  ).forEach(box => { if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; });
  addEventListener("load", reach);
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
})();
