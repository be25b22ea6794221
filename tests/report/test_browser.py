"""The report in a real browser: it renders, asks nobody for anything, fits a phone, and can be read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys

from tests.report.cases import CASES
from tests.report.chrome import show

pytestmark = pytest.mark.browser

CONTRAST = """
const luminance = c => {
  const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = e => {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)') return c;
  }
  return 'rgb(255, 255, 255)';
};
const bad = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
for (let node; node = walker.nextNode();) {
  const e = node.parentElement;
  if (!node.data.trim() || !e.getClientRects().length || e.closest('.skip')) continue;
  const style = getComputedStyle(e);
  const ink = e.closest('svg') ? style.fill : style.color;
  if (ink === 'none') continue;
  const [a, b] = [luminance(ink), luminance(ground(e))].sort((x, y) => y - x);
  seen += 1;
  if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(node.data.trim() + ' ' + ink + ' on ' + ground(e));
}
return [seen, bad];
"""


def open_page(browser: webdriver.Chrome, page: Path, width: int, scheme: str = "light") -> None:
    log(browser, "browser")
    log(browser, "performance")
    show(browser, page, width, scheme)


def log(browser: webdriver.Chrome, kind: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return found


def requests(browser: webdriver.Chrome) -> list[str]:
    """Return what pages have requested. Chromium's own start page, a document of ``chrome:``, may still be loading."""
    events = [json.loads(entry["message"])["message"] for entry in log(browser, "performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent if not params["documentURL"].startswith("chrome:")]


CLIPPED = """
const out = [];
for (const s of document.querySelectorAll('figure > svg')) {
  if (!s.getClientRects().length) continue;
  const box = s.getBoundingClientRect();
  for (const t of s.querySelectorAll('text')) {
    const r = t.getBoundingClientRect();
    if (r.left < box.left - 1 || r.right > box.right + 1 || r.bottom > box.bottom + 1) out.push(t.textContent);
  }
}
return out;
"""
DRAWN = {
    "quick": 6,
    "full": 7,
    "failed": 0,
    "shipped": 6,
    "three-arms": 7,
    "compared": 0,
    "table": 2,
    "paired-table": 2,
}


@pytest.mark.parametrize("which", list(CASES))
def test_it_renders_alone_and_fits_every_screen(
    browser: webdriver.Chrome, which: str, pages: Callable[[str], Path]
) -> None:
    page = pages(which)
    for width in (390, 1280, 1920):
        open_page(browser, page, width)
        assert log(browser, "browser") == []
        assert [url for url in requests(browser) if not url.startswith("data:")] == [page.as_uri()]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script(CLIPPED) == []
        drawn = "return [...document.querySelectorAll('figure > svg')].filter(s => s.getClientRects().length).length"
        assert browser.execute_script(drawn) == DRAWN[which]


@pytest.mark.parametrize("which", list(CASES))
def test_every_text_has_enough_contrast(browser: webdriver.Chrome, which: str, pages: Callable[[str], Path]) -> None:
    for scheme in ("light", "dark"):
        open_page(browser, pages(which), 1280, scheme)
        seen, bad = browser.execute_script(CONTRAST)
        assert seen > 40
        assert bad == []


def test_tables_of_answers_need_no_sideways_scrolling_on_a_desk(browser: webdriver.Chrome, full: Path) -> None:
    open_page(browser, full, 1280)
    wide = """
    return [...document.querySelectorAll('.scroll')].filter(s => s.getClientRects().length)
      .filter(s => s.scrollWidth > s.clientWidth).map(s => s.getAttribute('aria-label'));
    """
    assert browser.execute_script(wide) == []


def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(browser: webdriver.Chrome, full: Path) -> None:
    open_page(browser, full, 390)
    seen: list[tuple[str, bool, float]] = []
    told = """
    const e = document.activeElement, s = getComputedStyle(e);
    return [e.className + ' ' + e.tagName + ' ' + (e.getAttribute('aria-label') || e.textContent.trim().slice(0, 20)),
            s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, e.getBoundingClientRect().top + scrollY];
    """
    for _ in range(80):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        what = browser.execute_script(told)
        if " BODY " in what[0] or (seen and what[0] == seen[0][0]):
            break
        seen.append(tuple(what))
    assert seen[0][0].startswith("skip A")
    assert all(shown for _, shown, _ in seen)
    places = [top for _, _, top in seen[1:]]
    assert places == sorted(places)
    names = " | ".join(name for name, _, _ in seen)
    for reached in ("Table: every pair", "SUMMARY The gate before", "Table: robustness", "A Every pair"):
        assert reached in names
    browser.find_element("css selector", "summary").send_keys(Keys.ENTER)
    assert browser.execute_script("return document.querySelector('details').open")


@pytest.mark.parametrize("which", ["quick", "full", "table", "paired-table", "compared"])
def test_screen_readers_get_headers_names_and_order(
    browser: webdriver.Chrome, which: str, pages: Callable[[str], Path]
) -> None:
    open_page(browser, pages(which), 1280)
    problems = """
    const out = [];
    for (const t of document.querySelectorAll('table')) {
      if (!t.caption) out.push('a table without caption');
      for (const th of t.querySelectorAll('th')) if (!th.scope) out.push('a header without scope');
      for (const tr of t.tBodies[0].rows) if (tr.cells[0].tagName !== 'TH') out.push('a row without header');
      if (t.parentElement.tabIndex !== 0) out.push('a wide table that the keyboard cannot scroll');
    }
    for (const s of document.querySelectorAll('figure > svg')) {
      if (!s.querySelector('title') || s.getAttribute('role') !== 'img') out.push('a plot without a name');
    }
    let level = 1;
    for (const h of document.querySelectorAll('h1, h2, h3')) {
      if (+h.tagName[1] > level + 1) out.push('a heading level is skipped: ' + h.textContent);
      level = +h.tagName[1];
    }
    for (const a of document.querySelectorAll('a[href^="#"]')) {
      if (!document.querySelector(a.getAttribute('href'))) out.push('a link to nowhere: ' + a.href);
    }
    if (document.documentElement.lang !== 'en') out.push('no language');
    return out;
    """
    assert browser.execute_script(problems) == []


def test_first_screen_holds_source_question_and_answer(browser: webdriver.Chrome, quick: Path) -> None:
    open_page(browser, quick, 1280)
    ends = "return document.querySelector('.answer').getBoundingClientRect().bottom"
    assert browser.execute_script(ends) < 800


def test_it_prints_in_dark_ink_with_everything_open(browser: webdriver.Chrome, full: Path) -> None:
    open_page(browser, full, 1280, "dark")
    pdf = base64.b64decode(browser.print_page())
    sizes = {tuple(float(n) for n in found.split()) for found in re.findall(rb"/MediaBox ?\[([^\]]*)\]", pdf)}
    assert sizes and len(re.findall(rb"/Type ?/Page\b", pdf)) >= 8
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert browser.execute_script(ground) == "rgb(255, 255, 255)"
    hidden = """
    return [...document.querySelectorAll('details table')]
      .filter(t => !t.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true})).length
    """
    assert browser.execute_script(hidden) == 0
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav.toc')).display") == "none"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
