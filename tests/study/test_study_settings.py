"""The study file: every wrong key and value is named."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from brainalign.errors import DataNotFoundError, InputError
from brainalign.study import read_study
from brainalign.study.settings import parse_study

MINIMAL = '[dataset]\nname = "macaque_v4"\n[[models]]\nname = "pixels"\n'


def test_minimal_study_has_the_defaults():
    """A name, a dataset and a model are enough."""
    study = parse_study('name = "x"\n' + MINIMAL, source="x.toml")
    assert study.analyses == ["encoding"]
    assert study.encoding.n_folds == 5
    assert study.models[0].shown == "pixels"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam = 'x'\n" + MINIMAL, r"unknown key 'nam'; closest: 'name'"),
        ("name = 'x'\n" + MINIMAL + "layer = '*'\n", r"unknown key 'models.0.layer'; closest: 'layers'"),
        (
            "name = 'x'\n" + MINIMAL + "[encoding]\nn_fold = 3\n",
            r"unknown key 'encoding.n_fold'; closest: 'n_folds'",
        ),
        (
            "name = 'x'\n" + MINIMAL + "[encoding]\nn_folds = 1\n",
            r"encoding.n_folds: .* greater than or equal to 2",
        ),
        (
            "name = 'x'\nanalyses = ['rsaa']\n" + MINIMAL,
            r"analyses.0: Input should be 'encoding', 'rsa' or 'cka'",
        ),
        (MINIMAL, r"the key 'name' is missing"),
        ("name = '../up'\n" + MINIMAL, r"name: String should match pattern"),
        ("name = 'x'\nmodels = []\n[dataset]\nname='folder'\n", r"models: List should have at least 1"),
        ("name = 'x'\nsubjects = []\n" + MINIMAL, r"subjects: expected at least one name"),
        ("name = 'x'\n" + MINIMAL + "[[models]]\nname = 'pixels'\n", r"two models are called 'pixels'"),
        ("name = \n", r"x.toml is not valid TOML"),
    ],
)
def test_wrong_studies(text, message):
    """The error names the file, the key, what was found and the closest valid key."""
    with pytest.raises(InputError, match=message) as caught:
        parse_study(text, source="x.toml")
    assert "x.toml" in str(caught.value)


def test_overrides(tmp_path):
    """--set reaches nested keys and list entries, and refuses what it cannot reach."""
    file = tmp_path / "x.toml"
    file.write_text('name = "x"\n' + MINIMAL)
    study = read_study(file, overrides=["encoding.n_folds=3", "models.0.label=my net", "name=y"])
    assert (study.encoding.n_folds, study.models[0].shown, study.name) == (3, "my net", "y")
    for override, message in (
        ("encoding.n_folds", "expected KEY=VALUE"),
        ("models.3.label=a", r"expected a position 0\.\.0, found '3'"),
        ("name.first=a", "'name' has nothing below it"),
    ):
        with pytest.raises(InputError, match=message):
            read_study(file, overrides=[override])


def test_missing_and_binary_files(tmp_path):
    """A missing file and one that is no text are named."""
    with pytest.raises(DataNotFoundError, match="no study file at"):
        read_study(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="b.toml is not UTF-8"):
        read_study(tmp_path / "b.toml")


def test_packaged_demo_is_the_example():
    """The demo runs the same study file that the examples show."""
    example = Path(__file__).parents[2] / "examples" / "macaque_v4.toml"
    packaged = resources.files("brainalign").joinpath("studies/macaque_v4.toml").read_text(encoding="utf-8")
    assert packaged == example.read_text(encoding="utf-8")


def test_reading_a_study_loads_no_heavy_package():
    """A wrong study is refused before torch, scikit-learn or nilearn are imported."""
    code = (
        "import sys\nfrom brainalign.study.settings import parse_study\n"
        "try:\n    parse_study('x = 1', source='x')\nexcept ValueError:\n    pass\n"
        "print([m for m in ('torch', 'sklearn', 'nilearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
