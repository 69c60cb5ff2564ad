"""`backstay`, and `kubectl backstay`: the commands put together. Nothing heavy is imported before a command needs it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from backstay.cli.commands.breaker import app as breaker
from backstay.cli.commands.control import cancel, compensate, resume, suspend
from backstay.cli.commands.deadletters import deadletters, discard, replay
from backstay.cli.commands.dev import dev
from backstay.cli.commands.export import export
from backstay.cli.commands.graph import graph
from backstay.cli.commands.history import history
from backstay.cli.commands.lint import lint
from backstay.cli.commands.logs import logs
from backstay.cli.commands.operator import operator
from backstay.cli.commands.run import run
from backstay.cli.commands.selftest import selftest
from backstay.cli.commands.steer import give_up, retry, skip
from backstay.cli.commands.step import add_items, cancel_step, complete_step
from backstay.cli.commands.tree import tree
from backstay.cli.commands.verify import verify
from backstay.cli.commands.version import version
from backstay.cli.commands.why import why
from backstay.cli.options import ContextOption, DebugOption, KubeconfigOption, NamespaceOption, Place, command, remember

_PLUGIN = "kubectl-backstay"

app = typer.Typer(
    name="backstay",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


@app.callback()
def backstay(
    ctx: typer.Context,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Business processes on Kubernetes that know the way back.

    \b
    A first run:
      backstay lint order.yaml && kubectl apply -f order.yaml
      backstay run order -p orderId=a-17 --watch
      backstay why order-7f2

    \b
    Exit codes:
      0  done; the run that was waited for has Succeeded
      1  the run has Failed; lint or verify has found something; the request makes no sense for this run
      2  a wrong option, argument, parameter or file
      3  the run that was waited for was Cancelled
      4  the limit of waiting is over; the run goes on
      5  the cluster cannot be reached, refuses, or does not have what was asked for
    """
    remember(ctx, Place(namespace, context, kubeconfig, debug))


_OF_A_CLUSTER: tuple[Callable[..., Any], ...] = (
    run,
    tree,
    why,
    logs,
    history,
    verify,
    export,
    suspend,
    resume,
    cancel,
    compensate,
    cancel_step,
    complete_step,
    add_items,
    retry,
    skip,
    give_up,
    deadletters,
    replay,
    discard,
    graph,
    selftest,
)
_OF_THIS_MACHINE: tuple[Callable[..., Any], ...] = (lint, dev, version)

for _function in _OF_A_CLUSTER:
    command(app, _function)
for _function in _OF_THIS_MACHINE:
    command(app, _function, place=False)
app.command("operator")(operator)
app.add_typer(breaker)


def main() -> None:
    """Run the command line. Called as a plugin of kubectl, it speaks of itself as `kubectl backstay`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    program = Path(sys.argv[0]).name
    app(prog_name="kubectl backstay" if program.startswith(_PLUGIN) else "backstay")


if __name__ == "__main__":
    main()
