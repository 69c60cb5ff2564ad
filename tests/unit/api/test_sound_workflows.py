"""What is right is not complained about: references that can be there, steps that are reached, names as long as they may be."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.validate import check_parameters, check_workflow, parse_run, parse_workflow

EXAMPLES = Path(__file__).parents[3] / "examples"

SOUND = yaml.safe_load(
    """
a handler sees the error by its name, the step that failed, and what came before it:
  steps:
  - {name: first, job: {image: x}}
  - name: second
    job: {image: x}
    catch:
    - errors: [Declined]
      as: declined
      steps:
      - {name: tell, job: {image: x, args: ["${ declined.detail }", "${ steps.second.error.type }", "${ steps.first.outputs.a }"]}}
      - {name: again, job: {image: x, args: ["${ steps.tell.outputs.a }", "${ declined.attempt }"]}}
a compensation sees itself, the error, and steps that come later:
  steps:
  - {name: a, job: {image: x}, compensate: {job: {image: x, args: ["${ self.outputs.id }", "${ error.type }", "${ steps.b.outputs.c }"]}}}
  - name: b
    job: {image: x}
    compensate:
      steps: [{name: undo, job: {image: x, args: ["${ self.outputs.id }"]}}, {name: tell, job: {image: x, args: ["${ steps.undo.outputs.x }"]}}]
a step of a dag sees what it depends on, however far:
  dag:
    steps:
    - {name: d, dependsOn: [b, c], job: {image: x, args: ["${ steps.a.outputs.x }", "${ steps.b.outputs.x }"]}}
    - {name: a, job: {image: x}}
    - {name: b, dependsOn: [a], job: {image: x}}
    - {name: c, dependsOn: [a], steps: [{name: inner, job: {image: x, args: ["${ steps.a.outputs.x }"]}}]}
outputs of structures go by the names inside them:
  steps:
  - {name: block, steps: [{name: one, job: {image: x}}, {name: two, steps: [{name: three, job: {image: x}}]}]}
  - {name: par, parallel: {branches: [{name: left, steps: [{name: one, job: {image: x}}]}, {name: right, steps: [{name: one, job: {image: x}}]}]}}
  - name: sw
    switch:
      cases: [{when: "${ vars.x == 1 }", steps: [{name: one, set: {y: 1}}]}, {when: "${ vars.x == 2 }", steps: [{name: one, job: {image: x}}]}]
      default: [{name: other, job: {image: x}}]
  - name: use
    job:
      image: x
      args:
      - ${ steps.block.outputs.one.a + steps.block.outputs.two.three.b }
      - ${ steps.par.outputs.left.one.a + steps.par.outputs.right.one.a }
      - ${ steps.sw.outputs.one.a + steps.sw.outputs.other.b }
      - ${ steps.block.phase + string(steps.block.attempt) }
  - {name: keep, set: {x: 1}}
names with dashes stand in brackets:
  steps:
  - {name: card-check, job: {image: x}}
  - {name: b, if: '${ steps["card-check"].outputs.ok == true }', job: {image: x}}
what is asked for with has or as an optional value need not be there at run time:
  parameters: [{name: note}]
  steps:
  - {name: a, if: "${ params.note != '' }", job: {image: x}}
  - {name: b, job: {image: x, args: ["${ steps.a.?outputs.?x.orValue('') }", "${ has(steps.a.outputs.x) ? 'yes' : 'no' }"]}}
inner names hide outer ones:
  steps:
  - {name: a, job: {image: x}}
  - {name: b, steps: [{name: a, job: {image: x}}, {name: c, job: {image: x, args: ["${ steps.a.outputs.x }"]}}]}
a variable may be set anywhere and seen anywhere:
  steps:
  - {name: a, job: {image: x}, catch: [{steps: [{name: b, set: {failed: true}}]}]}
  - {name: c, if: "${ vars.?failed.orValue(false) }", job: {image: x}}
a fail that may be passed is followed by steps:
  parameters: [{name: amount, schema: {type: number}}]
  steps:
  - {name: stop, if: "${ params.amount > 10 }", fail: {error: TooMuch}}
  - {name: caught, steps: [{name: always, fail: {error: Oops}}], catch: [{errors: [Oops], steps: [{name: note, set: {oops: true}}]}]}
  - {name: any, parallel: {join: Any, branches: [{name: l, steps: [{name: x, fail: {error: A}}]}, {name: r, steps: [{name: x, job: {image: x}}]}]}}
  - {name: end, job: {image: x}}
a dag sets a variable in one step after the other:
  dag: {steps: [{name: a, set: {x: 1}}, {name: b, dependsOn: [a], set: {x: 2}}]}
the workflow's own handler and its outputs see every step of the body:
  steps: [{name: a, job: {image: x}}]
  catch: [{errors: ["*"], as: problem, steps: [{name: tell, job: {image: x, args: ["${ problem.step }", "${ steps.a.phase }"]}}]}]
  outputs: [{name: x, value: {deep: ["${ steps.a.outputs.x }", "${ run.name + run.namespace + run.uid + run.startedAt }"]}}]
loops bind names of their own:
  parameters: [{name: lines}]
  steps: [{name: a, job: {image: x, args: ["${ params.lines.map(line, line.sku + ':' + string(line.count)) }"]}}]
what handlers give stands for what a step would have produced, of whatever kind it is:
  steps:
  - name: block
    steps: [{name: one, job: {image: x}}]
    catch: [{errors: [Transient], steps: [{name: h, job: {image: x}}], outputs: {one: {a: "${ steps.h.outputs.b }"}, why: "${ error.type }"}}]
  - {name: nap, wait: {duration: 1h}, boundary: [{wait: {condition: "${ vars.?enough.orValue(false) }"}, steps: [{name: s, set: {n: 1}}], outputs: {n: "${ vars.n }"}}]}
  - {name: use, job: {image: x, args: ["${ steps.block.outputs.one.a }", "${ steps.block.outputs.why }", "${ steps.nap.outputs.n + 1 }"]}}
  - {name: keep, set: {enough: true}}
a handler on a condition leaves errors to those after it:
  parameters: [{name: gold, schema: {type: boolean}}]
  steps:
  - name: a
    job: {image: x, exitCodes: {"3": OutOfStock}}
    catch:
    - {when: "${ params.gold && error.attempt > 1 }", steps: [{name: h, fail: {rethrow: true}}]}
    - {errors: [OutOfStock], steps: [{name: h, set: {x: 1}}, {name: again, goto: {step: a, maxVisits: 3}}]}
    - {steps: [{name: h, job: {image: x}, boundary: [{wait: {duration: 1m}, steps: [{name: out, fail: {rethrow: true}}]}]}]}
an escalation is heard by whatever is around it:
  steps:
  - name: all
    boundary:
    - escalation: "*"
      interrupting: false
      steps: [{name: t, job: {image: x, args: ["${ escalation.code }", "${ escalation.message }", "${ escalation.step }"]}}]
    forEach:
      in: [1, 2]
      steps:
      - {name: e, escalate: {code: ODD, message: "${ item }"}}
      - {name: j, job: {image: x}, catch: [{steps: [{name: e, escalate: {code: BAD}}]}]}
a step that is always interrupted is followed by steps:
  steps:
  - name: forever
    while: {condition: "${ true }", maxIterations: 1000, steps: [{name: s, wait: {duration: 1s}}]}
    boundary: [{wait: {duration: 1m}, steps: [{name: n, set: {x: 1}}]}]
  - {name: after, job: {image: x}}
business errors of containers need not be known:
  steps: [{name: a, job: {image: x}, catch: [{errors: [CardDeclined, OutOfStock], steps: [{name: b, job: {image: x}}]}]}]
a handler for a class may follow one for a type of it:
  steps: [{name: a, job: {image: x}, catch: [{errors: [OOMKilled], steps: [{name: b, job: {image: x}}]}, {errors: [Transient], steps: [{name: c, job: {image: x}}]}]}]
a list that a goto goes round in sees what its last lap has done:
  steps:
  - {name: draft, job: {image: x, args: ["${ has(steps.review.outputs.note) ? steps.review.outputs.note : '' }"]}}
  - {name: review, job: {image: x}, outputs: {type: object, properties: {note: {type: string}, good: {type: boolean}}}}
  - {name: again, if: "${ !steps.review.outputs.good }", goto: {step: draft, maxVisits: 5}}
  - {name: send, job: {image: x}}
what a goto jumps over is reached another way:
  parameters: [{name: fast, schema: {type: boolean}}]
  steps:
  - {name: choose, switch: {cases: [{when: "${ params.fast }", steps: [{name: jump, goto: {step: ship}}]}]}}
  - {name: pack, job: {image: x}}
  - {name: ship, job: {image: x}}
a goto out of a circle is a way out:
  steps:
  - {name: ask, job: {image: x}}
  - {name: enough, switch: {cases: [{when: "${ steps.ask.outputs.yes == true }", steps: [{name: leave, goto: {step: done}}]}]}}
  - {name: again, goto: {step: ask}}
  - {name: done, job: {image: x}}
an iteration sees its item, its index, and the steps before it:
  parameters: [{name: lines, schema: {type: array, items: {type: object, properties: {sku: {type: string}, qty: {type: integer}}}}}]
  steps:
  - name: pack
    forEach:
      in: "${ params.lines }"
      as: line
      completeWhen: "${ done - failed >= 2 && total > 3 }"
      collect: "${ {'sku': line.sku, 'parcel': steps.box.outputs.parcel} }"
      steps: [{name: box, job: {image: x, args: ["${ line.sku + string(index * line.qty) }", "${ item.sku }"]}}]
  - {name: tell, job: {image: x, args: ["${ steps.pack.outputs.items.filter(i, i != null).map(i, i.sku).join(',') }", "${ steps.pack.outputs.failed + 1 }"]}}
an iteration over a map has keys and values:
  parameters: [{name: stock, schema: {type: object, additionalProperties: {type: integer}}}]
  steps: [{name: count, forEach: {in: "${ params.stock }", steps: [{name: one, job: {image: x, args: ["${ item.key + ': ' + string(item.value + 1) }"]}}]}}]
a loop whose variable is set in it:
  steps:
  - {name: begin, set: {tries: 0, found: false}}
  - name: poll
    while:
      condition: "${ !vars.found && index < 10 }"
      steps:
      - {name: ask, job: {image: x}}
      - {name: note, set: {found: "${ steps.ask.outputs.?found.orValue(false) }", tries: "${ vars.tries + 1 }"}}
  - {name: tell, job: {image: x, args: ["${ string(vars.tries) + steps.poll.outputs.last.ask.answer }"]}}
a loop for ever that ends the run when it is time:
  steps:
  - name: watch
    while:
      condition: "${ true }"
      steps: [{name: look, job: {image: x}}, {name: over, if: "${ steps.look.outputs.over == true }", end: {}}]
a loop that looks at the step inside it:
  steps: [{name: poll, while: {until: "${ steps.ask.outputs.ready }", steps: [{name: ask, job: {image: x}}, {name: pause, wait: {duration: 10s}}]}}]
a milestone in a dag looks at what goes on beside it:
  dag:
    steps:
    - {name: check, job: {image: x}}
    - name: bonus
      wait: {condition: "${ steps.check.phase == 'Running' || has(steps.check.outputs.points) }"}
      timeout: 1h
      catch: [{errors: [Timeout], steps: [{name: late, set: {late: true}}]}]
    - {name: tell, job: {image: x}, if: "${ steps.bonus.phase != 'Failed' }"}
a step of a dag deals with the failure of another:
  dag:
    steps:
    - {name: charge, job: {image: x}}
    - {name: good, dependsOn: [charge], job: {image: x}}
    - {name: bad, dependsOn: [{step: charge, outcome: Failed}], job: {image: x}}
    - {name: after, dependsOn: [{step: good, outcome: Done}, {step: bad, outcome: Done}], job: {image: x}}
two ways of which one is skipped by its own condition may be joined:
  parameters: [{name: fast, schema: {type: boolean}}]
  dag:
    steps:
    - {name: a, job: {image: x}}
    - {name: b, if: "${ params.fast }", dependsOn: [a], job: {image: x}}
    - {name: c, dependsOn: [b], job: {image: x}}
    - {name: d, dependsOn: [{step: b, outcome: Skipped}], job: {image: x}}
the first branch that is done says which one it was:
  steps:
  - {name: ask, parallel: {join: Any, branches: [{name: l, steps: [{name: a, set: {who: l}}]}, {name: r, steps: [{name: a, set: {who: r}}]}]}}
branches that count together lose nothing:
  steps:
  - {name: begin, set: {count: 0}}
  - name: p
    parallel:
      branches:
      - {name: l, steps: [{name: a, set: {count: "${ vars.count + 1 }"}}]}
      - {name: r, steps: [{name: a, set: {count: "${ vars.count + 1 }"}}]}
branches that take turns under a lock may set the same variable:
  steps:
  - name: p
    parallel:
      branches:
      - {name: l, steps: [{name: a, lock: {name: till, scope: Run}, set: {takings: 1}}]}
      - {name: r, steps: [{name: a, lock: {name: till, scope: Run}, set: {takings: 2}}]}
events of which any may come first:
  steps:
  - {name: begin, set: {paid: false}}
  - name: paid
    race:
    - {name: by-hand, wait: {condition: "${ vars.paid }"}, steps: [{name: thank, set: {thanked: true}}]}
    - {name: overdue, wait: {duration: 48h}, steps: [{name: late, fail: {error: PaymentOverdue}}]}
  - {name: tell, job: {image: x}}
what a schema does not speak of may be anything:
  parameters: [{name: any}, {name: object, schema: {type: object}}, {name: list, schema: {type: array}}, {name: two, schema: {type: [string, "null"]}}]
  steps:
  - {name: a, job: {image: x, args: ["${ params.any + 1 }", "${ params.object.a.b }", "${ params.list[0].sku + 'x' }", "${ params.two + 'x' }"]}}
  - {name: b, if: "${ params.any && params.object.ok }", job: {image: x, args: ["${ steps.a.outputs.whatever.it[3].is }"]}}
numbers of either kind are compared, and converted before they are multiplied:
  parameters: [{name: amount, schema: {type: number}}, {name: limit, schema: {type: integer}}]
  steps:
  - {name: a, if: "${ params.amount > params.limit && params.amount >= 12.5 }", set: {tax: "${ double(params.amount) * 1.21 }"}}
text may be told from other values by its type:
  parameters: [{name: id, schema: {type: [string, integer]}}]
  steps: [{name: a, job: {image: x, args: ["${ type(params.id) == string ? params.id + '!' : string(params.id + 1) }"]}}]
what may be null is tested before:
  parameters: [{name: note, schema: {type: [string, "null"]}}, {name: id, schema: {type: string}}]
  steps: [{name: a, if: "${ params.note != null && params.note.size() > 3 && params.id != null }", job: {image: x}}]
a template sees what it was given, and its outputs are seen by its user:
  templates:
  - name: tell
    parameters: [{name: to, schema: {type: string}}]
    steps: [{name: mail, job: {image: x, args: ["${ params.to + run.name }"]}}]
    outputs: [{name: id, value: "${ steps.mail.outputs.id }"}]
  parameters: [{name: mail, schema: {type: string}}]
  steps:
  - {name: a, template: {name: tell, params: {to: "${ params.mail }"}}}
  - {name: b, job: {image: x, args: ["${ steps.a.outputs.id }"]}}
a timeout inside may be as long as the one around it:
  timeout: 1h
  steps: [{name: p, timeout: 10m, steps: [{name: a, job: {image: x}, timeout: 10m}, {name: w, wait: {duration: 10m}}]}]
a wait that is cut short by its timeout on purpose:
  steps: [{name: w, wait: {duration: 1h}, timeout: 10m, catch: [{errors: [Timeout], steps: [{name: note, set: {late: true}}]}]}]
a block of control steps may catch what the engine raises:
  steps:
  - name: p
    timeout: 1m
    steps: [{name: w, wait: {condition: "${ vars.x == 1 }"}}, {name: s, set: {x: 1}}]
    catch: [{errors: [Timeout, ExpressionError, "*"], steps: [{name: n, set: {x: 2}}]}]
a literal dollar and brace is no expression:
  steps: [{name: a, job: {image: x, args: ["$${ not.cel", "$HOME", "{}"]}}]
"""
)  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_workflow_has_no_problems(name: str) -> None:
    assert check_workflow(parse_workflow(SOUND[name])) == []


def test_names_of_63_characters_and_thirty_lists_inside_each_other_are_allowed() -> None:
    step: dict[str, Any] = {"name": "n" * 63, "job": {"image": "x"}}
    for _ in range(29):
        step = {"name": "n" * 63, "parallel": {"branches": [{"name": "b" * 63, "steps": [step]}]}}
    assert check_workflow(parse_workflow({"steps": [step]})) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_example_is_sound(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if manifest.get("kind") == "Workflow":
            assert check_workflow(parse_workflow(manifest["spec"])) == []
        elif manifest.get("kind") == "WorkflowRun":
            parse_run(manifest["spec"])


def test_the_runs_of_the_order_example_give_what_its_workflow_asks_for() -> None:
    workflow = parse_workflow(yaml.safe_load((EXAMPLES / "order" / "workflow.yaml").read_text(encoding="utf-8"))["spec"])
    for path in sorted((EXAMPLES / "order" / "runs").glob("*.yaml")):
        run = parse_run(yaml.safe_load(path.read_text(encoding="utf-8"))["spec"])
        resolved, problems = check_parameters(workflow, run.parameters)
        assert problems == []
        assert resolved["country"]
