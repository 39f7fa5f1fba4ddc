"""A thread that follows another from processor to processor."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.stores.nearness import LONG_SECONDS, Nearness
from app.stores.sqlite import SqliteStore
from tests.builders import a_job

EVERYWHERE = os.sched_getaffinity(0)
NO_PROCESSOR = 100_000


def _in_a_thread(work: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed, failed


def _burn() -> None:
    began = time.thread_time()
    while time.thread_time() - began <= LONG_SECONDS:
        pass


def test_a_thread_works_where_the_other_was_seen() -> None:
    """Wherever that goes; the other itself may run anywhere."""

    def follow() -> None:
        for processor in [*EVERYWHERE, *EVERYWHERE]:
            here[0] = processor
            near.seen()
            with near.working():
                assert os.sched_getaffinity(0) == {processor}

    here = [0]
    near = Nearness(lambda: here[0])
    _in_a_thread(follow)

    assert os.sched_getaffinity(0) == EVERYWHERE


def test_after_long_work_a_thread_may_be_anywhere_until_some_was_short() -> None:
    """What takes long is done beside the other."""

    def follow() -> None:
        near.seen()
        steps: list[tuple[Callable[[], object], set[int]]] = [
            (_burn, {processor}),
            (_burn, EVERYWHERE),
            (int, EVERYWHERE),
            (int, {processor}),
        ]
        for work, may_be in steps:
            with near.working():
                assert os.sched_getaffinity(0) == may_be
                work()

    processor = min(EVERYWHERE)
    near = Nearness(lambda: processor)
    _in_a_thread(follow)


def test_where_it_cannot_be_chosen_work_is_done_all_the_same() -> None:
    """On a system that does not tell, or of a processor that is there no more."""

    def follow() -> None:
        for near in (Nearness(None), Nearness(lambda: NO_PROCESSOR)):
            near.seen()
            with near.working():
                assert os.sched_getaffinity(0) == EVERYWHERE

    _in_a_thread(follow)


def test_the_writer_of_a_store_stays_by_the_loop(tmp_path: Path) -> None:
    """After a short write or two, as the first may have to make what is not there yet."""

    async def write_until_near(store: SqliteStore) -> None:
        [writer] = [thread for thread in threading.enumerate() if thread.name == "store-writer"]
        assert writer.native_id is not None
        for number in range(1_000):
            await store.create_job(a_job(f"j{number}"), [])
            if len(os.sched_getaffinity(writer.native_id)) == 1:
                return
        raise AssertionError("it goes wherever it likes")

    store = SqliteStore(tmp_path / "db.sqlite")
    store.open()
    try:
        asyncio.run(write_until_near(store))
    finally:
        store.close()
