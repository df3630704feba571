"""The built book in a browser, page by page: silent, private, typeset, complete, accessible, and fit for a phone."""

import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import sync_playwright

import printing
from smooth_interpolation import config, locations
from smooth_interpolation.claims import moments
from smooth_interpolation.runs import store, tables

pytestmark = pytest.mark.timeout(120, func_only=True)  # for a page that never answers; fixtures wait for the book

PAGES = [path.stem for path in sorted((locations.repository() / "book").glob("*.md"))]
OTHERS = ["genindex", "search"]
PHONE, TABLET, DESK = ({"width": width, "height": height} for width, height in ((390, 800), (768, 1000), (1280, 900)))
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
OF_COLOUR = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}  # those of them that a theme can break

AXE = """async rules => {
  const found = await axe.run(document, {runOnly: rules, resultTypes: ["violations"], preload: false});
  return found.violations.map(v => `${v.id}: ${v.help}: ` + v.nodes.slice(0, 3).map(n => n.target.join(" ")).join(", "));
}"""
WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 5).map(e => `${e.tagName} ${e.id} ${e.className} to ${e.getBoundingClientRect().right}`)"""
IMAGES = """async () => {
  const all = [...document.querySelectorAll("img")];
  all.forEach(i => i.loading = "eager");
  await Promise.all(all.map(i => i.decode().catch(() => null)));
  return all.filter(i => i.offsetParent).map(i => [i.currentSrc.slice(0, 100), i.naturalWidth, i.getAttribute("alt")]);
}"""
TABLES = """() => [...document.querySelectorAll("article table")].filter(t => {
  const fold = t.closest("details:not(.hide)"), heads = [...t.querySelectorAll("th")];
  return !(t.caption || fold || t.closest(".explore")) || !heads.length || heads.some(h => !h.scope);
}).map(t => t.innerText.slice(0, 80))"""
LABELS = """() => [...document.querySelectorAll(".drawing img")].filter(i => i.offsetParent)
  .map(i => [i.currentSrc.split("/").pop(), 9 * 4 / 3 * i.getBoundingClientRect().width / i.naturalWidth])"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
TYPESET = """async () => {
  if (window.MathJax) await MathJax.startup.promise;
  const outside = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT, n =>
    n.parentElement.closest("pre, code, script, mjx-container") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  let text = "";
  while (outside.nextNode()) text += outside.currentNode.data;
  return [document.querySelectorAll("mjx-container").length, document.querySelectorAll("mjx-merror").length,
    (text.match(/\\\\[(\\[]|\\$\\$|\\\\(frac|mathbf|mathcal|boldsymbol|begin)\\b/) || [""])[0]];
}"""


@dataclass
class Visit:
    """What was seen on a page."""

    console: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    images: list[tuple[str, int, str | None]] = field(default_factory=list)
    typeset: tuple[int, int, str] = (0, 0, "")
    violations: dict[str, list[str]] = field(default_factory=dict)
    wider: list[str] = field(default_factory=list)
    bare_tables: list[str] = field(default_factory=list)
    labels: list[tuple[str, float]] = field(default_factory=list)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class Addresses(HTMLParser):
    """A page's anchors, links and formulas as they are in its file."""

    def __init__(self, path: Path):
        super().__init__()
        self.anchors, self.links, self.sources, self.formulas = set(), [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        self.formulas += "math" in (values.get("class") or "").split()
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag in ("img", "script", "link", "iframe", "source"):
            self.sources += [values[name] for name in ("src", "href", "srcset") if values.get(name)]


@pytest.fixture(scope="module")
def address(book):
    """Of the book, served on this machine."""
    assert book.html.is_dir(), book.printed[-3000:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(book.html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=printing.chromium(),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def tab(browser):
    context = browser.new_context(viewport=DESK, reduced_motion="reduce", color_scheme="light")
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def show_on(tab, screen):
    """The page on a screen of another size, laid out and drawn."""
    tab.set_viewport_size(screen)
    tab.evaluate(DRAWN)


@pytest.fixture(scope="module")
def visit(tab, address):
    """A function from a page's name to what is seen there; each page is visited once."""
    axe = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    visits: dict[str, Visit] = {}
    now = Visit()
    tab.on("console", lambda m: now.console.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: now.console.append(str(error)))
    tab.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else now.elsewhere.append(r.url))
    tab.on("response", lambda r: now.failed.append(r.url) if r.status >= 400 else None)

    def see(page: str) -> Visit:
        nonlocal now
        if page in visits:
            return visits[page]
        now = visits[page] = Visit()
        tab.set_viewport_size(DESK)
        tab.goto(f"{address}{page}.html")
        now.typeset = tuple(tab.evaluate(TYPESET))
        now.images = [tuple(image) for image in tab.evaluate(IMAGES)]
        now.bare_tables = tab.evaluate(TABLES)
        for screen in (DESK, TABLET, PHONE):  # a drawing for a wider screen that were still there would be too small
            show_on(tab, screen)
            tab.evaluate(IMAGES)
            now.labels += tab.evaluate(LABELS)
        show_on(tab, DESK)
        tab.evaluate(axe)
        for theme, rules in (("light", RULES), ("dark", OF_COLOUR)):
            tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            now.violations[theme] = tab.evaluate(AXE, rules)
        show_on(tab, PHONE)
        now.wider = tab.evaluate(WIDER)
        now.violations["phone"] = tab.evaluate(AXE, RULES)
        return now

    return see


@pytest.fixture(scope="module")
def files(book):
    """Each page of the built book as it is in its file."""
    return {path.name: Addresses(path) for path in book.html.glob("*.html")}


@pytest.mark.parametrize("page", PAGES + OTHERS)
def test_a_page_is_silent_and_asks_nothing_of_another_host(page, visit):
    seen = visit(page)
    assert not seen.elsewhere
    assert not seen.console and not seen.failed


@pytest.mark.parametrize("page", PAGES)
def test_mathematics_is_typeset(page, visit, files):
    typeset, errors, raw = visit(page).typeset
    assert typeset >= files[f"{page}.html"].formulas and not errors and not raw


@pytest.mark.parametrize("page", PAGES)
def test_every_image_is_loaded_and_described(page, visit):
    for source, width, alt in visit(page).images:
        assert width > 0, source
        assert alt and alt.strip() and not re.search(r"\.(svg|png)$|^_images", alt), f"{source}: {alt!r}"
        assert len(alt) <= 300, alt


@pytest.mark.parametrize("page", PAGES + OTHERS)
def test_nothing_scrolls_sideways_on_a_phone(page, visit):
    assert not visit(page).wider


@pytest.mark.parametrize("page", PAGES)
def test_tables_have_captions_and_scoped_heads(page, visit):
    """A folded table is named by what unfolds it, an instrument's by the instrument."""
    assert not visit(page).bare_tables


@pytest.mark.parametrize("page", PAGES)
def test_labels_of_figures_are_legible_on_a_desk_a_tablet_and_a_phone(page, visit):
    assert not [(name, pixels) for name, pixels in visit(page).labels if pixels < 8.5]  # ticks, of 9 points


@pytest.mark.parametrize("page", PAGES + OTHERS)
def test_a_page_meets_wcag_aa_in_light_in_dark_and_on_a_phone(page, visit):
    assert visit(page).violations == {"light": [], "dark": [], "phone": []}


def test_the_keyboard_reaches_a_table_once_it_is_too_wide(tab, address):
    """Formulas and letters that arrive late make a table wider than its frame when the page is there already."""
    tab.set_viewport_size(DESK)
    tab.goto(f"{address}beyond-rate.html")
    table = tab.locator(".pst-scrollable-table-container > table").locator("visible=true").first
    reached = []
    for width in ("10px", "3000px", "10px"):
        table.evaluate(
            "(table, width) => { Object.assign(table.style, {display: 'block', width, overflow: 'hidden'}) }", width
        )
        tab.evaluate(DRAWN)
        reached.append(table.evaluate("({parentElement: p}) => [p.tabIndex, p.getAttribute('aria-label')]"))
    assert reached == [[-1, None], [0, "Table"], [-1, None]]


def test_who_asks_for_less_motion_gets_none(tab, address):
    """Such are all pages that are looked at here: what slides has another place and width at each look."""
    tab.set_viewport_size(DESK)
    tab.goto(f"{address}fig2.html")
    for screen in (PHONE, DESK):
        show_on(tab, screen)
        assert tab.evaluate("document.getAnimations().map(a => a.effect.target.className)") == []


def test_every_link_and_cross_reference_leads_somewhere(files, book):
    broken = []
    for page, content in files.items():
        for link in content.links + content.sources:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                (book.html / page).parent.joinpath(unquote(parts.path)).resolve() if parts.path else book.html / page
            )
            name = target.relative_to(book.html.resolve()).as_posix() if parts.path else page
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and name in files and anchor not in files[name].anchors | {"top"}):
                broken.append(f"{page}: {link}")
    assert not broken


def test_no_page_names_a_source_on_another_host(files):
    for page, content in files.items():
        assert not [link for link in content.sources if urlsplit(link).netloc], page


def test_search_finds_a_word(tab, address):
    tab.goto(f"{address}search.html?q=crossentropy")
    tab.wait_for_selector("#search-results li a")
    assert "fig2.html" in " ".join(tab.eval_on_selector_all("#search-results li a", "all => all.map(a => a.href)"))


@pytest.mark.parametrize("page", [page for page in PAGES if re.fullmatch(r"fig\d|index|appendix.*", page)])
def test_a_figure_offers_its_data_itself_and_its_origin(page, book, files):
    content = files[f"{page}.html"]
    offered = [link for link in content.links if link.startswith("_downloads/")]
    kinds = {Path(link).suffix for link in offered}
    assert {".csv", ".pdf", ".svg"} <= kinds
    assert all((book.html / link).stat().st_size > 100 for link in offered)
    assert "smooth-interpolation run params/" in (book.html / f"{page}.html").read_text(encoding="utf-8")


def instrument(tab, address, page, kind):
    tab.set_viewport_size(DESK)
    tab.goto(f"{address}{page}.html")
    box = tab.locator(f'.explore[data-kind="{kind}"]')
    assert box.count() == 1 and box.is_visible()
    return box


def test_a_width_is_chosen_by_the_keyboard_and_its_numbers_are_the_records(tab, address):
    box = instrument(tab, address, "fig3", "volumes")
    width = box.get_by_role("slider", name="Width")
    width.focus()
    tab.keyboard.press("End")
    assert width.get_attribute("aria-valuetext") == "w = 64"
    box.get_by_role("combobox", name="Points").select_option(label="noisy labels")
    box.get_by_role("slider", name="Tolerance").focus()
    tab.keyboard.press("End")
    assert "training error of up to 20%" in box.get_by_role("status").inner_text()
    volumes = tables.volumes_table(store.read_all(config.find("paper", "convnet-noise20").runs()))
    rows = volumes[(volumes.width == 64) & (volumes.subset == "noisy") & (volumes.metric == "jacobian_norm")]
    means = rows.groupby("size")["mean"].mean()
    shown = box.locator("tbody tr td:nth-child(4)").all_inner_texts()
    assert [float(text) for text in shown] == pytest.approx(means.tolist(), rel=0.06)


def test_a_heatmap_answers_pointer_and_keyboard(tab, address):
    box = instrument(tab, address, "fig5", "heatmap")
    width, readout = box.get_by_role("slider", name="Width"), box.get_by_role("status")
    width.focus()
    tab.keyboard.press("Home")
    assert readout.inner_text().startswith("w = 1, epoch 4000: Test error")
    box.locator("svg").first.hover(position={"x": 150, "y": 100})
    assert not readout.inner_text().startswith("w = 1,")
    before = readout.inner_text()
    box.get_by_role("combobox", name="Metric").select_option(label="Jacobian norm")
    assert "Jacobian norm" in readout.inner_text() != before


@pytest.mark.parametrize("page", ["fig2", "fig3", "fig4", "fig6", "fig7"])
def test_every_figure_of_volumes_has_an_instrument_with_its_axes(page, tab, address):
    box = instrument(tab, address, page, "volumes")
    heads = ["Training accuracy", "Crossentropy", "Jacobian norm", "Hessian norm"]
    assert box.locator("svg .title").all_text_contents() == heads
    assert box.locator("svg").first.locator("text", has_text="base width w").count() == 1


def test_networks_that_forgot_are_crosses_beside_the_lines(tab, address):
    data = json.loads(instrument(tab, address, "fig2", "volumes").locator("script").text_content())
    forgotten = [data["widths"][i] for i in data["apart"]]
    assert forgotten == moments.forgotten(
        tables.history_table(store.read_all(config.find("paper", "convnet-noise20").runs()))
    )
    lines = tab.locator(".explore[data-kind=volumes] svg").first.locator("path.line")
    drawn = lines.evaluate_all("all => all.map(path => path.getAttribute('d'))")
    crosses = [d for d in drawn if "m-6 0" in d]
    assert len(crosses) == len(data["strengths"]) * len(forgotten)
    assert all(d.count("L") == len(data["widths"]) - len(forgotten) - 1 for d in drawn if d not in crosses)


def test_a_walk_moves_the_image_and_the_predictions(tab, address):
    box = instrument(tab, address, "fig3", "walk")
    tab.wait_for_function(
        "() => document.querySelector('.explore canvas').getContext('2d').getImageData(16, 16, 1, 1).data[3] > 0"
    )
    pixels = "c => Array.from(c.getContext('2d').getImageData(0, 0, 32, 32).data).join()"
    start, loss = box.locator("canvas").evaluate(pixels), box.locator("tbody").inner_text()
    assert len(set(start.split(","))) > 10 and "trained on as" in box.locator(".note").inner_text()
    box.get_by_role("slider", name="Along the path").focus()
    tab.keyboard.press("End")
    assert box.locator("canvas").evaluate(pixels) != start and box.locator("tbody").inner_text() != loss
    box.get_by_role("combobox", name="Image").select_option(index=2)
    assert "its own label" in box.locator(".note").inner_text()


@pytest.mark.parametrize("page, kind", [("fig2", "volumes"), ("fig5", "heatmap"), ("fig3", "walk")])
def test_on_a_phone_the_sliders_stay_in_sight_of_what_they_move(page, kind, tab, address):
    box = instrument(tab, address, page, kind)
    tab.set_viewport_size(PHONE)
    last = box.locator("svg").last
    assert box.bounding_box()["width"] <= PHONE["width"] and last.bounding_box()["width"] > 250
    last.scroll_into_view_if_needed()
    controls, head = box.locator(".controls").bounding_box(), tab.locator(".bd-header-article").first.bounding_box()
    assert head["y"] + head["height"] <= controls["y"] + 1
    assert controls["y"] + controls["height"] < last.bounding_box()["y"] + last.bounding_box()["height"]


PRINTED = """() => [...document.querySelectorAll(".explore, .downloads, details.origin, details.hide")]
  .filter(e => e.offsetParent).map(e => e.className)"""


@pytest.mark.parametrize("page", ["fig2", "fig3", "fig5"])
def test_on_paper_there_is_nothing_to_move_or_to_click(page, tab, address):
    tab.goto(f"{address}{page}.html")
    tab.emulate_media(media="print")
    assert tab.locator("figure .in-light img").first.is_visible() and not tab.evaluate(PRINTED)
    tab.emulate_media(media="screen")


FIGURES = """() => [...document.querySelectorAll("figure")].map(f => {
  const drawing = f.querySelector("img").getBoundingClientRect(), caption = f.querySelector("figcaption");
  return [f.id, caption ? caption.innerText : "", caption && caption.getBoundingClientRect().top >= drawing.bottom - 1];
})"""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if re.fullmatch(r"fig\d|methodology|appendix.*|beyond.*", page)]
)
def test_figures_have_captions_beneath_and_the_paper_s_numbers(page, tab, address):
    tab.set_viewport_size(DESK)
    tab.goto(f"{address}{page}.html")
    tab.evaluate(IMAGES)
    found = tab.evaluate(FIGURES)
    assert found
    for name, caption, beneath in found:
        paper = re.fullmatch(r"fig-(\d[a-d]?)([a-d]?)", name)
        number = f"Figure {' and '.join(filter(None, paper.groups()))} " if paper else r"Figure S\d+ "
        assert beneath and len(caption) > 20, name
        assert name.endswith("-again") or re.match(number, caption), caption


def test_references_to_figures_name_their_number(book):
    reference = '{}"><span class="std std-numref">Figure {}<'
    assert reference.format("#fig-2", "2") in (book.html / "fig2.html").read_text()
    elsewhere = (book.html / "methodology.html").read_text()
    assert re.search(reference.format('href="fig3.html#fig-walk', r"S\d+"), elsewhere)


def test_the_book_also_opens_as_a_file(browser, book):
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.goto((book.html / "fig2.html").as_uri())
    assert all(width > 0 for _, width, _ in page.evaluate(IMAGES))
    assert page.evaluate("async () => (await document.fonts.load('900 1em \"Font Awesome 6 Free\"')).length")
    page.goto((book.html / "methodology.html").as_uri())
    assert page.evaluate(TYPESET)[0] > 10
    context.close()


def test_a_page_is_read_in_the_dark_by_its_button(tab, address):
    tab.set_viewport_size(DESK)
    tab.goto(f"{address}fig2.html")
    background = "getComputedStyle(document.body).backgroundColor"
    light, button = tab.evaluate(background), tab.locator("button.theme-switch-button").first
    for _ in range(3):
        button.click()
        if tab.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    assert tab.evaluate(background) != light
    figure = tab.locator("figure").first
    assert figure.locator(".in-dark img").is_visible() and not figure.locator(".in-light img").is_visible()
    tab.emulate_media(media="print")
    assert figure.locator(".in-light img").is_visible() and not figure.locator(".in-dark img").is_visible()
    tab.emulate_media(media="screen")
