"""Figures, tables and one self-contained page from scores and RDMs."""

from brainalign.report.figures_maps import plot_brain_map
from brainalign.report.figures_rdms import plot_mds, plot_rdm, plot_rdm_pair
from brainalign.report.figures_scores import (
    plot_layer_profile,
    plot_model_comparison,
)
from brainalign.report.figures_sensors import plot_topography
from brainalign.report.figures_time import plot_lag_curve, plot_time_course
from brainalign.report.figures_units import plot_unit_scores
from brainalign.report.page import write_report
from brainalign.report.regions import score_table, summarise

__all__ = [
    "plot_brain_map",
    "plot_lag_curve",
    "plot_layer_profile",
    "plot_mds",
    "plot_model_comparison",
    "plot_rdm",
    "plot_rdm_pair",
    "plot_time_course",
    "plot_topography",
    "plot_unit_scores",
    "score_table",
    "summarise",
    "write_report",
]
