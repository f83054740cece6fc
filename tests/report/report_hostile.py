"""Names that try to be more than names, in every field of every result, and what a page may hold."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from report_parts import Page

from brainalign.types import RDMs, Scores

REMOTE = {
    "script",
    "iframe",
    "object",
    "embed",
    "link",
    "base",
    "form",
    "audio",
    "video",
    "svg",
    "math",
    "input",
    "button",
    "source",
    "frame",
    "applet",
    "template",
    "noscript",
    "use",
    "image",
    "foreignobject",
    "textarea",
}
ALLOWED_ATTRIBUTES = {
    "id",
    "class",
    "href",
    "src",
    "alt",
    "width",
    "height",
    "scope",
    "role",
    "aria-label",
    "aria-labelledby",
    "tabindex",
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
}
# every script that could run says so: window.__pwned, a dialogue, a request to evil.example
PAYLOADS = [
    "<script>window.__pwned=1</script>",
    "</script><script>window.__pwned=1</script>",
    "</textarea></title></style></script><script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=1>",
    '<img src="https://evil.example/x.png">',
    '"><svg onload=window.__pwned=1>',
    "<svg/onload=alert(1)>",
    "<svg><use href=//evil.example/#x></svg>",
    "<svg><script>window.__pwned=1</script></svg>",
    "<math><mtext><style><img src=x onerror=window.__pwned=1></style></mtext></math>",
    "' onmouseover='window.__pwned=1",
    '" autofocus onfocus="window.__pwned=1" tabindex="0',
    '" style="background:url(//evil.example)',
    'x" srcset="//evil.example/x.png 1x',
    "<details open ontoggle=window.__pwned=1>",
    "<video src=x onerror=window.__pwned=1></video>",
    "<body onload=window.__pwned=1>",
    "<template><script>window.__pwned=1</script></template>",
    "</style><script>window.__pwned=1</script>",
    "</style><style>body{display:none}</style>",
    "<style>@import 'https://evil.example/x.css'</style>",
    "*{color:red} body{display:none}",
    "</title><script>window.__pwned=1</script>",
    "<!--",
    "--><script>window.__pwned=1</script>",
    "]]><script>window.__pwned=1</script>",
    "javascript:window.__pwned=1",
    "<a href=javascript:window.__pwned=1>x</a>",
    "<a href='jav&#x09;ascript:window.__pwned=1'>x</a>",
    "data:text/html,<script>alert(1)</script>",
    "<iframe src=//evil.example></iframe>",
    "<iframe srcdoc='<script>parent.__pwned=1</script>'></iframe>",
    "<link rel=stylesheet href=//evil.example>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<form action=//evil.example><input autofocus onfocus=window.__pwned=1>",
    "<object data=//evil.example></object>",
    "{{ 7*7 }}",
    "{% raw %}{{ config }}",
    "{{ ''.__class__.__mro__ }}",
    "{{constructor.constructor('window.__pwned=1')()}}",
    "`${window.__pwned=1}`",
    r"\u003cscript\u003ewindow.__pwned=1\u003c/script\u003e",
    "&#60;script&#62;window.__pwned=1&#60;/script&#62;",
    "%3Cscript%3Ewindow.__pwned=1%3C/script%3E",
    "a & b &lt;script&gt; &#x3c;",
    r"$\frac{1}{0}$",
    r"$\undefined$ $",
    "$",
    "_$x_{",
    "\u202egnp.exe",
    "\u2066\u202e\u2069abc",
    "\u05d0\u05d1\u05d2 <b>",
    "\u0645\u0631\u062d\u0628\u0627 (V1)",
    "🧠😀<i>",
    "\ufeffe\u0301\u200b\u200d\u2028x",
    "url(//evil.example)",
    "../../etc/passwd %s %(x)s {0}",
    "=cmd|' /C calc'!A0",
    "x" * 300,
]


def marked(payload: str) -> str:
    """The payload as it goes into the fields."""
    return payload.replace("\u2028", " ").strip()


def hostile(payload: str, number: int = 0) -> list[Scores | RDMs]:
    """Results that carry the payload in every name field; another `number` is another brain."""
    mark = marked(payload)
    units = pd.DataFrame(
        {"unit_id": [f"{mark[:200]}{i}" for i in range(4)], "roi_" + mark: [mark, mark, "b", "b"]}
    )
    info = {
        "species": mark,
        "recording": mark,
        "design": mark,
        "generalisation": mark,
        "repeats": mark,
        "scoring_over": mark,
        "estimator": {"name": mark},
        "feature_scaling": mark,
        "splits": {"method": mark, "hash": mark, "n_folds": 2},
        "layers": [mark, "b"],
        "layer": {mark: [mark, "b"]},
        "versions": {mark: mark},
        "allow": mark,
        "no_ceiling": mark,
        "dataset": {"citation": f"https://evil.example/{mark}", "licence": mark, "species": mark},
        "model": {"citation": mark, "weights_digest": mark, "preprocessing": mark, "pool": mark},
        "nan_reasons": {mark: 1},
        "permutation": {"n": 20, "exchange": mark},
        "interval": mark,
        "unit_name": mark,
        "joined": mark,
        "random_state": mark,
        "penalty": {"edge_low": mark},
        "region_interval": {mark: mark},
        "confounds": mark,
        "preparation": [mark, mark],
        "delays": [1, 2],
        "delays_s": [2.0, 4.0],
        "lag_scan": {"lags_s": [0.0, 2.0], "values": {mark: [0.1, 0.2]}, "best_lag_s": 2.0},
        "drift": {"median_share": 0.6, "expected_share": 0.05, "cutoff_s": 128.0},
        "planted": {mark: mark},
        "simulated": True,
        "space": mark,
        "coordinate_frame": mark,
    }
    identity = {"dataset": f"{mark[:280]} {number}", "subject": mark, "model": mark, "analysis": mark}
    values = np.array([0.1, 0.2, np.nan, 0.4])
    p = np.full(4, 0.05)
    found: list[Scores | RDMs] = [
        Scores(
            values,
            units,
            mark,
            {**identity, "layer": "selected"},
            p_values=p,
            info={**info, "claim": "nested"},
        ),
        Scores(
            values,
            units,
            mark,
            {**identity, "layer": mark},
            info={**info, "claim": "descriptive", "role": mark},
        ),
        Scores(values, units, mark, {**identity, "layer": "b"}, info={**info, "claim": "descriptive"}),
        Scores(values, units, mark, {**identity, "layer": mark}, info={**info, "role": "control"}),
        Scores(np.stack([values, values], 1), units, mark, {**identity, "subject": "t"}, info=info),
    ]
    found += _placed(values, units, mark, identity, info)
    ids = [f"{mark[:200]}{i}" for i in range(5)]
    table = pd.DataFrame(
        {"kind": ["brain", "model"], "name": mark, "roi": mark, "model": mark, "layer": mark, "subject": mark}
    )
    matrix = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    rdm_info = {"distance": mark, "condition": [mark, mark, "b", "b", "b"]}
    return [*found, RDMs(np.stack([matrix, matrix**2]), ids, table, info=rdm_info)]


def _placed(values, units, mark, identity, info) -> list[Scores]:
    """Scores of sensors over time, of voxels and of vertices, with the payload where text may stand."""
    around = {"x": [-60.0, 60.0, 0.0, 0.0], "y": [0.0, 0.0, -70.0, 80.0], "z": [40.0] * 4}
    sensors = units.assign(**around, ch_type=["eeg", "eeg", "eeg", "eeg"])
    voxels = units.assign(i=[0, 1, 0, 1], j=[0, 0, 1, 1], k=0, roi_mark=mark)
    vertices = units.assign(hemi=["left", "right", mark, "left"], vertex=[0, 1, 2, 3])
    volume = {"affine": np.diag([-2.0, 2.0, 2.0, 1.0]).tolist(), "volume_shape": [2, 2, 1]}
    timed = np.stack([values, values / 2, values], 1)
    rest = {**info, "lag_scan": mark, "drift": mark, "confounds": {mark: mark}, "preparation": mark}
    return [
        Scores(timed, sensors, mark, {**identity, "subject": "e"}, info={**info, "times": [-0.1, 0.0, 0.1]}),
        Scores(values, voxels, mark, {**identity, "subject": "v"}, info={**rest, **volume}),
        Scores(values, vertices, mark, {**identity, "subject": "s"}, info={**rest, "times": mark}),
    ]


def assert_harmless(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in REMOTE, tag
        assert set(attributes) <= ALLOWED_ATTRIBUTES, (tag, attributes)
        if "href" in attributes:
            assert re.fullmatch(r"#[a-z]+", attributes["href"] or ""), attributes
        if "src" in attributes:
            assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", attributes["src"] or "")
    metas = [m for m in page.all("meta") if m.get("http-equiv")]
    assert [m["http-equiv"] for m in metas] == ["Content-Security-Policy"]
    assert len(page.all("style")) == len(page.all("title")) == 1


def undrawn(self, picture):
    return {
        "uri": "data:image/png;base64,AA",
        "caption": picture.caption,
        "alt": picture.alt,
        "title": picture.title,
        "stamps": "; ".join(picture.stamps),
        "saved": "",
        "width": "1",
        "height": "1",
    }
