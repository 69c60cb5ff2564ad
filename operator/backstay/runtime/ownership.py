"""What a process may look at. `shards.py` is for one that shares the work with others; here is what everybody asks, and the answers of one that is alone."""

from typing import Final

from backstay.runtime.queue import Key
from backstay.runtime.view import Object


class Ownership:
    """What a process may look at. This one owns everything: the only process there is, or one that takes no Leases."""

    is_at_work = True
    """Whether this process looks at any runs at all now."""
    is_first = True
    """Whether it is the one that does what is done once for all."""

    def held(self) -> int:
        """Return how many shards are held now."""
        return 1

    def owns(self, key: Key) -> bool:
        """Tell whether a run is this process's to look at, now."""
        return True

    def owns_uid(self, run_uid: str) -> bool:
        """Tell the same of a run, or of what is left of one, by its UID."""
        return True

    def owns_run(self, run: Object) -> bool:
        """Tell the same of a run that has ended, whether it is known or not."""
        return True

    def owns_name(self, namespace: str, name: str) -> bool:
        """Tell whether something else that is looked at by one process is this one's."""
        return True

    def keeps(self, key: Key) -> bool:
        """Tell whether a run is not another's, as far as is known: what was begun here for it goes on, also while nothing may be begun."""
        return True


ALONE: Final = Ownership()
