"""What every step goes through whatever its kind: skipped or begun, timed out, retried, caught, failed, stopped.

advancing   advance: bring a step as far as it goes now; skip, begun
lists       advance_list, stop_list: steps in order
failing     fail: an attempt went wrong: another attempt, a handler, a pause, or Failed
pausing     pause: no attempt is left, and a person is to say how to go on: resume, skip or give_up
stopping    stop: a step is no longer wanted; cancel: and the run goes on after it; leave: a goto inside it leads out of it
undoing     advance_undoing: steps that had ended are undone
outcomes    whether work that was cut off may have been done: after_cutting_off, note_unknown
ending      succeed, and every other way in which a step ends; its finally, which comes before its end
"""

from backstay.engine.lifecycle.advancing import advance, begun, open_event, skip
from backstay.engine.lifecycle.ending import carry_through, succeed
from backstay.engine.lifecycle.failing import fail
from backstay.engine.lifecycle.lists import Outcome, Standing, advance_list, stop_list
from backstay.engine.lifecycle.outcomes import note_unknown, unknown
from backstay.engine.lifecycle.pausing import exhaustion, give_up, pause, resume
from backstay.engine.lifecycle.stopping import begin_stopping, cancel, leave, stop, waited
from backstay.engine.lifecycle.undoing import advance_undoing, carry_through_begun, finish_begun, tell_left

__all__ = [
    "Outcome",
    "Standing",
    "advance",
    "advance_list",
    "advance_undoing",
    "begin_stopping",
    "begun",
    "cancel",
    "carry_through",
    "carry_through_begun",
    "exhaustion",
    "fail",
    "finish_begun",
    "give_up",
    "leave",
    "note_unknown",
    "open_event",
    "pause",
    "resume",
    "skip",
    "stop",
    "stop_list",
    "succeed",
    "tell_left",
    "unknown",
    "waited",
]
