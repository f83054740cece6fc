"""Names stay text: no tag, attribute, link, template or formula, on the page, in figures and in SVG files."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from matplotlib.text import Text
from report_hostile import PAYLOADS, assert_harmless, hostile, undrawn
from report_parts import Page

from brainalign.report import write_report
from brainalign.types import RDMs, Scores


@pytest.fixture(scope="module")
def plain_tags(tmp_path_factory):
    """The tags of a page whose names are harmless."""
    path = write_report(hostile("plain"), tmp_path_factory.mktemp("plain") / "r.html")
    return {tag for tag, _ in Page(path.read_text()).tags}


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_hostile_names_stay_text(payload, plain_tags, tmp_path, monkeypatch):
    """No name, in any field, becomes a tag, an attribute, a link, a template or a formula."""
    from brainalign.report.pictures import Gallery

    # drawing takes most of the time: two pages are drawn whole, every name is drawn below
    if PAYLOADS.index(payload) % 20:
        monkeypatch.setattr(Gallery, "render", undrawn)
    path = write_report(hostile(payload), tmp_path / "r.html", title=payload, provenance={payload: payload})
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert_harmless(page)
    assert {t for t, _ in page.tags} <= plain_tags | {"img", "figure"}
    if payload.startswith("{{ 7"):
        assert "{{ 7*7 }}" in page.text
    assert not set(page.text) & set("\u202e\u200b\u2028")


@pytest.mark.parametrize("payload", [p for p in PAYLOADS if "$" in p or not p.isascii()] + ["_x^{y}"])
def test_hostile_names_can_be_drawn(payload):
    """Every text of every figure is drawn letter by letter: no formula, no glyph that the font lacks."""
    from brainalign.report.groups import group_scores
    from brainalign.report.page import _KINDS
    from brainalign.report.pictures_rdms import rdm_pictures
    from brainalign.report.style import _glyphs

    results = hostile(payload)
    groups, _ = group_scores([r for r in results if isinstance(r, Scores)])
    found = [p for g in groups for kind in _KINDS for p in kind(g)]
    found += rdm_pictures([r for r in results if isinstance(r, RDMs)])
    assert len(found) >= 12
    for picture in found:
        axes = picture.draw()
        for text in axes.figure.findobj(Text):
            shown = text.get_text()
            assert shown.count("$") == shown.count(r"\$"), (picture.title, shown)
            assert {ord(c) for c in shown} <= _glyphs() | {10, 0x2212}, (picture.title, shown)
    axes.figure.canvas.draw()


def test_svg_of_hostile_names_is_harmless(tmp_path):
    """The written SVG files parse, and hold no script, handler, link or foreign reference."""
    write_report(
        hostile('"><script>1</script>--><svg onload=1>'), tmp_path / "r.html", figures_folder=tmp_path / "f"
    )
    files = sorted((tmp_path / "f").glob("*.svg"))
    assert len(files) >= 6
    for file in files:
        for node in ET.fromstring(file.read_text(encoding="utf-8")).iter():
            assert node.tag.split("}")[-1].lower() not in {"script", "foreignobject", "a", "iframe"}
            for name, value in node.attrib.items():
                assert not name.lower().startswith("on")
                if name.endswith("href"):
                    assert value.startswith(("#", "data:image/png;base64,")), value
