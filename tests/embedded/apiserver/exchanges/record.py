"""The record of what the real API server answers: a file a topic in answers/.

Write it anew, which needs Go as the tests of the real control plane do:

    python -m tests.embedded.apiserver.exchanges.record
"""

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from typing import Final

import yaml

from tests.embedded.apiserver.exchanges.differences import compared
from tests.embedded.apiserver.exchanges.exchange import Body
from tests.embedded.apiserver.exchanges.talk import Server, talk
from tests.embedded.apiserver.exchanges.topics import conversation

ANSWERS: Final = Path(__file__).parents[1] / "answers"
Answers = dict[str, Body]


def recorded() -> Answers:
    """Return what the real server answered when the record was made, by exchange."""
    files = sorted(ANSWERS.glob("*.json"))
    return {name: answer for file in files for name, answer in json.loads(file.read_text()).items()}


def in_comparison(answers: Answers) -> Answers:
    """Return answers without what differs on purpose."""
    exchanges = (exchange for topic in conversation().values() for exchange in topic)
    return {exchange.name: compared(exchange, answers[exchange.name]) for exchange in exchanges}


async def answers_of(server: Server) -> Answers:
    """Hold the conversation with a server."""
    return await talk(server, [exchange for topic in conversation().values() for exchange in topic])


def server_of(kubeconfig: Path, url: str, token: str) -> Server:
    """Return a server by its kubeconfig."""
    cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
    return Server(url, token, base64.b64decode(cluster["certificate-authority-data"]).decode(), kubeconfig)


def answers_of_the_real_server(folder: Path) -> Answers:
    """Return what a real control plane, started in `folder`, answers."""
    from tests.cluster.control_plane import ControlPlane

    with ControlPlane.start(folder) as real:
        return asyncio.run(answers_of(server_of(real.kubeconfig, real.server, real.token)))


def write(answers: Answers) -> None:
    """Put answers on record."""
    ANSWERS.mkdir(exist_ok=True)
    for topic, exchanges in conversation().items():
        told = {exchange.name: answers[exchange.name] for exchange in exchanges}
        (ANSWERS / f"{topic}.json").write_text(json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def main() -> None:
    """Write the record anew."""
    with tempfile.TemporaryDirectory() as folder:
        write(in_comparison(answers_of_the_real_server(Path(folder))))


if __name__ == "__main__":
    main()
