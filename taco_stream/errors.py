"""The errors that end a run, one small tree.

A program that fails is data (a verdict); a request that fails is data (a completion whose finish reason says so). Only
these are raised. The message is one sentence that names the object (file, line, task, flag) and says what to do;
the command line prints it and exits with `exit_code`.
"""

import msgspec

NOT_DECODED = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""The exceptions of msgspec for text of another shape, not UTF-8, or nested too deeply."""


class TacoStreamError(Exception):
    """The run cannot continue."""

    exit_code = 1


class UsageError(TacoStreamError):
    """The request cannot be carried out as given: a bad flag or setting, or a name that does not exist."""

    exit_code = 2


class DatasetError(TacoStreamError):
    """A problem file cannot be read, or a row of it cannot be understood."""


class NoDatasetError(DatasetError):
    """There is no dataset of the name that was given."""

    exit_code = 2


class NoProblemError(DatasetError):
    """A dataset can be read, and no problem of it is selected."""


class ModelError(TacoStreamError):
    """The model or its tokenizer cannot be loaded or cannot be served."""


class EngineError(TacoStreamError):
    """The engine failed and its restarts are used up; what it had generated has been handed over."""


class EvaluatorError(TacoStreamError):
    """Programs cannot be judged on this machine, or the evaluator's restarts are used up."""


class NoCheckersError(EvaluatorError):
    """The folder of checkers that was named does not exist."""

    exit_code = 2


class TrackerError(TacoStreamError):
    """An experiment tracker or the hub cannot be written to; the run that was to be sent is not affected."""


class StoreError(TacoStreamError):
    """The run directory cannot be opened, read or written."""


class NoRunError(StoreError):
    """The folder that was named is not a run directory."""

    exit_code = 2


class RunMismatchError(StoreError):
    """The run directory belongs to a run with other settings."""

    exit_code = 2


class RunInUseError(StoreError):
    """Another process is writing the run directory."""

    exit_code = 2
