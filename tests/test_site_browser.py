"""The site in a real browser: it sorts, searches and filters, and asks nobody for anything."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from reports import HOSTILE_TEXTS, make_rows, write_results, write_suite
from test_site import toy_site

from rmbench.result.find import find_results
from rmbench.show.site import build_site, gather_site
from rmbench.suite.catalogue import load_suite

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: the site is not tried in a browser"
)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    names = ("chromium", "chromium-browser", "google-chrome")
    places = [os.environ.get("RMBENCH_TEST_CHROMIUM"), *map(shutil.which, names)]
    found = next((place for place in places if place and Path(place).exists()), None)
    if found is None:
        pytest.skip("no Chromium is installed: the site is not tried in a browser")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_site(toy_site(good=0.8, fair=0.1, bad=-2.0), folder / "toy")
    suite = write_suite(folder, make_rows(HOSTILE_TEXTS))
    rewards = [1.0, 0.0] * len(HOSTILE_TEXTS)
    names = {"\"><script>document.title='owned'</script>": rewards, "b": rewards}
    write_results(suite, folder / "results", **names)
    listing = find_results([str(folder / "results")], rewards=lambda _: True)
    build_site(gather_site(listing.results, {"own": load_suite(str(suite))}), folder / "hostile")
    return folder


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A page that fails the test on any console message and any request but for files."""
    told: list[str] = []
    opened = browser.new_page()
    opened.on("console", lambda message: told.append(message.text))
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.on(
        "request",
        lambda asked: None if asked.url.startswith("file:") else told.append(asked.url),
    )
    yield opened
    opened.close()
    assert told == []


def shown(page: "Page") -> list[str]:
    names = page.locator("table.board tbody tr:not([hidden]) th").all_inner_texts()
    return [name.split()[0] for name in names]


def test_the_leaderboard_searches_filters_and_sorts(page: "Page", folder: Path) -> None:
    page.goto((folder / "toy" / "index.html").as_uri())
    assert shown(page)[0] == "good"
    page.get_by_label("Search").fill("FAI")
    assert shown(page) == ["fair"]
    assert page.locator("output").inner_text() == "1 of 5 shown"
    page.get_by_label("Search").fill("")
    page.get_by_label("measured only").check()
    assert "org/paper" not in shown(page)
    page.get_by_label("measured only").uncheck()
    head = page.get_by_role("button", name="Toy")
    head.focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").count() == 1
    assert shown(page)[-2:] == ["good", "length"]  # the rule wins all of them


@pytest.mark.parametrize("site", ["toy", "hostile"])
def test_no_page_tells_or_asks_for_anything(site: str, page: "Page", folder: Path) -> None:
    for path in sorted((folder / site).glob("*.html")):
        page.goto(path.as_uri())
        assert page.title() != "owned"
        for details in page.locator("details").all():
            details.locator("summary").click()


def test_a_phone_scrolls_tables_and_not_the_page(page: "Page", folder: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    for path in sorted((folder / "toy").glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path.name


def test_a_link_to_a_comparison_opens_at_it(page: "Page", folder: Path) -> None:
    page.goto((folder / "toy" / "suite-toy.html").as_uri())
    page.locator("#hardest ~ table a").first.click()
    anchor = page.url.partition("#")[2]
    assert page.locator(f"#{anchor}").bounding_box() is not None
    assert page.evaluate("document.querySelector(':target').id") == anchor
