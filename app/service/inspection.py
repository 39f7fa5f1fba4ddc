"""What there is to know of one item."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.engine import Engine, WorkerView
from app.domain.errors import NotFound
from app.domain.item import line_at
from app.domain.store import JobStore, Note
from app.service.dispatcher import Dispatcher


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item at one moment; `input` and `result` are JSON lines."""

    index: int
    input: bytes
    status: str
    """`queued`, `running`, `done` or `cancelled`."""
    result: bytes | None
    notes: Sequence[Note]
    progress: tuple[float, str] | None = None
    worker: WorkerView | None = None


class Inspection:
    """Looks at items."""

    def __init__(self, store: JobStore, dispatcher: Dispatcher, engine: Engine) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._engine = engine

    async def item(self, job_id: str, index: int) -> ItemView:
        """The item as it is now.  NotFound if the job has no such item."""
        block = await self._store.read_block(job_id, index)
        if block is None:
            raise NotFound(f"Job {job_id!r} has no item {index}.")
        live = self._dispatcher.live.get(job_id)
        if live is not None:
            self._dispatcher.looked_at(live)
        line = line_at(block.lines, index - block.first)
        result = await self._store.read_result(job_id, index)
        notes = await self._store.notes(job_id, index)
        if result is not None:
            return ItemView(index, line, "done", result, notes)
        if live is None or live.job.status.finished:
            # It may have got its result while we looked.
            result = await self._store.read_result(job_id, index)
            return ItemView(index, line, "cancelled" if result is None else "done", result, notes)
        holder = next((chunk for chunk in live.chunks.values() if index in chunk), None)
        if holder is None:
            return ItemView(index, line, "queued" if live.halt is None else "cancelled", None, notes)
        views = (view for pool in self._engine.pools() for view in self._engine.workers(pool))
        worker = next((view for view in views if view.chunk_id == holder.id), None)
        return ItemView(index, line, "running", None, notes, live.progress.get(index), worker)
