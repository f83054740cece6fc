"""The exception tree: every error that brainalign raises on purpose.

Each class is also a subclass of the built-in that callers already catch, so
``except ValueError`` and ``except FileNotFoundError`` keep working.
"""


class BrainAlignError(Exception):
    """Base of every error that brainalign raises on purpose."""


class ShapeError(BrainAlignError, ValueError):
    """An array has the wrong number of axes, rows or columns."""


class InputError(BrainAlignError, ValueError):
    """An argument, a table or a study file holds a value that is not allowed."""


class UnknownNameError(BrainAlignError, KeyError):
    """A layer, measure, dataset or model of that name does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class AlignmentError(BrainAlignError, ValueError):
    """Rows of two tables cannot be joined without a guess."""


class DataNotFoundError(BrainAlignError, FileNotFoundError):
    """A file or a dataset is not where it was looked for."""


class CorruptFileError(BrainAlignError, OSError):
    """A file exists and cannot be what it claims to be."""


class WriteError(BrainAlignError, OSError):
    """The disk refused a write. Nothing half-written is left, and what was there is unchanged."""

    def __str__(self) -> str:
        return str(self.strerror)


class MissingDependencyError(BrainAlignError, ImportError):
    """An optional package is absent, or is present and fails to import."""


class DeviceError(BrainAlignError, RuntimeError):
    """The device that was asked for is not there."""


class LeakageError(BrainAlignError, ValueError):
    """Test rows would reach the training of a model."""


class MemoryBudgetError(BrainAlignError, MemoryError):
    """The work does not fit the memory that it may use."""
