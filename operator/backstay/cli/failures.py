"""How commands fail: exit codes, and one clear line that says what was found and what to do."""

from enum import IntEnum

from backstay.errors import ApiError, BackstayError, Invalid, InvalidDefinition, NotFound, Unavailable, missing_right
from backstay.names import GROUP

INSTALL = "kubectl apply --server-side -f crds/"


class Exit(IntEnum):
    """Exit codes. They are interface: docs/cli.md lists them."""

    OK = 0
    """Done; of a run that was waited for: it has Succeeded."""
    FAILED = 1
    """The run has Failed; lint has found errors; a request makes no sense for this run."""
    USAGE = 2
    """A wrong option, argument, parameter or file."""
    CANCELLED = 3
    """The run that was waited for was Cancelled."""
    TIMEOUT = 4
    """The limit of waiting is over; the run goes on."""
    CLUSTER = 5
    """The cluster cannot be reached, refuses, or does not have what was asked for."""
    INTERRUPTED = 130


class CommandFailed(BackstayError):
    """A command cannot do what it was asked to. `mend` says what to do about it."""

    def __init__(self, message: str, mend: str = "", code: Exit = Exit.FAILED) -> None:
        self.code = code
        super().__init__(f"{message}; {mend}" if mend else message)


class Usage(CommandFailed):
    """What was typed cannot be right."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message, mend, Exit.USAGE)


def explain(error: BackstayError) -> tuple[str, Exit]:
    """Return the words for an error and the exit code that goes with it."""
    match error:
        case CommandFailed():
            return str(error), error.code
        case InvalidDefinition():
            return "\n".join(map(str, error.problems)), Exit.USAGE
        case ApiError():
            return _api_words(error), Exit.CLUSTER
        case _:
            return str(error), Exit.CLUSTER


def _api_words(error: ApiError) -> str:
    if isinstance(error, NotFound) and "could not find the requested resource" in error.message:
        return f"this cluster does not know the kinds of {GROUP}; install them: {INSTALL}"
    if missing_right(error.message):
        return f"{error.message}; ask whoever runs the cluster for the role view, or edit, in this namespace"
    if isinstance(error, Unavailable):
        return f"the API server does not answer ({error.message}); is the cluster running? `kubectl cluster-info` asks the same one"
    if error.status == 401:
        return "the API server does not accept the login; log in again, or choose another context with --context"
    if isinstance(error, Invalid):
        return f"the API server refuses it: {error.message}"
    return error.message
