"""What does human IT represent? RSA on 92 images: models, noise ceiling, tests, figure.

Needs the recording (``brainalign datasets fetch objects92``, 5 MB). Takes a few seconds on one core
and writes rsa_92_images.png (scores) and rsa_92_images_rdm.png (the RDM of human IT).
"""

import numpy as np
import pandas as pd

import data_loaders as dl
from brainalign.comparison import bootstrap_rsa, compare_rdms, rdm
from brainalign.report import plot_rdms, plot_rsa
from brainalign.types import RDMs

recording = dl.load("objects92")
images, published = recording.stimuli, recording.rdms
table = published.table

# human IT: one RDM a subject, the mean of two sessions
people = table.subject[(table.kind == "brain").to_numpy()].dropna().unique()
human = RDMs(
    np.stack([published.values[(table.subject == name).to_numpy()].mean(axis=0) for name in people]),
    published.stimulus_id,
    pd.DataFrame({"subject": people}),
    {"distance": "correlation"},
)

# models: five published RDMs, and the gray values of the images themselves
pixels = np.stack([images.load(one).mean(axis=-1).ravel() for one in images.ids])
chosen = ["monkeyIT", "animacy", "HMAX", "V1", "Silhouette"]
rows = [list(table.index).index(name) for name in chosen]
models = RDMs(
    np.concatenate([published.values[rows], rdm(pixels, distance="correlation")[None]]),
    published.stimulus_id,
    pd.DataFrame({"model": [*chosen, "gray pixels"]}),
)

# rho-a gives a model with two values (animacy) no advantage over one that ranks all pairs
result = bootstrap_rsa(human, models, measure="rho_a", n_boot=1000, over=("stimuli", "subjects"))
shown = result.to_frame(correction="fdr")
lower, upper = result.observed_ceiling
print(
    f"{result.n_subjects} subjects, {result.n_stimuli} images, {len(result.scores)} draws over both: "
    "errors and tests speak of other images and other people"
)
print(f"rho-a with human IT; noise ceiling {lower:.3f} to {upper:.3f}")
columns = ["model", "kind", "score", "low", "high", "p_zero", "p_ceiling"]
print(shown[columns].sort_values("score", ascending=False).round(4).to_string(index=False))
print(
    "All models are fixed: nothing was fitted to these data, so that nothing had to be cross-validated.\n"
    "p_zero (one-sided) and p_ceiling (difference from the lower ceiling) are corrected over "
    f"{len(shown)} models by false discovery rate;\nintervals are 95 % of each score alone. "
    f"With {result.n_subjects} subjects Student's t has {result.degrees_of_freedom} degrees of freedom: "
    "the tests are blunt."
)

pairs = result.test_pairs(correction="fdr")
print(f"\nPairs of models (two-sided, corrected over {len(pairs)} pairs)")
print(pairs.round(4).to_string(index=False))

# dots: single subjects; band: noise ceiling; stars and ticks: corrected tests
subjects = compare_rdms(human, models, measure="rho_a")
figure = plot_rsa(result, subject_scores=subjects, title="Human IT, 92 images")
figure.savefig("rsa_92_images.png", dpi=150)
mean = RDMs(human.values.mean(axis=0), human.stimulus_id, pd.DataFrame({"name": ["human IT"]}), human.info)
picture = plot_rdms(mean, categories=images.table["category"])
picture.savefig("rsa_92_images_rdm.png", dpi=150)
print("\nrsa_92_images.png and rsa_92_images_rdm.png written")
