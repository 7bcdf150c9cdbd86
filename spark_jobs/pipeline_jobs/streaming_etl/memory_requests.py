"""The network transform of the in-memory studies: HTTP requests to a server on loopback, one per record.

The server is a process of its own (`python -m pipeline_jobs.streaming_etl.memory_requests`). A request takes SERVICE_S
there, and CAPACITY of them are served at once; the others wait. It ends when its standard input does, so that it never
outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import numpy as np
from aiohttp import web

from pipeline_jobs.contract import InfrastructureError

SERVICE_S = 0.001
CAPACITY = 64
Number = TypeVar("Number", int, np.ndarray)


def answer_to(number: Number) -> Number:
    """What the server says to a record's number."""
    return number * 7 % 1000


class RequestClient:
    """One worker's connections: as many requests in flight as `concurrency`. To be used in one thread."""

    def __init__(self, address: str, concurrency: int) -> None:
        self._address, self._concurrency = address, concurrency
        self._loop = asyncio.new_event_loop()
        self._session = self._loop.run_until_complete(_opened(concurrency))

    def answers(self, numbers: np.ndarray) -> np.ndarray:
        """The answer to each number. Raises InfrastructureError where the server does not give one."""
        try:
            return self._loop.run_until_complete(self._all(numbers))
        except (aiohttp.ClientError, OSError) as error:
            raise InfrastructureError(f"the server of the network transform does not answer: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._loop.run_until_complete(self._session.close())
        self._loop.close()

    async def _all(self, numbers: np.ndarray) -> np.ndarray:
        found = np.zeros(len(numbers), np.int64)
        waiting = iter(enumerate(numbers.tolist()))

        async def ask_one_after_the_other() -> None:
            for place, number in waiting:
                async with self._session.get(f"{self._address}/{number}") as response:
                    found[place] = int(await response.text())

        await asyncio.gather(*(ask_one_after_the_other() for _ in range(min(self._concurrency, len(numbers)))))
        return found


async def _opened(concurrency: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency), raise_for_status=True)


@contextmanager
def request_server() -> Iterator[str]:
    """A server of its own process; gives its address. Raises InfrastructureError where it does not start."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline_jobs.streaming_etl.memory_requests"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise InfrastructureError(f"the server of the network transform ended with {process.wait()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()


async def _serve() -> None:
    free = asyncio.Semaphore(CAPACITY)

    async def answer(request: web.Request) -> web.Response:
        async with free:
            await asyncio.sleep(SERVICE_S)
        return web.Response(text=str(answer_to(int(request.match_info["number"]))))

    app = web.Application()
    app.router.add_get("/{number}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve())
