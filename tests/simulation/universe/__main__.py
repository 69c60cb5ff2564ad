"""Play many universes, and keep count.

python -m tests.simulation.universe --runs 20000                     those of the seeds 0 to 19,999; code 1 where a promise is broken
python -m tests.simulation.universe --runs 1000000 --keep FILE       go on where FILE ends, and keep the tally there
python -m tests.simulation.universe --seed 7 [--shrink]              one alone, told line by line; or as small as it can be made
python -m tests.simulation.universe --data 00ff…                     the same of the bytes that shrinking has left
"""

import argparse
import os
import sys
from pathlib import Path

import orjson

from tests.simulation.universe.choices import bytes_of
from tests.simulation.universe.many import many, report
from tests.simulation.universe.shrinking import shrunk
from tests.simulation.universe.universe import Outcome, play


def tell(outcome: Outcome) -> str:
    """Return one universe, line by line: what was planned, what reached the server, what was broken."""
    planned = {key: value for key, value in vars(outcome.spec).items() if key not in ("data", "runs")}
    specs = orjson.dumps(outcome.spec.runs).decode()
    return "\n".join([specs, str(planned), *outcome.trace, *map(str, outcome.worklist), str(outcome.phases), *outcome.broken])


def main() -> int:
    """Do what the command line says; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.universe", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20_000, help="how many universes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many processes")
    parser.add_argument("--keep", type=Path, help="a file for the tally, which the next start goes on from")
    parser.add_argument("--seed", type=int, help="play this one alone", default=os.environ.get("BACKSTAY_SEED"))
    parser.add_argument("--data", help="play the universe of these bytes alone")
    parser.add_argument("--shrink", action="store_true", help="make it as small as can be first")
    given = parser.parse_args()
    if given.seed is None and given.data is None:
        tally = many(given.runs, given.workers, given.keep)
        print(report(tally))
        return int(bool(tally.failures))
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation.universe", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    data = bytes.fromhex(given.data) if given.data else bytes_of(int(given.seed))
    outcome = play(shrunk(data) if given.shrink else data)
    print(tell(outcome), f"--data {outcome.data.hex()}", sep="\n")
    return int(bool(outcome.broken))


if __name__ == "__main__":
    sys.exit(main())
