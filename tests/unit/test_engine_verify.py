import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from streams.engine.verify import VerifyPool


def run(body: Callable[[VerifyPool], Awaitable[None]], threads: int = 1) -> None:
    async def go() -> None:
        pool = VerifyPool(threads)
        try:
            await body(pool)
        finally:
            pool.close()

    asyncio.run(go())


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_order(threads: int) -> None:
    async def body(pool: VerifyPool) -> None:
        futures = [pool.submit(lambda n: n * n, range(first, first + 10), urgency=0) for first in range(0, 100, 10)]
        results = [number for future in futures for number in await future]
        assert results == [n * n for n in range(100)]

    run(body, threads)


def test_work_is_done_in_threads_but_a_handful_is_not() -> None:
    async def body(pool: VerifyPool) -> None:
        def name(_: object) -> str:
            return threading.current_thread().name

        assert set(await pool.submit(name, range(10), urgency=0)) == {"verify-0"}
        assert set(await pool.submit(name, range(2), urgency=0)) == {"MainThread"}

    run(body)


def test_urgent_work_overtakes() -> None:
    done: list[str] = []
    all_submitted = threading.Event()

    async def body(pool: VerifyPool) -> None:
        first = pool.submit(lambda _: all_submitted.wait(), range(10), urgency=2)
        orders = [pool.submit(done.append, ["order"] * 10, urgency=2) for _ in range(3)]
        command = pool.submit(done.append, ["command"] * 10, urgency=0)
        all_submitted.set()
        await asyncio.gather(first, command, *orders)

    run(body)
    assert done == ["command"] * 10 + ["order"] * 30


@pytest.mark.parametrize("records", [1, 10])
def test_an_error_comes_out_of_the_future(records: int) -> None:
    async def body(pool: VerifyPool) -> None:
        def work(_: object) -> None:
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await pool.submit(work, range(records), urgency=0)

    run(body)


def test_cancelled_work_is_not_begun() -> None:
    done: list[int] = []
    all_submitted = threading.Event()

    async def body(pool: VerifyPool) -> None:
        first = pool.submit(lambda _: all_submitted.wait(), range(10), urgency=0)
        pool.submit(done.append, range(10), urgency=0).cancel()
        all_submitted.set()
        await first
        await pool.submit(lambda _: None, range(10), urgency=0)

    run(body)
    assert done == []
