"""backstay dev: a cluster on this machine, for trying things out."""

from pathlib import Path
from typing import Annotated

import typer

from backstay.cli.failures import Exit


def dev(
    manifests: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE…]", help="Manifests, or folders of them, to apply once the cluster is ready.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Where the cluster keeps its data (default: a folder that goes with it).")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget what an earlier cluster has kept in --data.")] = False,
    port: Annotated[
        int,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Where it listens, on loopback only (default: any that is free)."),
    ] = 0,
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", metavar="FILE", help="Where to write the kubeconfig (default: in the data folder).")
    ] = None,
    image_map: Annotated[
        Path | None, typer.Option("--image-map", metavar="FILE", help="YAML that says which program stands for which image.")
    ] = None,
    with_operator: Annotated[bool, typer.Option("--operator/--no-operator", help="Whether the operator runs there, too.")] = True,
) -> Exit:
    """Run a small cluster with the operator on this machine.

    It is for laptops and tests, never for production. It speaks Kubernetes' API, so that kubectl works with it, and runs each step's
    command as a process of this machine, as you: images are not pulled. It listens on loopback only, with a token. Ctrl-C ends it, and
    every process that it has started.

    \b
    Examples:
      backstay dev order.yaml
      backstay dev --data ~/.backstay-dev --image-map images.yaml
      export KUBECONFIG=…            (it says which, in another terminal)
      backstay run order -p orderId=a-17 --watch
    """
    from backstay.cli.views.text import clean
    from backstay.local import dev as local

    return Exit(
        local.run(
            data=data,
            port=port,
            kubeconfig=kubeconfig,
            with_operator=with_operator,
            say=lambda words: typer.echo(clean(words)),
            image_map=image_map,
            manifests=manifests or (),
            reset=reset,
        )
    )
