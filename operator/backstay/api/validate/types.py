"""What is known, without any data, of everything that a workflow's expressions refer to. See `expressions/types` for what a type is."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from backstay.api.actions.structures import SwitchMode
from backstay.api.steps import Step
from backstay.api.validate.places import Home, Level, Listing, bodies_of, edge_of, handler_of, inside_of, structures
from backstay.api.validate.references import ERROR_FIELDS, RUN_FIELDS
from backstay.api.validate.schemas import InvalidSchema, compile_schema
from backstay.api.validate.sees import Extra
from backstay.api.validate.sites import Site, sites
from backstay.api.workflow import Template, WorkflowSpec
from backstay.expressions.types import ANY, NOTHING, Type, infer_template, join, list_of, map_of, scalar, type_of_schema
from backstay.expressions.types.model import INT, LIST, MAP, NULL, STRING

_TEXT: Final = scalar(STRING)
_WHOLE: Final = scalar(INT)
_ERROR: Final = map_of({name: _WHOLE if name == "attempt" else _TEXT for name in ERROR_FIELDS}, ANY)
_ESCALATION: Final = map_of(dict.fromkeys(("code", "message", "step"), _TEXT), ANY)
_RUN: Final = map_of(dict.fromkeys(RUN_FIELDS, _TEXT), ANY)
_RESPONSE: Final = map_of({"status": _WHOLE, "headers": map_of({}, ANY), "body": ANY}, ANY)
_ROUNDS: Final = 4
"""How often variables are looked at anew, because one is set from another; one that still changes may be anything."""


class Types:
    """The types of a workflow's parameters, variables, steps and other names, each worked out once and when it is asked for."""

    def __init__(self, spec: WorkflowSpec) -> None:
        setters = [site for site in sites(spec) if site.sets_variables]
        self._templates = {owner.name: (body, owner) for body, _, owner in bodies_of(spec) if isinstance(owner, Template)}
        self._parameters: dict[str, Type] = {}
        self._outputs: dict[int, Type] = {}
        self._items: dict[int, Type] = {}
        self._variables: dict[str, Type] = {}
        self._variables = self._settled(setters)
        self._outputs.clear()
        self._items.clear()

    def scope(self, site: Site, references: Iterable[tuple[str, ...]]) -> dict[str, Type]:
        """Return the types of the variables that an expression at a site sees, as far as it refers to them."""
        needed = {chain[1] for chain in references if chain[0] == "steps" and len(chain) > 1}
        scope = {
            "params": self._of_parameters(site.home),
            "vars": map_of(self._variables, ANY),
            "run": _RUN,
            "steps": map_of(dict(self._of_steps(needed, site.levels)), ANY),
        }
        for extra in reversed(site.extra):
            scope[extra.name] = self._of_extra(extra)
        return scope

    # ------------------------------------------------------------------------------------------- parameters and variables

    def _of_parameters(self, home: Home) -> Type:
        if home.path not in self._parameters:
            known = {parameter.name: type_of(parameter.schema_) for parameter in home.parameters}
            self._parameters[home.path] = map_of(known, ANY)
        return self._parameters[home.path]

    def _settled(self, setters: Sequence[Site]) -> dict[str, Type]:
        """Look at what sets each variable, again and again, until nothing changes."""
        found: dict[str, Type] = dict.fromkeys((name for site in setters for name in site.value), NOTHING)
        for turn in range(2 * _ROUNDS):
            after = self._once(found, setters)
            changed = {name for name in found if after[name] != found[name]}
            if not changed:
                return found
            found = after if turn < _ROUNDS else {**after, **dict.fromkeys(changed, ANY)}
        return dict.fromkeys(found, ANY)

    def _once(self, before: dict[str, Type], setters: Sequence[Site]) -> dict[str, Type]:
        """Return what variables are after all `set` steps, where they may have been as `before`."""
        self._variables = before
        self._outputs.clear()
        self._items.clear()
        after = dict(before)
        for site in setters:
            for name, value in site.value.items():
                after[name] = join(after[name], self.of_template(value, site))
        return after

    def of_template(self, value: Any, site: Site) -> Type:
        """Return the type of a value with expressions that stands at a site, once it is in the status."""
        if isinstance(value, str) and "${" not in value:
            return _TEXT
        return infer_template(value, lambda references: self.scope(site, references), site.variables)

    # ------------------------------------------------------------------------------------------------------------- steps

    def _of_steps(self, names: Iterable[str], levels: tuple[Level, ...]) -> Iterator[tuple[str, Type]]:
        for name in names:
            level = next((level for level in levels if name in level.listing.index_of), None)
            if level is not None:
                yield name, self._of_step(level.listing, level.listing.index_of[name])

    def _of_step(self, listing: Listing, index: int) -> Type:
        return map_of({"outputs": self._of_outputs(listing, index), "phase": _TEXT, "attempt": _WHOLE, "error": _ERROR}, ANY)

    def _of_outputs(self, listing: Listing, index: int) -> Type:
        """Return the type of a step's outputs: as it declares them, or as its kind makes them of those of the steps inside."""
        step = listing.steps[index]
        if id(step) not in self._outputs:
            self._outputs[id(step)] = ANY
            self._outputs[id(step)] = self._worked_out(step, listing, index)
        return self._outputs[id(step)]

    def _worked_out(self, step: Step, listing: Listing, index: int) -> Type:
        if (declared := getattr(step, "outputs", None)) is not None:
            return type_of(declared)
        make = _OUTPUTS.get(step.kind)
        own = ANY if make is None else make(self, step, listing, index)
        return join(own, *self._given_instead(step, listing, index))

    def _given_instead(self, step: Step, listing: Listing, index: int) -> Iterator[Type]:
        """Yield the types of the outputs that handlers, or what takes the place of a step, give instead of the step's own."""
        outer = listing.levels(index, with_itself=True)
        parts = [(catch.outputs, handler_of(catch, "", listing, outer)) for catch in step.catch]
        parts += [(event.outputs, edge_of(event, "", listing, index)) for event in step.boundary]
        for outputs, inner in parts:
            if outputs is not None:
                here = Site("", None, inner.all_of_it(), inner.extra, inner.home)
                yield map_of({name: self.of_template(value, here) for name, value in outputs.items()}, ANY)

    def list_outputs(self, listing: Listing) -> Type:
        """Return the type of the outputs of a list of steps, by name."""
        return map_of({step.name: self._of_outputs(listing, index) for index, step in enumerate(listing.steps)}, ANY)

    def inner_outputs(self, step: Step, listing: Listing, index: int) -> list[Type]:
        """Return the types of the outputs of the lists of steps inside a structure."""
        return [self.list_outputs(inside_of(listing, index, inner)) for inner in structures(step, "")]

    # ------------------------------------------------------------------------------------------------------- other names

    def _of_extra(self, extra: Extra) -> Type:
        match extra.kind:
            case "error":
                return _ERROR
            case "ending":
                return map_of({"phase": _TEXT, "error": _ERROR})
            case "escalation":
                return _ESCALATION
            case "count":
                return _WHOLE
            case "response":
                return _RESPONSE
            case "self" if extra.listing is not None:
                return self._of_step(extra.listing, extra.index)
            case "item" if extra.listing is not None and extra.step is not None:
                return self._of_item(extra.step, extra.listing, extra.index)
        return ANY

    def _of_item(self, step: Step, listing: Listing, index: int) -> Type:
        if id(step) not in self._items:
            self._items[id(step)] = ANY
            self._items[id(step)] = self._item(step, listing, index)
        return self._items[id(step)]

    def _item(self, step: Step, listing: Listing, index: int) -> Type:
        action = step.for_each
        if action is None or action.until is not None:
            return ANY
        if action.count is not None:
            return _WHOLE
        found = elements(self._at(action.in_, listing, index))
        if action.add is not None:
            inner = inside_of(listing, index, next(structures(step, "")))
            found = join(found, elements(self._at(action.add, listing, index, inner)))
        return found

    def _at(self, value: Any, listing: Listing, index: int, inner: Listing | None = None) -> Type:
        """Return the type of a value that stands at a step, or, with `inner`, is looked at where the steps inside it have run."""
        here = Site("", value, listing.levels(index), listing.extra, listing.home)
        return self.of_template(value, here if inner is None else replace(here, levels=inner.all_of_it(), extra=inner.extra))

    def template_outputs(self, name: str) -> Type:
        """Return the type of what a template leaves behind."""
        if name not in self._templates:
            return ANY
        body, template = self._templates[name]
        here = Site("", None, body.everything(), (), body.home)
        return map_of({output.name: self.of_template(output.value, here) for output in template.outputs}, ANY)

    def collected(self, step: Step, listing: Listing, index: int) -> Type:
        """Return the type of what an iteration of a forEach leaves behind; null where it failed."""
        assert step.for_each is not None
        inner = inside_of(listing, index, next(structures(step, "")))
        return join(self._at(step.for_each.collect, listing, index, inner), scalar(NULL))


def elements(items: Type) -> Type:
    """Return what a forEach makes of its items: the elements of a list; key and value of each entry of a map."""
    if not items.is_known:
        return ANY
    of_list = (items.item or ANY) if LIST in items.kinds else NOTHING
    value = items.fields.everything if items.fields is not None else ANY
    of_map = map_of({"key": _TEXT, "value": value}) if MAP in items.kinds else NOTHING
    found = join(of_list, of_map)
    return found if found.kinds or found.is_any else ANY


def type_of(schema: Mapping[str, Any]) -> Type:
    """Return the type of a schema; one that is refused says nothing, it is told elsewhere."""
    try:
        compile_schema(schema)
    except InvalidSchema:
        return ANY
    return type_of_schema(schema)


# ----------------------------------------------------------------------------------------------------- outputs of each kind of step


def _of_list(types: Types, step: Step, listing: Listing, index: int) -> Type:
    (found,) = types.inner_outputs(step, listing, index)
    return found


def _of_branches(types: Types, step: Step, listing: Listing, index: int) -> Type:
    assert step.parallel is not None
    names = [branch.name for branch in step.parallel.branches]
    return map_of(dict(zip(names, types.inner_outputs(step, listing, index), strict=True)), ANY)


def _of_one_way(types: Types, step: Step, listing: Listing, index: int) -> Type:
    """Of several ways one is taken: the outputs are those of its steps."""
    return join(*types.inner_outputs(step, listing, index))


def _of_switch(types: Types, step: Step, listing: Listing, index: int) -> Type:
    assert step.switch is not None
    return _of_one_way(types, step, listing, index) if step.switch.mode is SwitchMode.FIRST else ANY


def _of_for_each(types: Types, step: Step, listing: Listing, index: int) -> Type:
    assert step.for_each is not None
    counts = dict.fromkeys(("total", "succeeded", "failed"), _WHOLE)
    if step.for_each.collect is None:
        return map_of(counts, ANY)
    return map_of({**counts, "items": list_of(types.collected(step, listing, index))}, ANY)


def _of_while(types: Types, step: Step, listing: Listing, index: int) -> Type:
    return map_of({"iterations": _WHOLE, "last": _of_list(types, step, listing, index)}, ANY)


def _of_used_template(types: Types, step: Step, _listing: Listing, _index: int) -> Type:
    assert step.template is not None
    return types.template_outputs(step.template.name)


def _of_http(_types: Types, step: Step, _listing: Listing, _index: int) -> Type:
    assert step.http is not None
    if isinstance(step.http.output, dict):
        return map_of(dict.fromkeys(step.http.output, ANY), ANY)
    return ANY if step.http.kept is None else map_of({"status": _WHOLE}, ANY)


def _of_resource(_types: Types, step: Step, _listing: Listing, _index: int) -> Type:
    assert step.resource is not None
    action = step.resource
    if action.outputs is not None:
        return map_of(dict.fromkeys(action.outputs, ANY))
    if action.delete is not None or (action.wait is not None and action.wait.gone):
        return map_of({})
    if action.wait is not None and action.wait.selector is not None:
        return map_of({"count": _WHOLE})
    return map_of(dict.fromkeys(("apiVersion", "kind", "namespace", "name", "uid"), _TEXT))


_OUTPUTS: Final[dict[str, Callable[[Types, Step, Listing, int], Type]]] = {
    "http": _of_http,
    "resource": _of_resource,
    "steps": _of_list,
    "dag": _of_list,
    "parallel": _of_branches,
    "switch": _of_switch,
    "race": _of_one_way,
    "forEach": _of_for_each,
    "while": _of_while,
    "template": _of_used_template,
}
"""By kind; the outputs of the others may be anything unless the step declares them."""
