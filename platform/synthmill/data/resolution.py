"""How finely an encoding tells numbers apart: how many values are exact, and how many bins the rest has."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Limits for one column of numbers. What 5 people must share stays so at any resolution."""

    max_discrete: int
    """Numbers with at most so many different values, nearly all of them frequent, are levels, no curve."""
    point_share: float
    """Share of the rows from which on a value beside a curve has a code of its own."""
    most_points: int
    """The most frequent ones, where more would have one."""
    max_segments: int
    """Bins of equal share that a curve is cut into."""
    min_segment_share: float
    """Share of the rows that a bin must have, on average."""
    max_knots: int
    """Places at which a curve bends, about."""


COARSE = Resolution(
    max_discrete=32,
    point_share=0.01,
    most_points=100,
    max_segments=10,
    min_segment_share=0.02,
    max_knots=200,
)
"""For networks that read a number as a number: few segments, each with a smooth place inside."""
FINE = Resolution(
    max_discrete=256,
    point_share=0.002,
    most_points=128,
    max_segments=128,
    min_segment_share=0.002,
    max_knots=1000,
)
"""For models that know nothing but codes: binning numbers coarsely costs them more than any model does."""
