"""In a real browser: sixty hostile names in every field change no node, run nothing and ask for nothing."""

from __future__ import annotations

import base64
import re

import pytest
from report_hostile import PAYLOADS, hostile, marked, undrawn

from brainalign.report import write_report
from brainalign.report.naming import clean

# the smallest PNG that decodes
_DOT = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_NODES = """
(() => {
  const tags = {}, odd = [];
  for (const e of document.querySelectorAll('*')) {
    tags[e.localName] = (tags[e.localName] || 0) + 1;
    for (const a of e.attributes) {
      const remote = /^(src|href|srcset|action|data|poster|background|formaction)$/.test(a.name)
        && !/^(#|data:image\\/png;base64,)/.test(a.value);
      if (a.name.startsWith('on') || a.name === 'style' || remote) odd.push(e.localName + ' ' + a.name);
    }
  }
  return {
    tags, odd, scripts: document.scripts.length, frames: window.length, forms: document.forms.length,
    sheets: document.styleSheets.length, title: document.title, base: document.baseURI,
    pwned: window.__pwned === undefined ? 0 : 1, alerts: window.__alerts,
  };
})()
"""


def _write(tmp_path_factory, name, results, title):
    """A page of these results without drawing: each picture is a dot, its words are real."""
    path = tmp_path_factory.mktemp(name) / "r.html"
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(
            "brainalign.report.page.Gallery.render", lambda self, p: {**undrawn(self, p), "uri": _DOT}
        )
        context.setattr("brainalign.report.page._MOST_GROUPS", 10_000)
        context.setattr("brainalign.report.tables._MOST_ROWS", 100_000)
        context.setattr("brainalign.report.page._MOST_PAGE", 10**9)
        write_report(results, path, title=title, provenance={title: title})
    return path


def _every_field(payload, number):
    """A claim, its layers, its control, sensors over time and RDMs: two analyses that fill every field."""
    results = hostile(payload, number)
    return [*results[:4], results[5], results[-1]]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """All payloads in every field of one page, and the same results with harmless names."""
    found, plain = [], []
    for number, payload in enumerate(PAYLOADS):
        found += _every_field(payload, number)
        plain += _every_field(f"harmless {number} name", number)
    return (
        _write(tmp_path_factory, "hostile", found, "".join(PAYLOADS[:3])),
        _write(tmp_path_factory, "plain", plain, "harmless"),
    )


@pytest.mark.parametrize("policy", [True, False], ids=["with policy", "policy taken out"])
def test_hostile_page_is_inert(browser, pages, policy):
    """Canaries stay silent and the nodes are those of a harmless page, even where only escaping helps."""
    counted = []
    for path in pages:
        if not policy:
            bare = path.with_name("bare.html")
            html = path.read_text(encoding="utf-8")
            bare.write_text(re.sub(r"<meta http-equiv[^>]*>", "", html), encoding="utf-8")
            path = bare
        browser.open(path)
        browser.run("new Promise(done => setTimeout(done, 200))")
        counted.append(browser.run(_NODES))
        assert browser.requests() == [path.resolve().as_uri()]
        assert browser.complaints() == []
        assert browser.named("Page.javascriptDialogOpening", "Page.windowOpen", "Page.frameAttached") == []
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    hostile_nodes, plain_nodes = counted
    assert hostile_nodes["pwned"] == hostile_nodes["alerts"] == 0
    assert hostile_nodes["odd"] == []
    assert hostile_nodes["scripts"] == hostile_nodes["frames"] == hostile_nodes["forms"] == 0
    assert hostile_nodes["sheets"] == 1
    assert hostile_nodes["title"].startswith("SIMULATED: <script>")
    assert hostile_nodes["tags"] == plain_nodes["tags"]


def test_names_are_shown_letter_by_letter(browser, pages):
    """Each payload can be read on the page as it was given, but for paths and signs that cannot be seen."""
    browser.open(pages[0])
    shown = " ".join(browser.run("document.body.textContent").split())
    shown = re.sub("[\u2068\u2069]", "", shown)
    missing = [p for p in PAYLOADS if clean(marked(p), 60).rstrip("…") not in shown]
    assert missing == []
    changed = [p for p in PAYLOADS if clean(marked(p)) != marked(p)]
    assert len(changed) <= 4, changed
    assert not set(shown) & set("\u202e\u2066\u200b\u200d\u2028\ufeff")


def test_right_to_left_names_keep_their_neighbours(browser, tmp_path_factory):
    """What stands before and after a right-to-left name stays before and after it on the screen."""
    name = "\u05d0\u05d1\u05d2 (\u05d3)"
    path = _write(tmp_path_factory, "rtl", hostile(name, 0), "rtl")
    browser.open(path)
    backward = browser.run(
        """
(() => {
  // left edges of the single letters and digits of each line must grow along the text
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
  const range = document.createRange();
  let parent = null, last = null;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const block = node.parentElement.closest('p, li, dd, dt, td, th, h1, h2, h3, figcaption, div');
    if (block !== parent) { parent = block; last = null; }
    for (let i = 0; i < node.length; i++) {
      if (!/[A-Za-z0-9]/.test(node.data[i])) continue;
      range.setStart(node, i); range.setEnd(node, i + 1);
      const box = range.getClientRects()[0];
      if (!box || !box.width) continue;
      if (last && Math.abs(box.top - last.top) < 2 && box.left < last.left - 0.5)
        bad.push(block.textContent.slice(0, 80));
      last = box;
    }
  }
  return {bad, rtl: document.body.textContent.split('\\u05d0').length - 1};
})()
"""
    )
    assert backward["rtl"] > 40
    assert backward["bad"] == []


def test_hostile_names_drawn_for_real(browser, tmp_path):
    """With every picture drawn, the page of one hostile name holds images that decode, and is as inert."""
    payload = '"><svg onload=window.__pwned=1>\u202e\u05d0 $\\frac{1}{0}$'
    path = write_report(hostile(payload, 0), tmp_path / "r.html", title=payload)
    browser.open(path, width=390)
    found = browser.run(_NODES)
    assert found["pwned"] == found["alerts"] == found["scripts"] == 0
    assert found["odd"] == []
    assert browser.complaints() == []
    assert browser.run("[...document.images].every(i => i.naturalWidth > 100)")
    assert browser.run("document.images.length") >= 12
    assert base64.b64decode(_DOT.split(",")[1]).startswith(b"\x89PNG")
