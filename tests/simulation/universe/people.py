"""What people do to runs and to what is of them, and what they do about runs that wait for a person."""

from typing import Any

from backstay import names
from tests.simulation.universe.cluster import Cluster
from tests.simulation.universe.promises import Promises
from tests.simulation.universe.scenario import Deed, Scenario
from tests.simulation.universe.server import Object, Refused
from tests.simulation.universe.wire import WORLD, Wire

PATIENCE = 7.0
"""After how many seconds somebody looks for runs that wait for a person."""
MOST_ANSWERS = 6
"""So often a person answers for a run; then it is let go."""


class People:
    """Those who use a universe."""

    def __init__(self, wire: Wire, cluster: Cluster, promises: Promises, what: Scenario) -> None:
        self.wire = wire
        self.loop = wire.loop
        self.server = wire.server
        self.cluster = cluster
        self.promises = promises
        self.what = what
        self.asked: dict[str, int] = {}

    def come(self) -> None:
        """Begin."""
        for deed in self.what.deeds:
            soon = max(0.0, deed.at - 2.5) / 5 if deed.what == "squat" else deed.at  # later there is nothing left to be in the way of
            self._later(soon, self._do, deed)
        self._later(PATIENCE, self._look)

    def _later(self, seconds: float, what: Any, *args: Any) -> None:
        self.loop.call_later(seconds, what, *args, context=WORLD)

    def _do(self, deed: Deed) -> None:
        run = self.server.find("workflowruns", "shop", "r1")
        if run is None:
            return
        match deed.what:
            case "cancel" | "keep":
                self._edit(run, spec={"cancel": {"reason": "a whim", "compensate": deed.what == "cancel"}})
            case "suspend":
                self._edit(run, spec={"suspend": True})
                self._later(deed.lasts, self._resume)
            case "delete" | "foreground" | "orphan":
                how = {"delete": "Background", "foreground": "Foreground", "orphan": "Orphan"}[deed.what]
                self.server.delete("workflowruns", "shop", "r1", propagation=how)
            case "stop" | "undo-step":
                self._ask_of_a_step(run, compensate=deed.what == "undo-step")
            case "steal-job":
                self._steal_job()
            case "steal-unseen":
                self.wire.interrupt("jobs")
                self._steal_job()
                self.server.forget_history("jobs")
            case "kill-pod":
                self._kill_pod()
            case "tamper":
                self._tamper(run)
            case "squat":
                self._squat(run)

    def _edit(self, run: Object, **parts: Object) -> None:
        self.server.update("workflowruns", {**run, **{part: {**run[part], **change} for part, change in parts.items()}})

    def _resume(self) -> None:
        run = self.server.find("workflowruns", "shop", "r1")
        if run is not None:
            self._edit(run, spec={"suspend": False})

    def _ask_of_a_step(self, run: Object, *, compensate: bool) -> None:
        going = [
            step["path"] for step in (run.get("status") or {}).get("steps") or () if not step.get("finishedAt") and step["path"] != "/"
        ]
        if going:
            self._ask(run, going[self.what.dice("which")[0] % len(going)], "Cancel", compensate=compensate)

    def _ask(self, run: Object, path: str, action: str, **more: Any) -> None:
        before = run["spec"].get("requests") or []
        request = {"id": f"q{len(before)}", "step": path, "action": action, **more}
        self._edit(run, spec={"requests": [*before, request]})

    def _steal_job(self) -> None:
        """Somebody deletes a Job that goes on."""
        for work in self.cluster.going():
            try:
                self.server.delete("jobs", "shop", work.name, uid=work.uid, propagation="Background")
            except Refused:
                continue
            return

    def _kill_pod(self) -> None:
        for work in self.cluster.going():
            if self.server.find("pods", "shop", work.pod) is not None:
                self.server.delete("pods", "shop", work.pod)
                return

    def _tamper(self, run: Object) -> None:
        """Somebody writes into a status by hand."""
        status = run.get("status") or {}
        if not status.get("steps") or status.get("finishedAt"):
            return
        steps = [{**step, "phase": "Succeeded"} for step in status["steps"]]
        self.promises.looks_away = True
        self.server.update("workflowruns", {**run, "status": {**status, "steps": steps}})
        self.promises.looks_away = False

    def _squat(self, run: Object) -> None:
        """Somebody makes a Job of the name that the first attempt of a step needs."""
        uid = run["metadata"]["uid"]
        for path in ("s0", "s1", "s2", "s0:compensate", "s1:compensate"):
            name = names.job_name(run["metadata"]["name"], uid, path, 1)
            if self.server.find("jobs", "shop", name) is None:
                owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "somebody", "controller": True}
                meta = {"name": name, "labels": {names.LABEL_RUN: uid}, "ownerReferences": [owner]}
                self.server.create("jobs", "shop", {"metadata": meta, "spec": {"template": {"metadata": {"labels": {}}, "spec": {}}}})
                done = {"conditions": [{"type": "Complete", "status": "True"}]}
                self.server.patch("jobs", "shop", name, {"status": done}, "merge", "status")

    # ----------------------------------------------------------------------------------------------------- who is called

    def _look(self) -> None:
        """Somebody comes for the runs that wait for a person, as long as there are any."""
        self._later(PATIENCE, self._look)
        for run in self.server.all("workflowruns"):
            status = run.get("status") or {}
            if status.get("finishedAt") and not run["metadata"].get("finalizers"):
                continue
            waiting = [step["path"] for step in status.get("steps") or () if step["phase"] == "Paused"]
            if waiting:
                self._answer(run, waiting[0])

    def _answer(self, run: Object, path: str) -> None:
        name = run["metadata"]["name"]
        count = self.asked[name] = self.asked.get(name, -1) + 1
        what = self.what.stalled[count % len(self.what.stalled)] if count < MOST_ANSWERS else "release"
        if what == "release":
            notes = run["metadata"].get("annotations") or {}
            cancel = {} if run["status"].get("finishedAt") else {"cancel": run["spec"].get("cancel") or {"reason": "given up"}}
            self._edit(run, metadata={"annotations": {**notes, names.ANNOTATION_RELEASE: "true"}}, spec=cancel)
        else:
            self._ask(run, path, {"retry": "Retry", "skip": "Skip", "give-up": "GiveUp"}[what], reason="asked")
