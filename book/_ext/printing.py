"""The whole book as a PDF, printed from its one-page form by a browser: `make pdf`, which ends in `python book/_ext/printing.py`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from smooth_interpolation import locations

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
READY = """async () => {
  document.documentElement.dataset.theme = "light";
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const images = [...document.images];
  images.forEach(image => image.loading = "eager");
  await Promise.all(images.map(image => image.decode().catch(() => null)));
}"""


def chromium() -> str:
    """Where the browser is.

    Raises:
        SystemExit: if there is none.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(f"A browser is needed, one of {', '.join(BROWSERS)}: on Debian, apt-get install chromium.")
    return found


def ready(tab: Any, page: Path) -> None:
    """Open a page of the built book and wait until all of it is there: formulas and images."""
    refresh = re.search(r'http-equiv="Refresh" content="0; url=([^"]+)"', page.read_text(encoding="utf-8")[:1000], re.I)
    if refresh:  # a page that only leads to another, which it may do at any moment
        page = page.parent / refresh[1]
    tab.goto(page.resolve().as_uri())
    tab.evaluate(READY)


def to_pdf(page: Path, target: Path) -> None:
    """Print a page on A4."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(300_000)
        ready(tab, page)
        tab.evaluate("document.querySelectorAll('details.sd-dropdown').forEach(fold => fold.open = true)")
        edges = {"top": "15mm", "bottom": "15mm", "left": "12mm", "right": "12mm"}
        tab.pdf(path=target, format="A4", margin=edges, outline=True, tagged=True)
        browser.close()


def main() -> None:
    built = locations.repository() / "book" / "_build"
    to_pdf(built / "singlehtml" / "index.html", built / "book.pdf")
    print(f"Printed: {built / 'book.pdf'}")


if __name__ == "__main__":
    main()
