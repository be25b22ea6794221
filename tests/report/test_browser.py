"""The report in a real browser: it renders, asks nobody for anything, fits a phone, and can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from selenium import webdriver

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
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    log(browser, "browser")
    log(browser, "performance")
    browser.get(page.as_uri())


def log(browser: webdriver.Chrome, kind: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return found


def requests(browser: webdriver.Chrome) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in log(browser, "performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("which", ["quick", "full"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_renders_alone_and_fits(
    browser: webdriver.Chrome, which: str, width: int, request: pytest.FixtureRequest
) -> None:
    page: Path = request.getfixturevalue(which)
    open_page(browser, page, width)
    assert log(browser, "browser") == []
    assert [url for url in requests(browser) if not url.startswith("data:")] == [page.as_uri()]
    assert "Source of energy: modelled" in browser.find_element("css selector", "main").text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    drawn = "return [...document.querySelectorAll('figure > svg')].filter(s => s.getClientRects().length).length"
    assert browser.execute_script(drawn) == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(browser: webdriver.Chrome, quick: Path, scheme: str) -> None:
    open_page(browser, quick, 1280, scheme)
    seen, bad = browser.execute_script(CONTRAST)
    assert seen > 100
    assert bad == []


def test_screen_readers_get_headers_names_and_order(browser: webdriver.Chrome, quick: Path) -> None:
    open_page(browser, quick, 1280)
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


def test_it_prints(browser: webdriver.Chrome, full: Path) -> None:
    open_page(browser, full, 1280)
    pdf = browser.print_page()
    assert len(pdf) > 20_000
