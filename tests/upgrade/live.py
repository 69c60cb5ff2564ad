"""Runs in every state that a release may be changed under, and a book in which each attempt of each step writes itself, once."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.scenarios.manifests import run_by_name, run_of, step, workflow_of
from tests.support.api import Object
from tests.support.cluster import Place, condition, phase_of
from tests.support.waiting import wait_for

NOW = {"maxAttempts": 2, "interval": "8s"}
DUE = "8s"


@dataclass
class Live:
    """The runs of one namespace. `folder` holds the book and the gates that Jobs wait at: they are processes of this machine."""

    place: Place
    folder: Path
    expected: Counter[str] = field(default_factory=Counter)

    # ---------------------------------------------------------------------------------------------------------- steps

    def job(self, gate: str = "", then: str = "") -> Object:
        """A job that writes itself into the book, waits at a gate if it has one, and goes on with a script."""
        script = f'echo "$BACKSTAY_RUN $BACKSTAY_STEP $BACKSTAY_ATTEMPT" >> {self.book}\n'
        script += f"while [ ! -e {self.folder / gate} ]; do sleep 0.1; done\n" if gate else ""
        return {"image": "busybox:1.36", "command": ["sh", "-c", script + (then or "true")]}

    def expect(self, run: str, *attempts: str) -> None:
        """Note what must stand in the book at the end: `STEP` or `STEP ATTEMPT`."""
        self.expected.update(f"{run} {attempt if ' ' in attempt else f'{attempt} 1'}" for attempt in attempts)

    def undoable(self, name: str, gate: str = "") -> Object:
        """A step that can be undone; its undoing waits at the gate."""
        return step(name, job=self.job(), compensate={"job": self.job(gate)})

    @property
    def book(self) -> Path:
        return self.folder / "book"

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    # ---------------------------------------------------------------------------------------------------------- states

    def begin(self) -> None:
        """Bring one run into each state, and wait until it is there."""
        fail = step("no", fail={"error": "Enough"})
        attempt_two = "test $BACKSTAY_ATTEMPT -ge 2"
        second = step("second", job=self.job())
        self.place.apply(
            run_of("finished", step("only", job=self.job())),
            run_of("running", step("first", job=self.job("running")), second),
            run_of("waiting", step("hold", wait={"duration": DUE}), second),
            run_of("retrying", step("first", job=self.job(then=attempt_two), retry=NOW), second),
            run_of("compensating", self.undoable("a"), self.undoable("b", "compensating"), fail),
            run_of("suspended", step("first", job=self.job("suspended")), second),
            run_of("cancelled-later", self.undoable("a"), step("hold", wait={"duration": "1h"})),
            run_of("deleted-meanwhile", self.undoable("a"), step("hold", wait={"duration": "1h"})),
            self.pinned("first"),
            run_by_name("by-name", "flow"),
        )
        self.expect("finished", "only")
        self.expect("running", "first", "second")
        self.expect("waiting", "second")
        self.expect("retrying", "first 1", "first 2", "second")
        self.expect("compensating", "a", "b", "b:compensate", "a:compensate")
        self.expect("suspended", "first", "second")
        self.expect("cancelled-later", "a", "a:compensate")
        self.expect("deleted-meanwhile", "a", "a:compensate")
        self.expect("by-name", "first")
        self._wait_until_there()

    def pinned(self, then: str) -> Object:
        """A workflow whose only job is called as is said, after a gate in the shape of a job."""
        return workflow_of({"steps": [step("gate", job=self.silent("by-name")), step(then, job=self.job())]}, "flow")

    def silent(self, gate: str) -> Object:
        """A job that only waits at a gate."""
        return {"image": "busybox:1.36", "command": ["sh", "-c", f"while [ ! -e {self.folder / gate} ]; do sleep 0.1; done"]}

    def _wait_until_there(self) -> None:
        self.place.until("retrying", lambda run: phase_of(run, "first") == "Retrying")
        self.place.until("waiting", lambda run: phase_of(run, "hold") == "Waiting")
        self.place.until("by-name", lambda run: phase_of(run, "gate") == "Running")
        self.place.apply(self.pinned("second"))
        self.patch("suspended", {"suspend": True}, lambda run: condition(run, "Suspended") == "True")
        self.open("suspended")
        self.place.until("suspended", lambda run: phase_of(run, "first") == "Succeeded")
        self.place.ended("finished")
        self.place.until("running", lambda run: phase_of(run, "first") == "Running")
        self.place.until("compensating", lambda run: phase_of(run, "b:compensate") == "Running")
        for name in ("cancelled-later", "deleted-meanwhile"):
            self.place.reached(name, "hold", "Waiting")
        wait_for(lambda: self.written()["running first 1"] and self.written()["compensating b:compensate 1"], what=self.written)

    def patch(self, run: str, spec: Object, shows: Callable[[Object], bool] | None = None) -> None:
        """Ask something of a run, and wait until it shows."""
        self.place.cluster.api.patch("workflowruns", self.place.name, run, {"spec": spec})
        if shows is not None:
            self.place.until(run, shows)

    def meanwhile(self) -> None:
        """What users do while no operator works: delete a run, and make one."""
        self.place.kubectl("delete", "wfrun", "deleted-meanwhile", "--wait=false")
        self.place.apply(run_of("made-meanwhile", step("only", job=self.job())))
        self.expect("made-meanwhile", "only")

    def finish(self) -> None:
        """Open every gate, and see each run end as it should."""
        for gate in ("running", "compensating", "by-name"):
            self.open(gate)
        self.patch("suspended", {"suspend": False})
        self.patch("cancelled-later", {"cancel": {"reason": "enough"}})
        for name in ("finished", "running", "waiting", "retrying", "suspended", "by-name", "made-meanwhile"):
            assert condition(self.place.ended(name), "Succeeded") == "True", name
        for name in ("compensating", "cancelled-later"):
            assert condition(self.place.ended(name), "Compensated") == "True", name
        self.place.gone("deleted-meanwhile")

    # ----------------------------------------------------------------------------------------------------------- book

    def written(self) -> Counter[str]:
        """Return what the book says: which attempts were begun, and how often."""
        return Counter(self.book.read_text().splitlines()) if self.book.exists() else Counter()

    def check(self) -> None:
        """Nothing was lost, nothing ran twice, and each attempt was one Job."""
        assert self.written() == self.expected
        jobs = Counter((job["metadata"]["annotations"]["backstay.dev/run-name"], job["metadata"]["annotations"]["backstay.dev/path"],
                        job["metadata"]["annotations"]["backstay.dev/attempt"]) for job in self.place.jobs())  # fmt: skip
        assert [job for job, count in jobs.items() if count > 1] == []
