"""What every step goes through whatever its kind: skipped or begun, timed out, retried, caught, failed, stopped.

advancing   advance: bring a step as far as it goes now; skip, begun
lists       advance_list, stop_list: steps in order
failing     fail: an attempt went wrong: another attempt, a handler, or Failed
stopping    stop: a step is no longer wanted; cancel: and the run goes on after it; leave: a goto inside it leads out of it
ending      succeed, and every other way in which a step ends
"""

from backstay.engine.lifecycle.advancing import advance, begun, open_event, skip
from backstay.engine.lifecycle.ending import succeed
from backstay.engine.lifecycle.failing import fail
from backstay.engine.lifecycle.lists import Outcome, Standing, advance_list, stop_list
from backstay.engine.lifecycle.stopping import begin_stopping, cancel, leave, stop, waited

__all__ = [
    "Outcome",
    "Standing",
    "advance",
    "advance_list",
    "begin_stopping",
    "begun",
    "cancel",
    "fail",
    "leave",
    "open_event",
    "skip",
    "stop",
    "stop_list",
    "succeed",
    "waited",
]
