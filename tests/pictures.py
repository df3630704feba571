"""Pictures of every page of the built book: `make pictures`, then look at book/_build/pictures.

At three widths, in light and in dark, whole pages: what a reader sees on a phone, a tablet and a desk.
"""

from pathlib import Path

from playwright.sync_api import sync_playwright

import printing
from smooth_interpolation import locations

WIDTHS, THEMES = (390, 768, 1280), ("light", "dark")


def main() -> None:
    built = locations.repository() / "book" / "_build"
    pages = sorted((built / "html").glob("*.html"))
    if not pages:
        raise SystemExit("There is no book yet: make book builds it.")
    target = built / "pictures"
    target.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=printing.chromium(), args=["--no-sandbox"])
        for theme in THEMES:
            for width in WIDTHS:
                context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
                tab = context.new_page()
                for page in pages:
                    picture(tab, page, theme, target / f"{page.stem}-{width}-{theme}.png")
                context.close()
        browser.close()
    print(f"{len(pages) * len(WIDTHS) * len(THEMES)} pictures in {target}")


def picture(tab, page: Path, theme: str, path: Path) -> None:
    printing.ready(tab, page)
    tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    tab.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    main()
