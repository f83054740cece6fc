"""Your own arrays: features and responses with repeats. The data here are SIMULATED."""

import numpy as np
import pandas as pd

import brainalign as ba
from brainalign.simulate import respond

rng = np.random.default_rng(0)
stimulus_id = [f"image{i:03d}" for i in range(150)]
layers = {name: rng.standard_normal((150, 40)) for name in ("early", "late")}
brain = respond(layers, {"V1": "early", "IT": "late"}, n_units=20, n_repeats=4, noise_std=1.5)

# one row a trial; the ids join trials to features, whatever the order of the rows
responses = ba.Responses(
    brain.trials,
    samples=pd.DataFrame({"stimulus_id": np.array(stimulus_id, dtype=object)[brain.stimulus]}),
    units=pd.DataFrame({"roi_area": brain.region}),
    info={"design": "trials", "simulated": True},
)
features = {
    name: ba.Responses(values, pd.DataFrame({"stimulus_id": stimulus_id})) for name, values in layers.items()
}

fit = ba.fit_encoding(features=features, responses=responses, n_permutations=200, info={"simulated": True})
print("layer chosen per region and fold:", fit.scores.info["layer"])
print(
    fit.scores.to_frame().groupby("roi_area")[["value", "noise_ceiling", "normalised", "p"]].mean().round(3)
)

rsa = ba.permutation_test(
    features["late"], responses.select(units=brain.region == "IT"), measure="rsa_spearman"
)
print(f"RSA late x IT: {rsa.value:.3f}, p = {rsa.p_value:.3f}")
ba.write_report([fit.scores, *fit.layer_scores.values()], "own_arrays.html", title="Own arrays (simulated)")
