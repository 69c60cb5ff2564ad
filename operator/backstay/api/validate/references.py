"""Whether what an expression refers to can be there: parameters, variables, the run, and steps that come before."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backstay.api.actions.boundary import ESCALATION
from backstay.api.actions.structures import DEFAULT_CASE, SwitchMode
from backstay.api.actions.transaction import PHASES
from backstay.api.steps import Step, actions
from backstay.api.validate.places import Level, Listing, asides, listings, structures
from backstay.api.validate.sees import Extra
from backstay.api.validate.sites import Site
from backstay.api.workflow import WorkflowSpec
from backstay.expressions.words import path_of, quoted, suggestion, there_are

RUN_FIELDS: Final = ("name", "namespace", "uid", "startedAt")
STEP_FIELDS: Final = ("outputs", "phase", "attempt", "error")
ERROR_FIELDS: Final = ("type", "title", "detail", "step", "attempt")
RESPONSE_FIELDS: Final = ("status", "headers", "body")

_ANY_TIME: Final = [["phase"], ["attempt"], ["error"]]
"""Fields of a step that say how it stands now: in a dag, those of any step may be asked for."""
_FIELDS: Final = {
    "self": (*STEP_FIELDS, "outcome", "key"),
    "error": ERROR_FIELDS,
    "ending": ("phase", "error"),
    ESCALATION: ("code", "message", "step"),
    "response": RESPONSE_FIELDS,
    "first phase": ("name", "transaction"),
    "last phase": ("name", "transaction", "prepared", "outputs"),
}
"""The fields of names that are there in some places only, by what kind of name it is."""
_WITHOUT_OUTPUTS: Final = {
    **{kind: f"{kind} has no outputs" for kind in (*actions(Step, "instant"), *actions(Step, "undoing"), "wait")},
    "set": "set has no outputs; its variables are seen as vars.NAME",
    "fail": "fail has no outputs; a catch sees its error",
    "end": "end has no outputs; it ends the run",
}


@dataclass(frozen=True)
class World:
    """What there is in a workflow to refer to."""

    variables: frozenset[str]
    homes: dict[str, list[Listing]]
    """The lists of steps that have a step of a name."""

    @classmethod
    def of(cls, spec: WorkflowSpec) -> "World":
        """Gather what a workflow defines."""
        variables: set[str] = set()
        homes: dict[str, list[Listing]] = {}
        for listing in listings(spec):
            for step in listing.steps:
                variables.update(step.set or ())
                homes.setdefault(step.name, []).append(listing)
        return cls(frozenset(variables), homes)

    def mistake(self, chain: tuple[str, ...], site: Site) -> str:
        """Return what is wrong with a reference, and its mend; nothing where it can be there."""
        extra = next((extra for extra in site.extra if extra.name == chain[0]), None)
        if extra is not None and extra.kind == "participants":
            return _participant_mistake(extra, list(chain[1:]))
        if extra is not None:
            fields = _FIELDS.get(extra.kind)
            return _named(list(chain[1:]), fields, chain[0], "field") if fields else ""
        match chain:
            case ("params", *rest):
                return _named(rest, [parameter.name for parameter in site.home.parameters], "params", "parameter")
            case ("run", *rest):
                return _named(rest, RUN_FIELDS, "run", "field")
            case ("vars", *rest):
                mistake = _named(rest, self.variables, "vars", "variable")
                return mistake if not mistake or mistake.endswith("?") else f"{mistake}; give it a value in a set step"
            case ("steps", name, *rest):
                return self._step_mistake(name, rest, site.levels)
        return ""

    def _step_mistake(self, name: str, rest: list[str], levels: tuple[Level, ...]) -> str:
        for level in levels:
            if name in level.listing.index_of:
                if not level.sees(name) and not (level.listing.is_dag and rest[:1] in _ANY_TIME):
                    return f"{path_of(('steps', name))}: {_unseen(name, level)}"
                return _deeper(level.listing.steps[level.listing.index_of[name]], rest)
        return f"{path_of(('steps', name))}: {self._elsewhere(name, levels)}"

    def _elsewhere(self, name: str, levels: tuple[Level, ...]) -> str:
        known = {step.name for level in levels for step in level.listing.steps if level.sees(step.name)}
        for home in self.homes.get(name, ()):
            for level in levels:
                for outer in known & level.listing.index_of.keys():
                    if way := _way_to(level.listing.steps[level.listing.index_of[outer]], home, name):
                        return f"{quoted(name)} is inside {quoted(outer)}; write {path_of(('steps', outer, 'outputs', *way))}"
        if name in self.homes:
            home = self.homes[name][0]
            return (
                f"{quoted(name)} is at {home.place(home.index_of[name])}, in a list of steps that is not seen from here; "
                "an expression sees its own list and those around it; hand values over with a set step"
            )
        return f"there is no step {quoted(name)}; {there_are(known) if known else 'no step comes before this one'}{suggestion(name, known)}"


def _named(rest: list[str], known: Collection[str], owner: str, kind: str) -> str:
    if not rest or rest[0] in known:
        return ""
    what = f"{path_of((owner, rest[0]))}: there is no {kind} {quoted(rest[0])}"
    return f"{what}; {there_are(known)}{suggestion(rest[0], known)}" if known else f"{what}; the workflow has no {kind}s"


def _participant_mistake(extra: Extra, rest: list[str]) -> str:
    assert extra.step is not None
    assert extra.step.transaction is not None
    if mistake := _named(rest, [item.name for item in extra.step.transaction.participants], extra.name, "participant"):
        return mistake
    return _named(rest[1:], _FIELDS["last phase"], path_of((extra.name, rest[0])), "field") if rest[1:] else ""


def _unseen(name: str, level: Level) -> str:
    listing, index = level.listing, level.index
    if index is not None and index == listing.index_of[name]:
        if listing.steps[index].transaction is not None:
            return f"{quoted(name)} is not done while its phases run; write self.outputs, or participants.NAME.outputs in the phase after Commit"
        if listing.steps[index].kind in actions(Step, "structure"):
            return f"{quoted(name)} is not done while the steps inside it run; refer to those steps by their own names"
        return "a step cannot see itself; its outputs are there when it is done"
    if listing.is_dag:
        return f"{quoted(name)} need not be done when this step begins; add it to dependsOn"
    return f"{quoted(name)} comes later; an expression sees what has run before its own step; move one of the two"


def _deeper(step: Step, rest: list[str]) -> str:
    """Look at what follows `steps.NAME`: a field of the step, and below `outputs` the steps inside it."""
    here = path_of(("steps", step.name))
    if not rest:
        return ""
    if rest[0] not in STEP_FIELDS:
        meant = suggestion(rest[0], STEP_FIELDS) or f"; did you mean {path_of(('steps', step.name, 'outputs', *rest))}?"
        return f"{path_of(('steps', step.name, rest[0]))}: a step has {', '.join(STEP_FIELDS[:-1])} and {STEP_FIELDS[-1]}{meant}"
    if rest[0] != "outputs" or rest[1:2] in ([name] for name in _given(step)):
        return ""
    if mistake := _WITHOUT_OUTPUTS.get(step.kind):
        return f"{here}.outputs: {mistake}" if len(rest) > 1 else ""
    return _inside(step, rest[1:], f"{here}.outputs")


def _given(step: Step) -> Iterator[str]:
    """The names of the outputs that handlers, or what takes the place of a step, give instead of the step's own."""
    for part in asides(step):
        yield from part.outputs or ()


def _inside(step: Step, rest: list[str], path: str) -> str:
    """Follow outputs into a structure, as far as its kind makes them of those of the steps inside."""
    follow = _FOLLOWED.get(step.kind)
    return follow(step, rest, path) if follow and rest else ""


def _inside_one_list(step: Step, rest: list[str], path: str) -> str:
    return _inside_list([inner for part in structures(step, "") for inner in part.steps], rest, path)


def _inside_switch(step: Step, rest: list[str], path: str) -> str:
    assert step.switch is not None
    if step.switch.mode is SwitchMode.FIRST:
        return _inside_one_list(step, rest, path)
    cases = {case.name or str(index): case.steps for index, case in enumerate(step.switch.cases)}
    default = {DEFAULT_CASE: step.switch.default} if step.switch.default is not None else {}
    return _inside_branch({**cases, **default}, "case", rest, path)


def _inside_parallel(step: Step, rest: list[str], path: str) -> str:
    assert step.parallel is not None
    return _inside_branch({branch.name: branch.steps for branch in step.parallel.branches}, "branch", rest, path)


def _inside_branch(branches: Mapping[str, Sequence[Step]], kind: str, rest: list[str], path: str) -> str:
    if mistake := _absent(rest[0], branches, path, kind):
        return mistake
    return _inside_list(branches[rest[0]], rest[1:], _below(path, rest[0])) if rest[1:] else ""


def _inside_for_each(step: Step, rest: list[str], path: str) -> str:
    assert step.for_each is not None
    known = ("total", "succeeded", "failed", *(["items"] if step.for_each.collect is not None else []))
    mistake = _absent(rest[0], known, path, "output")
    if mistake and step.for_each.collect is None and (rest[0] == "items" or rest[0] in {inner.name for inner in step.for_each.steps}):
        return f"{mistake}; say in collect what each iteration leaves behind, and write items"
    return mistake


def _inside_while(step: Step, rest: list[str], path: str) -> str:
    if mistake := _absent(rest[0], ("iterations", "last"), path, "output"):
        inner = {name.name for part in structures(step, "") for name in part.steps}
        return f"{mistake}; write {_below(path, 'last')}.{rest[0]}" if rest[0] in inner else mistake
    return _inside_one_list(step, rest[1:], _below(path, "last")) if rest[0] == "last" and rest[1:] else ""


def _inside_transaction(step: Step, rest: list[str], path: str) -> str:
    """What participants leave behind: by participant, then by phase."""
    assert step.transaction is not None
    names = [item.name for item in step.transaction.participants]
    if mistake := _absent(rest[0], names, path, "participant"):
        return mistake
    return _absent(rest[1], PHASES[step.transaction.mode][:2], _below(path, rest[0]), "phase") if rest[1:] else ""


def _inside_http(step: Step, rest: list[str], path: str) -> str:
    """What `output` picks; without it status and body."""
    assert step.http is not None
    kept = step.http.kept
    mistake = "" if kept is None else _absent(rest[0], kept, path, "output")
    if mistake and step.http.output is None:
        return f"{mistake}; write {_below(path, 'body')}.{rest[0]} for a field of the answer"
    return mistake


_FOLLOWED: Final[dict[str, Callable[[Step, list[str], str], str]]] = {
    "http": _inside_http,
    "steps": _inside_one_list,
    "dag": _inside_one_list,
    "switch": _inside_switch,
    "race": _inside_one_list,
    "parallel": _inside_parallel,
    "forEach": _inside_for_each,
    "while": _inside_while,
    "transaction": _inside_transaction,
}
"""By kind: how to follow outputs further in. Those of the other kinds are what they say at run time."""


def _inside_list(steps: Sequence[Step], rest: list[str], path: str) -> str:
    """Two cases of a switch may have a step of the same name; then it is enough that one of them has what is referred to."""
    found = [step for step in steps if step.name == rest[0]]
    below = _below(path, rest[0])
    mistakes = [_of_inner(step, rest[1:], below) for step in found]
    if not mistakes:
        return _absent(rest[0], [step.name for step in steps], path, "step")
    return mistakes[0] if all(mistakes) else ""


def _of_inner(step: Step, rest: list[str], path: str) -> str:
    if rest[:1] in ([name] for name in _given(step)):
        return ""
    return f"{path}: {_WITHOUT_OUTPUTS[step.kind]}" if step.kind in _WITHOUT_OUTPUTS else _inside(step, rest, path)


def _below(path: str, name: str) -> str:
    return path + path_of(("", name))


def _absent(name: str, known: Collection[str], path: str, kind: str) -> str:
    if name in known:
        return ""
    return f"{_below(path, name)}: there is no {kind} {quoted(name)}; {there_are(known)}{suggestion(name, known)}"


def _way_to(step: Step, home: Listing, name: str) -> tuple[str, ...]:
    """Return the names from a structure's outputs down to a step in the list `home`, () where it is not in there."""
    if step.kind not in _FOLLOWED or step.for_each is not None:
        return ()
    branches = step.parallel.branches if step.parallel else ()
    for index, part in enumerate(structures(step, "")):
        front = (branches[index].name,) if branches else ("last",) if step.while_ else ()
        if part.steps is home.steps:
            return (*front, name)
        for inner in part.steps:
            if way := _way_to(inner, home, name):
                return (*front, inner.name, *way)
    return ()
