"""In a real browser: the page asks for nothing, complains of nothing, and can be read on any screen."""

from __future__ import annotations

import pytest
from report_parts import make_placed

from brainalign.report import write_report

WIDTHS = (390, 1400)
# text of every element that holds some itself: its smallest font size, and what sticks out of the page
_LAYOUT = """
(() => {
  const wide = document.documentElement.clientWidth, out = [], small = [];
  for (const e of document.body.querySelectorAll('*')) {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (own && parseFloat(style.fontSize) < 11) small.push(e.tagName + ' ' + style.fontSize);
    const inside = e.closest('.box') && !e.classList.contains('box');
    if (!inside && !e.classList.contains('skip') && box.width > 0 && (box.right > wide + 1 || box.left < -1))
      out.push(e.tagName + '.' + e.className + ' ' + Math.round(box.right));
  }
  return {
    overflow: document.documentElement.scrollWidth - wide, out, small,
    images: [...document.images].map(i => [i.naturalWidth, i.getBoundingClientRect().width]),
    boxes: [...document.querySelectorAll('.box')].map(b =>
      [getComputedStyle(b).overflowX, b.querySelector('table').scrollWidth - b.clientWidth]),
    sections: [...document.querySelectorAll('nav a')].map(a => {
      location.hash = a.getAttribute('href');
      const target = document.querySelector(a.getAttribute('href'));
      return [a.textContent, target ? target.getBoundingClientRect().height : 0,
              target ? document.querySelector(':target') === target : false];
    }),
    headings: document.querySelectorAll('h2').length,
    covered: [...document.querySelectorAll('h1, h2, h3, p, dd, figcaption')].filter(e => {
      const s = getComputedStyle(e);
      return s.display === 'none' || s.visibility !== 'visible' || s.opacity !== '1';
    }).length,
  };
})()
"""


@pytest.fixture(scope="module")
def page(full_results, tmp_path_factory):
    """A page with every kind of figure: profiles, maps, surfaces, sensors over time, lags, RDMs."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report([*full_results, *make_placed()], path, provenance={"study": "planted.toml"})


@pytest.mark.parametrize("width", WIDTHS)
def test_page_reads_well_and_keeps_quiet(browser, page, width, tmp_path):
    """No console message, no request but the file, no overflow, no tiny text, every image drawn."""
    browser.open(page, width=width)
    assert browser.requests() == [page.resolve().as_uri()]
    assert browser.complaints() == []
    assert browser.named("Page.javascriptDialogOpening") == []
    found = browser.run(_LAYOUT)
    assert found["overflow"] == 0
    assert found["out"] == []
    assert found["small"] == []
    assert found["covered"] == 0
    assert len(found["images"]) >= 15
    for natural, shown in found["images"]:
        assert natural > 300
        assert 0.6 * min(width, 500) < shown <= width
    assert {style for style, _ in found["boxes"]} == {"auto"}
    if width == 390:
        # a table that is wider than the screen scrolls in its own box
        assert max(over for _, over in found["boxes"]) > 0
    assert len(found["sections"]) == found["headings"] >= 9
    for name, height, reached in found["sections"]:
        assert height > 10, name
        assert reached, name


def test_policy_stops_what_should_never_be_there(browser, page, tmp_path):
    """The page's own policy stops a script, a handler, a style and a picture that someone adds later."""
    extra = (
        "<script>window.__pwned=1</script><img src='https://evil.example/x.png' onerror='window.__pwned=1'>"
        "<style>h1{display:none}</style><iframe src='https://evil.example'></iframe>"
    )
    tampered = tmp_path / "tampered.html"
    tampered.write_text(page.read_text(encoding="utf-8").replace("<main", extra + "<main"), encoding="utf-8")
    browser.open(tampered)
    assert browser.run("window.__pwned === undefined")
    assert browser.run("getComputedStyle(document.querySelector('h1')).display") == "block"
    assert len(browser.complaints()) >= 3
    reached = [p["response"]["url"] for p in browser.named("Network.responseReceived")]
    assert [url for url in reached if "evil" in url] == []
