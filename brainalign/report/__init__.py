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
from brainalign.report.plots_alignment import plot_alignment
from brainalign.report.plots_geometry import plot_mds_over_time
from brainalign.report.plots_rdms import plot_rdm_movie, plot_rdms
from brainalign.report.plots_rsa import plot_rsa
from brainalign.report.plots_searchlight import plot_searchlight_map
from brainalign.report.plots_trees import plot_dendrogram
from brainalign.report.regions import score_table, summarise

__all__ = [
    "plot_alignment",
    "plot_brain_map",
    "plot_dendrogram",
    "plot_lag_curve",
    "plot_layer_profile",
    "plot_mds",
    "plot_mds_over_time",
    "plot_model_comparison",
    "plot_rdm",
    "plot_rdm_movie",
    "plot_rdm_pair",
    "plot_rdms",
    "plot_rsa",
    "plot_searchlight_map",
    "plot_time_course",
    "plot_topography",
    "plot_unit_scores",
    "score_table",
    "summarise",
    "write_report",
]
