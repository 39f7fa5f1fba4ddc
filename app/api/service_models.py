"""What answers about the service look like: its tasks, pools, files and callers.  See `models`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.models import ABSENT, Count, Described, Job, SelfLink
from app.domain.caller import Role


class TaskDefaults(Described):
    """What holds for a job that does not say otherwise."""

    item_timeout_seconds: float | None
    max_attempts: int
    backoff_seconds: float


class TaskLimits(Described):
    """What holds for all items of a task together."""

    max_concurrency: int | None
    rate_limit: str | None = Field(examples=["10/s"])
    starts_per_second: float | None


class Task(Described):
    """A Python function that runs items."""

    name: str
    description: str
    pool: str
    concurrency: int = Field(description="how many of its items run side by side in one worker")
    file_parameter: str | None = Field(description="the parameter that an uploaded file becomes")
    defaults: TaskDefaults
    limits: TaskLimits
    item_schema: dict[str, Any] = Field(description="JSON Schema of one item")
    params_schema: dict[str, Any] = Field(description="JSON Schema of `params`")
    output_schema: dict[str, Any] = Field(description="JSON Schema of an output")
    curl: str = Field(description="a line to type")
    links: SelfLink


class TaskList(Described):
    tasks: list[Task]


class Worker(Described):
    """A worker process."""

    id: int
    pid: int | None
    state: Literal["starting", "idle", "busy", "leaving"]
    task: str | None
    item: int | None
    chunk_id: int | None
    items_done: Count
    item_seconds: float | None = Field(description="since the item was seen to run")


class Pool(Described):
    """Workers under one name."""

    processes: int
    paused: bool
    restarts: Count
    workers: list[Worker]


class Pools(Described):
    pools: dict[str, Pool]


class ChangedJobs(Described):
    """The data of a `jobs` event: jobs that changed since the last one."""

    jobs: list[Job] = Field(max_length=100)
    removed: list[str] = Field(description="ids of jobs that were deleted")
    more: int = Field(description="how many other jobs changed")
    reset: bool = Field(
        description="whether these are the newest jobs, and what was known before counts no more"
    )


class Caller(Described):
    """Who sent the request."""

    name: str | None
    role: Role
    auth: Literal["none", "keys"]
    expires_at: datetime = Field(ABSENT, description="when the session that was begun ends")


class StoredFile(Described):
    """A file that items can name."""

    file: str = Field(pattern=r"^sha256-[0-9a-f]{64}$")
    name: str | None
    size_bytes: Count
    media_type: str
    links: SelfLink


class FileUpload(Described):
    """One file."""

    file: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]


class FileForm(Described):
    """A job's files, one item each; options may be fields of the form or parameters of the address."""

    file: list[Annotated[bytes, Field(json_schema_extra={"format": "binary"})]]
