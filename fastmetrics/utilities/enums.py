"""Names of tasks and averages as enumerations that compare with strings of any case."""

from __future__ import annotations

from enum import Enum

from typing_extensions import Self


class EnumStr(str, Enum):
    """Members are equal to their values, whatever the case, and hash accordingly.

    Example:
        >>> class Colour(EnumStr):
        ...     RED = "red"
        >>> Colour.RED == "Red", Colour.from_str("rEd") is Colour.RED
        (True, True)
    """

    @staticmethod
    def _name() -> str:
        return "Task"

    @classmethod
    def from_str(cls, value: str, source: str = "key") -> Self:
        """Return the member of a name (``source="key"``), of a value, or of either (``"any"``).

        Raises:
            ValueError: there is none.
        """
        wanted = {value.lower(), value.replace("-", "_").lower()}
        for name, member in cls.__members__.items():
            keys = [name] if source == "key" else [member.value]
            if source == "any":
                keys.append(name)
            if not wanted.isdisjoint(key.lower() for key in keys):
                return member
        allowed = [
            *([] if source == "value" else cls.__members__),
            *([] if source == "key" else (member.value for member in cls)),
        ]
        raise ValueError(f"Invalid {cls._name()}: expected one of {allowed}, but got {value}.")

    def __eq__(self, other: object) -> bool:
        """Compare with a member or a string; None is the string "none"."""
        other = other.value if isinstance(other, Enum) else other
        return bool(self.value.lower() == str(other).lower())

    def __hash__(self) -> int:
        return hash(self.value.lower())


class DataType(EnumStr):
    """What inputs of a classification look like."""

    BINARY = "binary"
    MULTILABEL = "multi-label"
    MULTICLASS = "multi-class"
    MULTIDIM_MULTICLASS = "multi-dim multi-class"

    @staticmethod
    def _name() -> str:
        return "Data type"


class AverageMethod(EnumStr):
    """How the values of classes become one; ``NONE`` is equal to None too."""

    MICRO = "micro"
    MACRO = "macro"
    WEIGHTED = "weighted"
    NONE = "none"
    SAMPLES = "samples"

    @staticmethod
    def _name() -> str:
        return "Average method"


class MDMCAverageMethod(EnumStr):
    """Whether positions of a sample are counted together with those of all others."""

    GLOBAL = "global"
    SAMPLEWISE = "samplewise"

    @staticmethod
    def _name() -> str:
        return "MDMC Average method"


class _Classification(EnumStr):
    @staticmethod
    def _name() -> str:
        return "Classification"


class ClassificationTask(_Classification):
    """The tasks of classification."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"


class ClassificationTaskNoBinary(_Classification):
    """The tasks with several classes or labels."""

    MULTILABEL = "multilabel"
    MULTICLASS = "multiclass"


class ClassificationTaskNoMultilabel(_Classification):
    """The tasks with one label for each sample."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
