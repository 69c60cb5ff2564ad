"""PostgreSQL for the tests, as Debian has it: what is installed, or its packages unpacked into the user's cache; and servers to be killed.

PostgreSQL refuses to run as root: then a server runs as nobody, in a folder of its own that nobody can reach. Everybody on this machine who
reaches the folder may do anything with it; it listens on a Unix socket alone.
"""

import functools
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import end_child, runs, tail
from tests.support.bound import spawn_bound
from tests.support.cache import cache_folder, made_once
from tests.support.waiting import wait_for

_INSTALLED = Path("/usr/lib/postgresql")
_DOWNLOAD_LIMIT_SECONDS = 600
_LIMIT_SECONDS = 60
_SETTINGS = {
    "listen_addresses": "",
    "max_prepared_transactions": "64",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "fsync": "off",
    "jit": "off",
    "autovacuum": "off",
}
"""Nothing is lost without fsync when processes are killed; only a machine that dies loses what it had not written."""


class PostgresMissing(RuntimeError):
    """PostgreSQL is not installed and cannot be had from Debian; the message says why."""


@dataclass(frozen=True)
class Programs:
    """Where PostgreSQL's programs are, and the libraries that they need besides the system's."""

    folder: Path
    libraries: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What they are started with."""
        return {**os.environ, **({"LD_LIBRARY_PATH": self.libraries} if self.libraries else {})}


@functools.cache
def programs() -> Programs:
    """Return PostgreSQL's programs. Raises PostgresMissing."""
    if found := _newest(_INSTALLED):
        return Programs(found)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise PostgresMissing("PostgreSQL is not installed, and there is no apt-get to get it with; install Debian's package postgresql")
    release = re.sub(r"\W+", "-", Path("/etc/debian_version").read_text().strip()) if Path("/etc/debian_version").exists() else "unknown"
    root = made_once(cache_folder("postgresql", release), unpack_from_debian, limit_seconds=_DOWNLOAD_LIMIT_SECONDS)
    found = _newest(root / "usr" / "lib" / "postgresql")
    if found is None:
        raise PostgresMissing(f"Debian's packages in {root} hold no PostgreSQL; delete that folder, and it is made anew")
    libraries = sorted({str(file.parent) for file in (root / "usr" / "lib").rglob("*.so*") if "postgresql" not in file.parts})
    return Programs(found, ":".join(libraries))


def _newest(folder: Path) -> Path | None:
    found = [binary.parent for binary in folder.glob("*/bin/postgres") if (binary.parent / "initdb").exists()]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def unpack_from_debian(folder: Path, *options: str) -> None:
    """Download PostgreSQL and what it needs that is not installed, and unpack it into a new folder: nothing is installed, and no root is needed."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        state = _apt_state(Path(scratch))
        _run(["apt-get", *state, "update"], scratch)
        plan = _run(["apt-get", *state, *options, "--simulate", "--no-install-recommends", "install", "postgresql"], scratch)
        names = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
        _run(["apt-get", *state, "download", *names], scratch)
        for package in Path(scratch).glob("*.deb"):
            _run(["dpkg", "--extract", str(package), str(folder)], scratch)


def _apt_state(scratch: Path) -> list[str]:
    """Let apt-get keep its lists in a folder of ours, as it may everywhere."""
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    options = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "root",
    }
    return [f"--option={name}={value}" for name, value in options.items()]


def _run(command: Sequence[str], folder: str, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_DOWNLOAD_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise PostgresMissing(f"PostgreSQL cannot be had: `{command[0]}` gave no answer within {_DOWNLOAD_LIMIT_SECONDS} s") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-1000:]
        raise PostgresMissing(f"PostgreSQL cannot be had: `{shlex.join(command[:1])}` ended with code {done.returncode}: {words}")
    return done.stdout


# ------------------------------------------------------------------------------------------------------------------ servers


class Postgres:
    """One server. Its data and its socket are in `folder`, which is what to give as PGHOST; whoever connects is its superuser, `postgres`."""

    def __init__(self, folder: Path, found: Programs) -> None:
        self.folder, self._found = folder, found
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def initialise(self) -> None:
        """Make its data."""
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        _run(
            [*_as_somebody_else(), str(self._found.folder / "initdb"), "-D", str(self._data), *options],
            str(self.folder),
            self._found.environment,
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the newest process says."""
        return self.folder / f"server-{self.starts}.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.starts += 1
        settings = [f"-c{name}={value}" for name, value in {**_SETTINGS, "unix_socket_directories": str(self.folder)}.items()]
        command = [*_as_somebody_else(), str(self._found.folder / "postgres"), "-D", str(self._data), *settings]
        self._process = spawn_bound(command, self.log, self._found.environment)
        wait_for(self._answers, _LIMIT_SECONDS, what=lambda: f"PostgreSQL does not answer; it says\n{tail(self.log)}")

    def _answers(self) -> bool:
        assert self.is_running, f"PostgreSQL has ended; it says\n{tail(self.log)}"
        return self._psql("postgres", "SELECT 1").returncode == 0

    def kill9(self) -> None:
        """Kill the postmaster, and wait until all that it had started has noticed."""
        if self._process is None:
            return
        children = _children_of(self._process.pid)
        end_child(self._process)
        self._process = None
        wait_for(
            lambda: not any(runs(child, "postgres") for child in children), _LIMIT_SECONDS, what=f"processes {children} of PostgreSQL stay"
        )

    def sql(self, database: str, statements: str) -> list[str]:
        """Return the rows that statements give, their values divided by `|`. Raises AssertionError with what psql says."""
        done = self._psql(database, statements)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def _psql(self, database: str, statements: str) -> subprocess.CompletedProcess[str]:
        command = [
            str(self._found.folder / "psql"),
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.folder),
            "-U",
            "postgres",
            "-d",
            database,
        ]
        environment = self._found.environment
        return subprocess.run(
            command, input=statements, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )


@contextmanager
def postgres_servers(*names: str) -> Iterator[list[Postgres]]:
    """Start servers, each with its data in a new folder; kill them and remove the folders afterwards. Raises PostgresMissing."""
    found = programs()
    top = Path(tempfile.mkdtemp(prefix="backstay-pg-", dir=_reachable_folder()))
    servers: list[Postgres] = []
    try:
        top.chmod(0o755)
        for name in names:
            servers.append(Postgres(_folder_for(top / name), found))
            servers[-1].initialise()
            servers[-1].start()
        yield servers
    finally:
        for server in servers:
            server.kill9()
        shutil.rmtree(top)


def _folder_for(folder: Path) -> Path:
    folder.mkdir(mode=0o755)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return folder


def _as_somebody_else() -> list[str]:
    """Return what stands before a command so that it does not run as root, and ends with us all the same."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--pdeathsig=KILL"]


def _reachable_folder() -> Path:
    """Return a folder for temporary files that every user can reach; a path in it is short enough for a socket."""
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if len(str(folder)) < 60 and all(os.geteuid() != 0 or part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents)):
            return folder
    raise PostgresMissing("PostgreSQL does not run as root, and no folder for temporary files can be reached by another user")


def _children_of(parent: int) -> list[int]:
    try:
        return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except FileNotFoundError:
        return []


def psql_in(folder: Path) -> Path:
    """Put a `psql` into a folder, for a PATH; return the folder. Raises PostgresMissing."""
    found = programs()
    script = folder / "psql"
    libraries = f"LD_LIBRARY_PATH={shlex.quote(found.libraries)} " if found.libraries else ""
    script.write_text(f'#!/bin/sh\n{libraries}exec {shlex.quote(str(found.folder / "psql"))} "$@"\n')
    script.chmod(0o755)
    return folder
