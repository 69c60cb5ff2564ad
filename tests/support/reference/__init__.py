"""What a run comes to, worked out a second time: from the words of docs/workflow.md, with nothing of the engine's.

A step is a generator. It yields when it can do no more at this moment, and is resumed whenever something happens anywhere. It ends by
returning its outputs (it is done), or by raising: Fault (it failed), Jump (a goto leads out of it), or Stop, which is thrown into a step
that is no longer wanted and comes out of it again once nothing of it goes on. Time is virtual; a Script says how every Job goes.

At one moment lists go on in the order in which they are written, each as far as it goes; then what is around them judges. That is
repeated until nothing changes; then time goes on.
"""

from tests.support.reference.run import Reference
from tests.support.reference.words import Account, Fate, Script

__all__ = ["Account", "Fate", "Reference", "Script"]
