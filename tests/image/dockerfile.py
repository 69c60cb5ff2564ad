"""What a Dockerfile says about the image at its end: enough of the language for our own, and an error for anything else."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image.archive import Config


@dataclass(frozen=True)
class Copy:
    """A COPY of files; `stage` is the one that they come from, or empty for the folder that is built."""

    sources: tuple[str, ...]
    target: str
    stage: str = ""


@dataclass(frozen=True)
class Stage:
    """What follows one FROM."""

    base: str
    config: Config
    copies: tuple[Copy, ...]


def stages(file: Path) -> list[Stage]:
    """Return the stages of a Dockerfile; raises ValueError for an instruction that is not understood here."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
    instructions = [line.split(maxsplit=1) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    starts = [number for number, (word, _) in enumerate(instructions) if word == "FROM"]
    return [_stage(instructions[start:end]) for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True)]


def _stage(instructions: list[list[str]]) -> Stage:
    settings: dict[str, Any] = {"environment": {}, "labels": {}, "ports": []}
    copies: list[Copy] = []
    for word, rest in instructions[1:]:
        if word in ("ENV", "LABEL"):
            settings["environment" if word == "ENV" else "labels"] |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("ENTRYPOINT", "CMD"):
            settings["entrypoint" if word == "ENTRYPOINT" else "command"] = json.loads(rest)
        elif word in ("USER", "WORKDIR"):
            settings["user" if word == "USER" else "folder"] = rest.strip()
        elif word == "EXPOSE":
            settings["ports"] += [int(port) for port in rest.split()]
        elif word == "COPY":
            copies.append(_copy(rest.split()))
        elif word != "RUN":
            raise ValueError(f"the instruction {word} {rest} is not understood; teach it to {__name__}")
    return Stage(instructions[0][1].split()[0], Config(**settings), tuple(copies))


def _copy(words: list[str]) -> Copy:
    stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
    return Copy(tuple(words[:-1]), words[-1], stage)
