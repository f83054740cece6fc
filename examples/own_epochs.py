"""Your own M/EEG epochs: from MNE to a score per sensor and time.

Without arguments it reads the recording of faces and houses below BRAINALIGN_DATA (six runs,
four electrodes). With your own epochs (a .fif file with at least two conditions):

    python examples/own_epochs.py EPOCHS-epo.fif
"""

import sys

import brainalign as ba
import data_loaders as dl
from brainalign import design

# volt or tesla, positions and times included
own = sys.argv[1:]
responses = ba.Responses.from_mne(own[0]) if own else dl.load("n170_muse").responses
print(f"{responses.n_samples} trials, {responses.n_units} sensors, {len(responses.times)} times")

# only the condition of a trial is known: trials are never averaged, runs are left out
conditions = design.condition_indicators(responses)
n_runs = responses.samples["run"].nunique() if "run" in responses.samples else 0
fit = ba.fit_encoding(
    features=conditions, responses=responses, n_folds=max(n_runs, 2) if n_runs > 1 else 5, n_bootstrap=200
)

scores = fit.scores.values  # (n_sensors, n_times)
sensor, moment = divmod(int(scores.argmax()), scores.shape[1])
where, when = responses.units.index[sensor], 1e3 * responses.times[moment]
print(f"highest: r = {scores.max():.3f} at {where}, {when:.0f} ms")
fit.scores.to_mne().save(
    "own_epochs-ave.fif", overwrite=True, verbose="ERROR"
)  # opens in MNE, for topographies
ba.write_report(fit.scores, "own_epochs.html", title="Conditions over time")
print("wrote own_epochs-ave.fif and own_epochs.html")
