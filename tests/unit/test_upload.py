"""Items on their way in, over a store that is as slow, or as full, as a test has it."""

import asyncio
from collections.abc import Sequence

import pytest

from app.domain.clock import SystemClock
from app.domain.errors import StorageFull
from app.domain.item import Block
from app.service.quotas import Quotas
from app.service.tally import Tallies
from app.service.upload import BATCH_BYTES, Upload
from app.stores.memory import MemoryStore
from tests.builders import a_job

BATCH = b"1" * BATCH_BYTES + b"\n"


class SlowStore(MemoryStore):
    """Stores blocks once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.full = False

    async def add_blocks(self, upload: str, blocks: Sequence[Block], files: Sequence[str] = ()) -> None:
        await self.may.wait()
        if self.full:
            raise StorageFull("The disk is full.")
        await super().add_blocks(upload, blocks, files)


async def an_upload(store: MemoryStore) -> Upload:
    async def check_files(_: Sequence[str]) -> None: ...

    async with Quotas(store, Tallies(), SystemClock()).job() as taking:
        return Upload("up", store, taking, check_files)


def test_items_are_stored_while_more_come() -> None:
    """A batch does not wait until the one before it is stored; the batch after that does, so that memory is bounded."""

    async def act() -> None:
        store = SlowStore()
        upload = await an_upload(store)
        await upload.add([Block(0, 1, BATCH)])
        second = asyncio.ensure_future(upload.add([Block(1, 1, BATCH)]))
        await asyncio.wait([second], timeout=0)
        assert not second.done()
        store.may.set()
        await second
        await upload.add([Block(2, 1, b"2\n")])
        assert await upload.commit(a_job(total=3)) == ()
        blocks = [await store.read_block("j", index) for index in range(3)]
        assert blocks == [Block(0, 1, BATCH), Block(1, 1, BATCH), Block(2, 1, b"2\n")]

    asyncio.run(act())


def test_a_small_upload_is_stored_with_its_job() -> None:
    """At once, and its items are at hand: so to send few as JSON lines costs no more than as a document."""

    async def act() -> None:
        store = SlowStore()  # which stores no batch yet
        upload = await an_upload(store)
        few = [Block(0, 2, b"1\n2\n"), Block(2, 1, b"3\n")]
        for block in few:
            await upload.add([block])
        assert await upload.commit(a_job(total=3)) == few
        assert not upload.begun
        assert await store.read_block("j", 2) == few[1]

    asyncio.run(act())


def test_a_batch_that_has_just_begun_is_part_of_the_job() -> None:
    """Nothing of it is in the store yet, and yet it is no small one."""

    async def act() -> None:
        store = SlowStore()
        store.may.set()
        upload = await an_upload(store)
        await upload.add([Block(0, 1, BATCH)])
        assert upload.begun
        assert await upload.commit(a_job(total=1)) == ()
        assert not upload.begun
        assert (await store.read_block("j", 0), store.uploads()) == (Block(0, 1, BATCH), [])

    asyncio.run(act())


def test_a_batch_that_cannot_be_stored_is_told_with_a_later_one() -> None:
    """What went wrong is raised by the next call, and again by each after it: such an upload is never complete."""

    async def act() -> None:
        store = SlowStore()
        store.full = True
        upload = await an_upload(store)
        await upload.add([Block(0, 1, BATCH)])
        store.may.set()
        with pytest.raises(StorageFull):
            await upload.add([Block(1, 1, BATCH)])
        with pytest.raises(StorageFull):
            await upload.commit(a_job(total=2))
        await upload.discard()

    asyncio.run(act())


def test_what_is_being_stored_of_an_upload_that_is_given_up_is_not_left_behind() -> None:
    """Nothing is stored of it later, when nobody would discard that any more."""

    async def act() -> None:
        store = SlowStore()
        upload = await an_upload(store)
        await upload.add([Block(0, 1, BATCH)])
        await upload.discard()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(act())
