"""Arrays to inference: noise ceilings, permutation, bootstrap, multiple tests, subset algebra."""

from brainalign.statistics.bootstrap import bootstrap_pearson
from brainalign.statistics.intersubject import intersubject_correlation
from brainalign.statistics.multiple_tests import adjust_fdr, adjust_fwer, few_permutations
from brainalign.statistics.noise_ceiling import noise_ceiling, split_half, variance_components
from brainalign.statistics.permutation import exchange_rows, permutation_p_values
from brainalign.statistics.rank_correlation import settle_ties, tau_a, tau_b
from brainalign.statistics.rsa_ceiling import rsa_noise_ceiling
from brainalign.statistics.score_splitting import product_measure, split_correlation
from brainalign.statistics.subsets import (
    shapley_values,
    subset_components,
    subset_masks,
    unique_contributions,
)

__all__ = [
    "adjust_fdr",
    "adjust_fwer",
    "bootstrap_pearson",
    "exchange_rows",
    "few_permutations",
    "intersubject_correlation",
    "noise_ceiling",
    "permutation_p_values",
    "product_measure",
    "rsa_noise_ceiling",
    "settle_ties",
    "shapley_values",
    "split_correlation",
    "split_half",
    "subset_components",
    "subset_masks",
    "tau_a",
    "tau_b",
    "unique_contributions",
    "variance_components",
]
