"""The nouns: stimuli, responses, RDMs, scores, and the dataset that bundles them.

All are frozen. Their tables are pandas DataFrames with text indices, their values
numpy arrays or anything with ``shape``, ``dtype`` and slicing (an array on disk).
Nouns select and convert; analysis lives in functions.
"""

from brainalign.types._tables import content_hash
from brainalign.types.dataset import Dataset
from brainalign.types.rdms import RDMs
from brainalign.types.recordings import DESIGNS, Responses
from brainalign.types.scores import IDENTITY, NoiseCeiling, Scores
from brainalign.types.stimuli import Stimuli

__all__ = [
    "DESIGNS",
    "IDENTITY",
    "Dataset",
    "NoiseCeiling",
    "RDMs",
    "Responses",
    "Scores",
    "Stimuli",
    "content_hash",
]
