"""Long fault runs: processes of a sweep are killed at random moments, and the sweep still ends with an answer."""

from __future__ import annotations

import os
import random
import signal
import threading

import psutil
import pytest

from pipeline_tuner.store import Store


class Killer(threading.Thread):
    """Kills one process of a running job (the job itself or its guard) every now and then, `times` in all."""

    def __init__(self, times: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.times = times
        self.killed = 0
        self.ended = threading.Event()
        self.random = random.Random(seed)

    def run(self):
        while self.killed < self.times and not self.ended.wait(self.random.uniform(0.2, 1.5)):
            victims = [p for p in psutil.Process().children(recursive=True) if "compress.py" in " ".join(command(p))]
            if victims:
                os.kill(self.random.choice(victims).pid, signal.SIGKILL)
                self.killed += 1


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def disturbed_sweep(run_dag, name, url, killer, conf):
    from pipeline_tuner.dag_factory import tuning_dag

    killer.start()
    dag_run = run_dag(tuning_dag(name), conf)
    killer.ended.set()
    killer.join()
    with Store(url) as store, store.transaction() as connection:
        sweep_id = connection.exec_driver_sql("SELECT sweep_id FROM pipeline_tuner.sweep").scalar_one()
        rows = connection.exec_driver_sql("SELECT status, failure, metrics FROM pipeline_tuner.trial").all()
    with Store(url) as store:
        return dag_run, store.sweep(sweep_id), rows


def check(dag_run, sweep, rows, killed):
    assert killed > 0
    assert {row.status for row in rows} <= {"measured", "failed"}
    assert all((row.status == "measured") == bool(row.metrics) for row in rows)
    assert {row.failure for row in rows if row.status == "failed"} <= {"infrastructure", "lost"}
    # The size of a compressed text does not vary: a half-written or doubled measurement would.
    assert len({row.metrics["bytes"] for row in rows if row.metrics}) <= 2
    if dag_run.state == "success":
        assert sweep.status in ("recommended", "undecided")
    else:
        assert sweep.reason


@pytest.fixture
def many_retries(monkeypatch):
    from pipeline_tuner import dag_factory

    monkeypatch.setitem(dag_factory.RETRIES, "retries", 6)


def test_a_sweep_survives_three_kills(run_dag, compress, results, many_retries):
    killer = Killer(3, seed=1)
    outcome = disturbed_sweep(run_dag, compress(), results, killer, {"repeats": 30})
    check(*outcome, killer.killed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_sweeps_survive_twenty_kills(run_dag, compress, results, many_retries, seed):
    killer = Killer(20, seed=seed)
    outcome = disturbed_sweep(run_dag, compress(), results, killer, {"repeats": 60})
    check(*outcome, killer.killed)
