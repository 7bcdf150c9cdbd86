"""Nights of a tuned task while its process, Airflow's scheduler and PostgreSQL are killed at random."""

from __future__ import annotations

import random
import threading

import pytest
import yaml
from tests.real_airflow import running_airflow
from tuned_nights import PAIR, PAIR_TASK, QUICK_DETECTION, Killer, Nights, assert_whole, nightly_dag, tries

NIGHTS = 30
KILLS = 24


@pytest.mark.soak
def test_thirty_nights_with_kills_lose_and_double_none(own_postgres, tmp_path):
    for name in ("studies", "dags"):
        (tmp_path / name).mkdir()
    said, dice, ended = tmp_path / "said.txt", random.Random(5), threading.Event()
    (tmp_path / "studies" / "pair.yaml").write_text(yaml.safe_dump(PAIR), encoding="utf-8")
    dag = nightly_dag("nightly", NIGHTS, PAIR_TASK.format(said=said, work="sleep 2"), retries=9)
    (tmp_path / "dags" / "nightly.py").write_text(dag, encoding="utf-8")
    with running_airflow(tmp_path, own_postgres, **QUICK_DETECTION) as real:
        real.token = real.rest("/auth/token")["access_token"]
        nights, killer = Nights(real, "nightly"), Killer(real, own_postgres)
        while len(killer.killed) < KILLS and nights.ended() < NIGHTS:
            # At a moment of a run that is going on: wherever in it chance has it.
            begun = len(tries(said))
            real.until(lambda at=begun: killer.revive() or len(tries(said)) > at or nights.ended() == NIGHTS)
            ended.wait(dice.uniform(0, 3))
            killer.kill(dice.choice(["task", "task", "scheduler", "database"]))
            killer.revive()
        real.until(lambda: killer.revive() or nights.ended() == NIGHTS, patience_s=2000)
        print(
            {kind: killer.killed.count(kind) for kind in ("task", "scheduler", "database")}, len(tries(said)), "lines"
        )
        assert_whole(nights, said, NIGHTS)
