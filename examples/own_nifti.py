"""Your own NIfTI runs: from files to a map of the brain.

Without arguments it reads the six odd runs of Haxby et al. 2001 below BRAINALIGN_DATA
(`brainalign datasets fetch haxby2001` brings them). With your own files:

    python examples/own_nifti.py MASK.nii.gz RUN1.nii.gz EVENTS1.tsv [RUN2.nii.gz EVENTS2.tsv ...]
"""

import os
import sys
from pathlib import Path

import brainalign as ba
from brainalign import design

if len(sys.argv) > 1:
    mask, runs, events = sys.argv[1], sys.argv[2::2], sys.argv[3::2]
    repetition_time = None  # the header says it
else:
    folder = Path(os.environ["BRAINALIGN_DATA"]) / "haxby2001" / "openfmri" / "sub001"
    mask = folder / "masks" / "25mm" / "gray.nii.gz"
    names = [f"task001_run{number:03d}" for number in (1, 3, 5, 7, 9, 11)]
    runs = [folder / "BOLD" / name / "bold_25mm.nii.gz" for name in names]
    events = [folder / "BOLD" / name / "bold_events.tsv" for name in names]
    repetition_time = 2.5

bold = ba.Responses.from_nifti(runs, mask, events, repetition_time=repetition_time, design="blocks")
print(f"{bold.n_samples} volumes of {len(runs)} runs, {bold.n_units} voxels, space {bold.info['space']}")

# the same filter on both sides; the response may follow by 1 to 4 volumes
responses = design.prepare_responses(bold, high_pass_s=128)
conditions = design.condition_indicators(bold)
features = design.prepare_features(conditions, bold, delays=[1, 2, 3, 4], high_pass_s=128)

fit = ba.fit_encoding(features=features, responses=responses, n_folds=len(runs), n_bootstrap=200)
print(f"runs left out: mean r over voxels {fit.scores.values.mean():.3f}")
print(f"the clock alone: mean r {fit.controls['time index'].values.mean():.3f}")

fit.scores.to_nifti().to_filename("own_nifti_map.nii.gz")  # the grid of the input
ba.write_report([fit.scores, *fit.controls.values()], "own_nifti.html", title="Conditions, voxel by voxel")
print("wrote own_nifti_map.nii.gz and own_nifti.html")
