"""What an expression can see, and from where: the steps of its own list and of the lists around it, parameters, variables, the run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from backstay.engine.model import Json
from backstay.expressions.cel import references
from backstay.expressions.template import Template, compile_template

if TYPE_CHECKING:
    from backstay.engine.node import Node
    from backstay.engine.turn import Turn

Iterated: TypeAlias = Callable[["Turn", str, int], Json]
"""What gives the item of an iteration, by the path of the structure and the index."""
Given: TypeAlias = Callable[["Turn", str, str], Json]
"""What gives the value of a name, by the path of the step that asks and the name."""
INDEX = "index"
ENDING = "ending"
"""What a `finally` sees of the end that it comes before."""
STATE = "state"
"""What the parameters of a recovery run see of the run that failed."""
ALWAYS = ("params", "vars", "run", "steps")


@dataclass(slots=True)
class Scope:
    """One list of steps, as expressions in it see the world. Filled while the list is compiled, never changed after.

    `segments` is the length of the list's path (a step in it has one more); indexes of iterations do not count, so that a
    static path and the path of an iteration agree.
    """

    segments: int
    outer: "Scope | None" = None
    extra: tuple[str, ...] = ()
    """Names besides those always there: `error` or what a catch calls it, `self`, `item` and `index`."""
    nodes: dict[str, "Node"] = field(default_factory=dict)
    iterated: "Iterated | None" = None
    """In the body of a structure that is run again and again: what its names stand for."""
    handles: bool = False
    """Whether it is the list of a catch: what it stands at is the step whose error it handles."""
    gives: "Given | None" = None
    """What gives the values of its additional names, where they are those of a structure's own."""
    is_template: bool = False
    """Whether it is the list of a template: what is seen as `params` is what the step was given that it is inside of."""

    @property
    def variables(self) -> tuple[str, ...]:
        """All names that an expression here may use."""
        return (*ALWAYS, *self.extras())

    def extras(self) -> tuple[str, ...]:
        """The additional names of this list and of those around it."""
        return tuple(dict.fromkeys((*self.extra, *(self.outer.extras() if self.outer else ()))))

    def home_of(self, name: str) -> "Scope | None":
        """Find the innermost list that has an additional name."""
        scope: Scope | None = self
        while scope is not None and name not in scope.extra:
            scope = scope.outer
        return scope

    def handler(self) -> "Scope | None":
        """Return the list of the innermost catch that this list is in, or None where it is in none."""
        scope: Scope | None = self
        while scope is not None and not scope.handles:
            scope = scope.outer
        return scope

    def template(self) -> "Scope | None":
        """Return the list of the template that this list is in, or None where it is in none."""
        scope: Scope | None = self
        while scope is not None and not scope.is_template:
            scope = scope.outer
        return scope

    def find(self, name: str) -> "tuple[Scope, Node] | None":
        """Find a step by name: the innermost list that has one of that name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.nodes:
                return scope, scope.nodes[name]
            scope = scope.outer
        return None

    def all(self) -> Iterator[tuple[str, "Scope", "Node"]]:
        """Every step that is seen from here, innermost first."""
        scope: Scope | None = self
        seen: set[str] = set()
        while scope is not None:
            for name, node in scope.nodes.items():
                if name not in seen:
                    seen.add(name)
                    yield name, scope, node
            scope = scope.outer


@dataclass(frozen=True, slots=True)
class Bound:
    """A template with the scope it stands in, and which steps it needs (None: it looks at `steps` as a whole)."""

    template: Template
    scope: Scope
    needs: frozenset[str] | None

    def steps(self) -> Iterable[tuple[str, Scope, "Node"]]:
        """The steps whose state this template can ask for."""
        if self.needs is None:
            return self.scope.all()
        found = ((name, self.scope.find(name)) for name in sorted(self.needs))
        return [(name, *place) for name, place in found if place is not None]


def bind(value: Json, scope: Scope, interpolated: Callable[[str], str] | None = None) -> Bound:
    """Compile a value that may hold expressions; text that comes of one goes through `interpolated`. Raises InvalidExpression."""
    template = compile_template(value, scope.variables, interpolated)
    needs: set[str] = set()
    for _, source in template.expressions:
        for chain in references(source):
            if chain[0] == "steps":
                if len(chain) == 1:
                    return Bound(template, scope, None)
                needs.add(chain[1])
    return Bound(template, scope, frozenset(needs))


def step_view(phase: str, outputs: Mapping[str, Any] | None, attempt: int, error: Json) -> dict[str, Json]:
    """How expressions see a step: outputs are empty unless it succeeded, so that `has(steps.x.outputs.y)` works at any time."""
    view: dict[str, Json] = {"phase": str(phase), "outputs": outputs or {}, "attempt": attempt}
    if error is not None:
        view["error"] = error
    return view
