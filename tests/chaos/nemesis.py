"""Carries out a plan: each fault at its time, each heal at its time, and what it really did written down."""

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from flashsale.stack.errors import StackError
from flashsale.stack.servers import Server, Valkey
from tests.chaos import poison, wreck
from tests.chaos.cluster import Cluster, children_of
from tests.chaos.plan import BROKER, GATE, LINK_KINDS, POSTGRESQL, SERVERS, Fault, Plan
from tests.chaos.rows import Loss

_START_S = 20.0


class Nemesis:
    """``log``: what was done, a line each. ``losses``: of the gate's disk. ``poison``: orders that were spoilt."""

    def __init__(self, cluster: Cluster, log: Path) -> None:
        self._cluster = cluster
        self._log = log
        self._stopped: dict[Fault, list[psutil.Process]] = {}
        self._started_at = time.monotonic()
        self.count = 0
        self.losses: list[Loss] = []
        self.poison: list[str] = []

    def run(self, plan: Plan) -> None:
        """All of the plan, in real time; everything is healed when it returns."""
        self._started_at = time.monotonic()
        steps = [(fault.at, self.inject, fault) for fault in plan.faults]
        steps += [(fault.heals_at, self.heal, fault) for fault in plan.faults]
        try:
            for at, act, fault in sorted(steps, key=lambda step: step[0]):
                time.sleep(max(0.0, self._started_at + at - time.monotonic()))
                act(fault)
            time.sleep(max(0.0, self._started_at + plan.seconds - time.monotonic()))
        finally:
            self.heal_all()

    def inject(self, fault: Fault) -> None:
        """Do it now."""
        self.count += 1
        ways: dict[str, Callable[[Fault], str]] = {
            "kill": self._kill,
            "pause": self._pause,
            "crash": self._crash,
            "outage": self._crash,
            "restart": self._restart,
            "lose": self._lose,
            "lose-gate": self._lose_gate,
            "fill": self._fill,
            "poison": self._poison,
            "read-only": self._make_read_only,
            "no-memory": self._take_memory,
            "lose-key": self._lose_key,
        }
        self._note(fault, ways.get(fault.kind, self._spoil)(fault))

    def heal(self, fault: Fault) -> None:
        """Undo it. May run twice."""
        if fault.kind == "pause":
            for process in self._stopped.pop(fault, []):
                _tell(process, "resume")
        elif fault.kind in ("crash", "outage", "restart", "lose", "lose-gate"):
            self._start(fault.target)
        elif fault.kind == "fill":
            self._cluster.disks[fault.target].empty()
            self._start(fault.target)
        elif fault.kind == "read-only":
            wreck.set_read_only(self._cluster.servers[POSTGRESQL], on=False)
        elif fault.kind == "no-memory":
            wreck.set_memory(self._cluster.servers[fault.target], 0)
        elif fault.kind in LINK_KINDS:
            self._cluster.network.call(self._cluster.network.links[fault.target].heal)
        if fault.seconds:
            self._note(fault, "healed")

    def heal_all(self) -> None:
        """Whatever was planned or done: disks empty, networks fair, servers up, processes running."""
        for fault in list(self._stopped):
            for process in self._stopped.pop(fault):
                _tell(process, "resume")
        for disk in self._cluster.disks.values():
            disk.empty()
        for link in self._cluster.network.links.values():
            self._cluster.network.call(link.heal)
        for name in SERVERS:
            self._start(name)
        wreck.set_read_only(self._cluster.servers[POSTGRESQL], on=False)
        for name in (GATE, BROKER):
            wreck.set_memory(self._cluster.servers[name], 0)

    def _note(self, fault: Fault, what: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            seconds = time.monotonic() - self._started_at
            log.write(f"{time.time():.3f} {seconds:7.2f} s  {fault.kind:<10}{fault.target:<17}{what}\n")

    def _kill(self, fault: Fault) -> str:
        process = self._cluster.find(fault.target, fault.pick)
        if process is None:
            return "is down already"
        _tell(process, "kill")
        return f"killed {process.pid}"

    def _pause(self, fault: Fault) -> str:
        process = self._cluster.find(fault.target, fault.pick)
        if process is None:
            return "is down already"
        whole = [process, *children_of(process)] if fault.target == POSTGRESQL and fault.pick % 2 else [process]
        self._stopped[fault] = whole
        for each in whole:
            _tell(each, "suspend")
        return f"stopped {', '.join(str(each.pid) for each in whole)}"

    def _crash(self, fault: Fault) -> str:
        server = self._cluster.servers[fault.target]
        server.kill()
        return "killed"

    def _restart(self, fault: Fault) -> str:
        self._cluster.servers[fault.target].stop()
        return "stopped"

    def _lose(self, fault: Fault) -> str:
        server = self._cluster.servers[fault.target]
        server.kill()
        self._delete(server)
        return "killed, data deleted"

    def _lose_gate(self, fault: Fault) -> str:
        server = self._cluster.servers[fault.target]
        assert isinstance(server, Valkey)
        server.kill()
        died_at = time.time()
        self.losses.append(Loss(died_at, wreck.waiting_orders(server, self._cluster.folder / f"wreck-{self.count}")))
        self._delete(server)
        return f"killed, data deleted, {len(self.losses[-1].waiting)} orders waited"

    @staticmethod
    def _delete(server: Server) -> None:
        for path in (server.folder / server.name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _fill(self, fault: Fault) -> str:
        self._cluster.disks[fault.target].fill()
        return "no byte free"

    def _poison(self, fault: Fault) -> str:
        way = poison.WAYS[fault.pick % len(poison.WAYS)]
        order = poison.spoil_one(self._cluster.addresses["REDIS_URL"], way)
        if order is None:
            return "nobody waited"
        self.poison.append(order)
        return f"order {order}: {way}"

    def _make_read_only(self, fault: Fault) -> str:
        wreck.set_read_only(self._cluster.servers[fault.target], on=True)
        return "default_transaction_read_only = on"

    def _take_memory(self, fault: Fault) -> str:
        wreck.set_memory(self._cluster.servers[fault.target], 1)
        return "maxmemory = 1"

    def _lose_key(self, fault: Fault) -> str:
        return wreck.lose_key(self._cluster.servers[fault.target], fault.pick) or "there was none"

    def _spoil(self, fault: Fault) -> str:
        link, call = self._cluster.network.links[fault.target], self._cluster.network.call
        if fault.kind == "slow":
            call(link.slow, fault.amount / 1000, fault.amount / 2000)
        elif fault.kind == "thin":
            call(link.thin, fault.amount * 1024)
        else:
            ways = {"cut": link.cut, "deaf": link.lose_replies, "half-open": link.half_open, "reset": link.reset}
            call(ways[fault.kind])
        return f"{link.connections} connections"

    def _start(self, name: str) -> None:
        """Start a server that is down; PostgreSQL may have to wait for what is left of its last life."""
        server = self._cluster.servers[name]
        if server.process is not None and server.process.poll() is None:
            return
        deadline = time.monotonic() + _START_S
        while True:
            try:
                server.start()
                return
            except StackError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def _tell(process: psutil.Process, verb: str) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        getattr(process, verb)()
