"""Regression on arrays: ridge with cross-validated penalties."""

from brainalign.regression.ridge import RidgeCV, smoother_matrices

__all__ = ["RidgeCV", "smoother_matrices"]
