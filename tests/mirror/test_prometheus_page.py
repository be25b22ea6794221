"""The built Prometheus with its own web page, in a browser: a query is typed and a graph is drawn."""

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from hardwatt.config.lab import open_lab
from hardwatt.core.ports import free_port
from hardwatt.core.wait import wait
from hardwatt.mirror.build import go_build
from hardwatt.mirror.build.go_family import read_family
from tests.report.chrome import chromium

CONFIG = """\
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: itself
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


RESOURCES = "return performance.getEntriesByType('resource').map(entry => entry.name)"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    programs = go_build.built(read_family("prometheus"), open_lab().cache)
    assert programs is not None, "make mirror"
    port = free_port()
    (tmp_path / "prometheus.yaml").write_text(CONFIG.format(port=port))
    argv = [
        str(programs["prometheus"]),
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={tmp_path}/data",
    ]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen([*argv, f"--config.file={tmp_path}/prometheus.yaml"], stdout=log, stderr=log)
    try:
        wait(lambda: _samples(port), lambda count: count >= 2, what="two scrapes of Prometheus", timeout=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(10)


def _samples(port: int) -> int:
    query = f"http://127.0.0.1:{port}/api/v1/query?query=up[1m]"
    try:
        with urllib.request.urlopen(query, timeout=5) as answer:
            text: bytes = answer.read()
    except OSError:
        return 0
    return text.count(b'"1"')


@pytest.mark.mirror
@pytest.mark.browser
def test_a_query_is_typed_and_its_graph_is_drawn(address: str) -> None:
    with chromium() as chrome:
        chrome.get(f"{address}/query")
        chrome.implicitly_wait(20)
        editor = chrome.find_element(By.CSS_SELECTOR, ".cm-content")
        editor.click()
        editor.send_keys("up")
        editor.send_keys(Keys.ESCAPE, Keys.ENTER)
        table = chrome.find_element(By.CSS_SELECTOR, "main table")
        assert 'job="itself"' in table.text
        chrome.find_element(By.XPATH, "//button[@role='tab'][contains(., 'Graph')]").click()
        plot = chrome.find_element(By.CSS_SELECTOR, ".uplot canvas")
        assert plot.size["width"] > 300
        asked = chrome.execute_script(RESOURCES)
        assert asked
        assert all(name.startswith((address, "data:", "blob:")) for name in asked), asked
