"""kill -9 of the server, twenty times while twenty people take part: whatever was acknowledged is stored, once, and all finish."""

import asyncio
import random
import secrets

from chaos import PEOPLE, answers_flow, at_work_while, free_port, realism_server
from commands import call

KILLS = 20
TRIALS = 8
UP_S = 0.4  # killed within this time after it came back


def test_killing_the_server_twenty_times_loses_no_acknowledged_answer(workshop, tmp_path):
    """On PostgreSQL most kills hit the workers only, which the master replaces."""
    workshop.create_study(trials={"practice": 0, "main": TRIALS}, question="real")
    on_postgresql = workshop.engine.dialect.name == "postgresql"
    server = realism_server(workshop.config.database, workshop.config.instance, free_port(), "--workers", "2")
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def kill_again_and_again(crowd):
        for kill in range(KILLS):
            if kill % 2:  # while answers come; else while it starts, and while people consent
                await answers_flow(crowd, chance.randint(1, 2 * PEOPLE))
            await asyncio.sleep(chance.uniform(0, UP_S))
            if on_postgresql and kill % 4 != 1:
                await asyncio.to_thread(server.kill_workers)
            else:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)

    server.start()
    try:
        crowd = at_work_while(kill_again_and_again, [server.port])
    finally:
        server.kill()
    crowd.lost_nothing(workshop.engine, TRIALS)
    assert len(crowd.traffic.failures) >= KILLS, "hardly anybody noticed"
    checked = call("db", "check", "--database", workshop.config.database, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
