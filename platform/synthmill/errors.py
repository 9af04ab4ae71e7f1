"""The one error tree, and the exit code each branch ends a command with.

    SynthmillError                3   infrastructure, or our fault
    +-- UserError                 2   the user's mistake: names the field and the fix
    |   +-- RecipeError           2   a recipe, an override or a flag
    |   +-- DataError             2   a source, a schema or a table
    |   |   +-- ColumnsError      2   several columns, one line for each
    |   |       +-- TablesError   2   several faults of several tables
    |   |   +-- ConstraintsError  2   constraints that can't hold, one line for each
    |   +-- ConditionError        2   a condition that can't be read or can't be met
    |   +-- NotFoundError         2   no such model, dataset, recipe, version
    |   +-- ResourceError         2   more workers or GPUs asked for than the cluster has
    +-- StorageError              3   a store that can't be reached, read or written
    |   +-- MissingError          3   a file that should be in a store is not there
    |   +-- IntegrityError        3   bytes that don't match their checksum
    |   +-- ClaimLostError        3   another job took the version over
    +-- TrainingError             3   a run that can't go on (NaN, collapse, lost workers)
    +-- GateFailedError           1   a quality gate failed; nothing else exits 1

Every message is one line. `KeyboardInterrupt` exits 130; any other exception is our bug and exits 3.
"""

import difflib
from collections.abc import Iterable, Sequence


class SynthmillError(Exception):
    """Anything this package raises on purpose."""

    exit_code = 3


class UserError(SynthmillError):
    """A mistake the user can fix: `field` is where, the message says what and how to fix it."""

    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None) -> None:
        self.field = field
        super().__init__(f"{field}: {message}" if field else message)


class RecipeError(UserError):
    """A recipe, an override or a command-line flag is wrong."""


class DataError(UserError):
    """A source, a schema file or a table is not what it should be."""


class ColumnsError(DataError):
    """Several columns of a table can't be learnt as they are; `faults` has one line for each."""

    def __init__(self, faults: Sequence[str], *, field: str | None = None) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{len(faults)} columns need a decision: " + " | ".join(faults), field=field)


class TablesError(ColumnsError):
    """Several things are wrong with tables that belong together; `faults` has one line for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        DataError.__init__(self, f"{len(faults)} faults: " + " | ".join(faults))


class ConstraintsError(DataError):
    """Constraints contradict each other, the columns or the rows; `faults` has one line for each, which names
    the constraint."""

    def __init__(self, faults: Sequence[str], *, field: str | None = None) -> None:
        self.faults = tuple(faults)
        what = "1 constraint does" if len(faults) == 1 else f"{len(faults)} constraints do"
        super().__init__(f"{what} not hold: " + " | ".join(faults), field=field)


class ConditionError(UserError):
    """A condition names an unknown column, can't be parsed, or can't be met."""


class TooRareError(ConditionError):
    """Rows were generated, but too few of them met the condition."""


class NotFoundError(UserError):
    """Nothing by that name exists."""


class ResourceError(UserError):
    """The cluster does not have what was asked for."""


class StorageError(SynthmillError):
    """A store can't be reached, read or written."""


class MissingError(StorageError):
    """A file that should be in a store is not there."""


class IntegrityError(StorageError):
    """Bytes do not match the checksum in their manifest."""


class ClaimLostError(StorageError):
    """Another job owns the version that this one was writing."""


class TrainingError(SynthmillError):
    """Training can't go on."""


class GateFailedError(SynthmillError):
    """A quality gate failed."""

    exit_code = 1


def raise_faults(faults: Sequence[str], *, field: str) -> None:
    """A DataError for one fault, a ColumnsError for several; nothing where there is none."""
    if len(faults) > 1:
        raise ColumnsError(faults, field=field)
    if faults:
        raise DataError(faults[0], field=field)


MOST_COMPARED = 2000
"""Names that a misspelt one is compared with."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suffix for 'no such thing' messages: the closest known name, or the list of all.

    Returns: text that starts with "; " and ends without a full stop, or "" when nothing is known.
    """
    options = sorted(known)
    likely = options
    if len(options) > MOST_COMPARED:
        # Comparing with each of very many takes seconds; those that begin alike are the likely ones.
        likely = [option for option in options if option[:1] == name[:1]][:MOST_COMPARED]
    close = difflib.get_close_matches(name, likely, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not options:
        return ""
    shown = ", ".join(options[:20]) + (", ..." if len(options) > 20 else "")
    return f"; there is: {shown}"
