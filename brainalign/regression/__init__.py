"""Regression on arrays: ridge, kernel, banded and stacked, with exact cross-validation."""

from brainalign.regression.banded import BandedRidgeCV
from brainalign.regression.conventions import CONVENTIONS, from_alpha, from_deltas, to_alpha, to_deltas
from brainalign.regression.kernel_ridge import KernelRidgeCV
from brainalign.regression.kernels import KERNELS
from brainalign.regression.model_files import load_model, save_model
from brainalign.regression.partition import VariancePartition, variance_partition
from brainalign.regression.ridge import RidgeCV
from brainalign.regression.smoothing import smoother_matrices
from brainalign.regression.stacking import StackedRegression

__all__ = [
    "CONVENTIONS",
    "KERNELS",
    "BandedRidgeCV",
    "KernelRidgeCV",
    "RidgeCV",
    "StackedRegression",
    "VariancePartition",
    "from_alpha",
    "from_deltas",
    "load_model",
    "save_model",
    "smoother_matrices",
    "to_alpha",
    "to_deltas",
    "variance_partition",
]
