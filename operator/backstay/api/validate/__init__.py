"""Judging a workflow and a run before anything is done with them. Pure: the same manifest gives the same problems, in the order of the manifest.

`parse_*` take the `spec` of a manifest and return its model, or raise InvalidDefinition with a Problem for each mistake that the models can
see: unknown and missing fields, wrong types, values out of range. `check_*` look at what only the whole can tell: references between steps,
cycles, steps that are never reached, parameters and their schemas. The operator, `backstay lint` and the tests use these and nothing else.
"""

from backstay.api.validate.parameters import check_parameters
from backstay.api.validate.parsing import parse_circuit_breaker, parse_run, parse_semaphore, parse_workflow
from backstay.api.validate.workflow import check_workflow

__all__ = ["check_parameters", "check_workflow", "parse_circuit_breaker", "parse_run", "parse_semaphore", "parse_workflow"]
