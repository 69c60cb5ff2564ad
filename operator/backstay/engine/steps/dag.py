"""dag: steps that start as soon as those they depend on have succeeded or were skipped.

    state     on         becomes    then
    (new)     start      Running    the steps that depend on nothing begin
    Running   done       Succeeded  every step is done
    Running   failed     Stopping   with failFast the others are stopped; without it, those go on that do not depend on the failed one
    Stopping  ended      Failed     with the error of the first step that failed
    Running   stop       Stopping   what runs of it is stopped

Example:
    - name: build
      dag:
        steps:
        - {name: fetch, job: {image: "shop/git:1"}}
        - {name: test, dependsOn: [fetch], job: {image: "shop/test:1"}}
        - {name: scan, dependsOn: [fetch], job: {image: "shop/scan:1"}}
        - {name: publish, dependsOn: [test, scan], job: {image: "shop/push:1"}}
"""

from dataclasses import dataclass

from backstay.api.steps import Dag
from backstay.engine import lifecycle
from backstay.engine.lifecycle import advance, begun, stop_list, succeed
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import ROOT, join
from backstay.engine.scopes import Scope
from backstay.engine.steps.block import inside, outputs_of
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """The steps of a dag; each node knows what it depends on."""

    nodes: tuple[Node, ...]
    fail_fast: bool


class DagStep:
    """The machine of `dag`."""

    works = False

    def compile(self, action: Dag, path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(nesting.steps(action.steps, inside(path), None if path == ROOT else scope), action.fail_fast)

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        prefix = inside(record.path)
        found = _advance_all(turn, node.body.nodes, prefix)
        if turn.is_ending:
            return
        failed = [step for step in found if step.phase is Phase.FAILED]
        going = [step for step in found if not step.has_ended]
        if failed and (node.body.fail_fast or not going):
            first = min(failed, key=lambda step: step.finished_at or turn.now)
            lifecycle.begin_stopping(turn, node, record, Phase.FAILED, first.error)
        elif len(found) == len(node.body.nodes) and all(step.is_done for step in found):
            succeed(turn, record.path)

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_list(turn, node.body.nodes, inside(record.path))

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return outputs_of(turn, node.body.nodes, inside(record.path))


def _advance_all(turn: Turn, nodes: tuple[Node, ...], prefix: str) -> list[StepRecord]:
    """Bring every step as far as it goes, also those that a step which was done at once makes ready. Returns what has begun."""
    waiting = list(nodes)
    found: list[StepRecord] = []
    progress = True
    while waiting and progress and not turn.is_ending:
        later: list[Node] = []
        progress = False
        for node in waiting:
            path = join(prefix, node.name)
            if path not in turn.steps and not all(_is_done(turn, join(prefix, name)) for name in node.depends_on):
                later.append(node)
                continue
            record = advance(turn, node, path)
            if record is not None:
                found.append(record)
                progress = progress or record.is_done
        waiting = later
    return found


def _is_done(turn: Turn, path: str) -> bool:
    record = turn.steps.get(path)
    return record is not None and record.is_done
