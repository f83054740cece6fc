"""Studies of designs in time, and studies whose responses are simulated."""

from __future__ import annotations

import numpy as np
import pytest
from study_cases import make_folder

from brainalign.errors import InputError, UnknownNameError
from brainalign.study import read_study, run_study
from brainalign.study.activations import features_of
from brainalign.study.estimate import plan_study
from brainalign.study.inputs import subject_inputs

BLOCKS = """
name = "blocks"
analyses = ["encoding"]

[dataset]
name = "folder"
options = {{ path = "{path}", design = "continuous" }}

[preparation]
high_pass_s = 60.0
delays = [1, 2]

[[models]]
name = "pixels"
image_size = 8

[encoding]
n_folds = 3
inner_folds = 2
n_permutations = 0
n_bootstrap = 0
"""

PLANTED = """
name = "planted"
analyses = ["encoding", "rsa"]

[dataset]
name = "folder"
options = {{ path = "{path}", design = "trials" }}

[simulate]
truth = {{ V1 = "pixels" }}
n_units = 8
n_repeats = 3
noise_std = 0.5

[[models]]
name = "pixels"
image_size = 8

[encoding]
n_folds = 3
n_permutations = 20
n_bootstrap = 20

[rsa]
n_permutations = 20
n_bootstrap = 20
"""


@pytest.fixture
def movie(tmp_path):
    """Three runs of 20 images each, shown one after the other every 2 s; units follow by one sample."""
    folder = make_folder(tmp_path / "movie", n=60)
    lines = (folder / "stimuli.tsv").read_text().splitlines()
    rows = [f"{line}\t{i // 20 + 1}\t{(i % 20) * 2.0}" for i, line in enumerate(lines[1:])]
    (folder / "stimuli.tsv").write_text("\n".join([lines[0] + "\trun\tonset", *rows]) + "\n")
    single = np.load(folder / "responses.npy")[:, :, 0].reshape(3, 20, -1)
    np.save(folder / "responses.npy", np.roll(single, 1, axis=1).reshape(60, -1))
    file = tmp_path / "movie.toml"
    file.write_text(BLOCKS.format(path=folder))
    return file


def test_a_continuous_study_runs_with_its_control(movie, tmp_path):
    """Delays, filter, runs left out, the time index and the lag curve: all from the file."""
    study = read_study(movie)
    plan = plan_study(study)
    assert plan.n_cells == 2
    result = run_study(study, tmp_path / "out", cache=None)
    table = result.table
    assert set(table["model"]) == {"pixels", "time index"}
    claim = table[(table["model"] == "pixels") & (table["roi"] == "all")].iloc[0]
    control = table[(table["model"] == "time index") & (table["roi"] == "all")].iloc[0]
    assert claim["value"] > control["value"]
    assert claim["split_hash"] == control["split_hash"]
    inputs = next(subject_inputs(study, None))
    assert inputs.responses.info["preparation"] == ["high-pass 60 s per run (discrete cosines)"]
    assert features_of(study, inputs.dataset, study.models[0], cache=None)["pixels"].info["delays"] == [1, 2]


def test_trials_take_no_delays(tmp_path):
    """A filter over trials is refused, with the way out."""
    folder = make_folder(tmp_path / "recording")
    file = tmp_path / "wrong.toml"
    file.write_text(BLOCKS.format(path=folder).replace("continuous", "trials"))
    with pytest.raises(InputError, match="preparation.high_pass_s is for blocks and continuous designs"):
        next(subject_inputs(read_study(file), None))


def test_confounds_and_conditions_that_are_not_there_are_named(movie):
    """An unknown feature space, and events that nobody recorded."""
    study = read_study(movie, overrides=["preparation.confounds=motoin"])
    inputs = next(subject_inputs(study, None))
    from brainalign.study.inputs import confounds_of

    with pytest.raises(UnknownNameError, match="confounds: features of the dataset 'motoin' does not exist"):
        confounds_of(study, inputs.dataset)
    conditions = study.models[0].model_copy(update={"name": "conditions"})
    with pytest.raises(Exception, match="know of no events"):
        features_of(study, inputs.dataset, conditions)


def test_simulated_responses_say_so_and_recover_their_truth(tmp_path):
    """Every score is stamped as simulated and knows what was planted."""
    folder = make_folder(tmp_path / "images")
    file = tmp_path / "planted.toml"
    file.write_text(PLANTED.format(path=folder))
    study = read_study(file)
    inputs = next(subject_inputs(study, None, cache=None))
    again = next(subject_inputs(study, None, cache=None))
    assert inputs.digest == again.digest
    assert inputs.subject == "simulated"
    assert inputs.responses.info["planted"] == {"V1": "pixels"}
    assert inputs.responses.shape == (72, 8)
    result = run_study(study, tmp_path / "out", cache=None)
    claim = result.table[(result.table["analysis"] == "encoding") & (result.table["roi"] == "V1")].iloc[0]
    assert claim["value"] > 0.3
    assert claim["subject"] == "simulated"
    assert "imulated" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_truth_must_name_layers_of_the_first_model(tmp_path):
    """A layer that the model does not have, and a model that has none."""
    folder = make_folder(tmp_path / "images")
    file = tmp_path / "planted.toml"
    file.write_text(PLANTED.format(path=folder).replace('V1 = "pixels"', 'V1 = "pixel"'))
    with pytest.raises(UnknownNameError, match="closest: pixels"):
        next(subject_inputs(read_study(file), None, cache=None))
    file.write_text(PLANTED.format(path=folder).replace('name = "pixels"', 'name = "conditions"'))
    with pytest.raises(InputError, match="plants layers of the first model"):
        next(subject_inputs(read_study(file), None, cache=None))


def test_changed_events_are_changed_inputs(movie):
    """The same volumes with other events are other inputs, and so is another design."""
    from dataclasses import replace

    from brainalign.study.inputs import inputs_digest

    dataset = next(subject_inputs(read_study(movie), None)).dataset
    events = {"run": ["1"], "onset": [0.0], "duration": [2.0], "condition": ["a"]}

    def digest(**info):
        responses = replace(dataset.responses, info={**dataset.responses.info, **info})
        return inputs_digest(replace(dataset, responses=responses))

    base = digest(events=events)
    assert base == digest(events=dict(events))
    assert len({base, digest(events={**events, "onset": [2.0]}), digest(design="blocks"), digest()}) == 4
