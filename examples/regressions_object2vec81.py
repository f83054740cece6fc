"""Vision or words? Four regressions on one fMRI recording: ridge, banded, stacked, partitioned.

Needs the recording (``brainalign datasets info object2vec81`` says where it is public). Takes
about half a minute on two cores.
"""

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

import data_loaders as dl
from brainalign import metrics
from brainalign.regression import BandedRidgeCV, RidgeCV, StackedRegression, variance_partition

recording = dl.load("object2vec81")
X = [recording.features[name].values for name in ("alexnet", "word2vec")]
Y = recording.responses.values  # 81 object categories x 696 voxels
region = recording.responses.units["roi_visual"].to_numpy()

models = {
    "alexnet": lambda: RidgeCV(cv=5),
    "word2vec": lambda: RidgeCV(cv=5),
    "ridge, both": lambda: RidgeCV(cv=5),
    "banded ridge": lambda: BandedRidgeCV(cv=5, n_candidates=20),
    "stacked": lambda: StackedRegression(cv=5),
}
columns = {
    "alexnet": lambda a, b: a,
    "word2vec": lambda a, b: b,
    "ridge, both": lambda a, b: np.hstack([a, b]),
}
folds = list(KFold(9, shuffle=True, random_state=0).split(Y))
table = {}
for name, make in models.items():
    pick = columns.get(name, lambda a, b: [a, b])
    scores = []
    for train, test in folds:  # the penalty (and the weights) are chosen inside the training rows
        model = make().fit(pick(X[0][train], X[1][train]), Y[train])
        scores.append(metrics.pearson(Y[test], model.predict(pick(X[0][test], X[1][test]))))
    table[name] = pd.Series(np.mean(scores, axis=0)).groupby(region).mean()
print("Pearson r on held-out categories, mean over voxels (9 folds)")
print(pd.DataFrame(table).round(3).to_string())

parts = variance_partition({"alexnet": X[0], "word2vec": X[1]}, Y, cv=KFold(9, shuffle=True, random_state=0))
share = pd.DataFrame(
    {
        "only alexnet": parts.unique[0],
        "only word2vec": parts.unique[1],
        "shared": parts.shared[parts.row("alexnet", "word2vec")],
        "both": parts.r2[parts.row("alexnet", "word2vec")],
    }
)
print("\nHeld-out R2 and its parts, mean over voxels")
print(share.groupby(region).mean().round(3).to_string())
