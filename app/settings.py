"""Every setting, from `MILLPOND_…` environment variables, checked at start."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.domain.guess import closest

PREFIX = "MILLPOND_"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
REMEDIES = (
    "set MILLPOND_API_KEYS_FILE and make keys with `python -m app key add NAME --role submit`,"
    " or set MILLPOND_AUTH=none if everybody who reaches it may use it"
)


def _comma_separated(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


class Settings(BaseModel):
    """Where Millpond listens, what it keeps where, and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(
        8000, ge=0, le=65535, description="port to listen on; 0 takes a free one, told in the log"
    )
    api_keys_file: Path | None = Field(
        None,
        description="file of API keys, which `python -m app key add` makes; without one there are no keys",
    )
    auth: Literal["keys", "none"] | None = Field(
        None,
        description="`keys`, if there is a file of them, needs a key of every caller; `none` lets everybody who"
        " reaches the service use it",
    )
    session_seconds: float = Field(
        12 * 3600.0, ge=60, le=30 * 86400, description="how long a browser that has signed in stays so"
    )
    data_dir: Path = Field(
        Path("data"), description="directory of the SQLite file, of large payloads and of stored files"
    )
    durability: Literal["process", "power"] = Field(
        "process",
        description="`process`: what was answered survives the death of every process;"
        " `power`: also the loss of power, at the price of a disk flush",
    )
    processes: int | None = Field(
        None, ge=1, le=512, description="workers in the `cpu` pool; default: the CPUs this container may use"
    )
    io_processes: int | None = Field(
        None,
        ge=0,
        le=512,
        description="workers in the `io` pool; default: four for each in `cpu` if a task asks for that pool;"
        " 0: its tasks run in `cpu`",
    )
    max_tasks_per_child: int | None = Field(
        None, ge=1, description="items after which a worker is replaced, between two items"
    )
    max_memory_per_child: int | None = Field(
        None,
        ge=1 << 20,
        description="bytes above what it had at its start after which a worker is replaced, between two items",
    )
    worker_memory_bytes: int | None = Field(
        None,
        ge=32 << 20,
        description="bytes above what it had at its start that a worker is refused, with MemoryError in the task;"
        " default: what the container's limit leaves, if it has one",
    )
    tasks: Annotated[tuple[str, ...], BeforeValidator(_comma_separated)] = Field(
        ("workers.tasks",), min_length=1, description="modules or packages with tasks, comma-separated"
    )
    max_body_bytes: int = Field(
        32 << 20, ge=1024, description="largest JSON body; JSONL has no limit but the disk"
    )
    max_item_bytes: int = Field(8 << 20, ge=1024, description="largest item")
    max_file_bytes: int = Field(1 << 30, ge=1, description="largest uploaded file")
    max_jobs: int = Field(10_000, ge=1, description="unfinished jobs; more are answered 503")
    max_queued_items: int = Field(100_000_000, ge=1, description="waiting items; more are answered 503")
    max_open_items: int = Field(
        1_000_000, ge=1, description="items that may wait in one open job; more are answered 429"
    )
    max_streams: int = Field(
        10_000, ge=1, description="open event streams; more are told to come back in 15 s"
    )
    max_jobs_per_caller: int | None = Field(
        None, ge=1, description="unfinished jobs of one caller; more are answered 429"
    )
    max_queued_items_per_caller: int | None = Field(
        None, ge=1, description="waiting items of one caller; more are answered 429"
    )
    max_stored_bytes_per_caller: int | None = Field(
        None,
        ge=1,
        description="bytes that one caller's items, results and uploaded files may take; more are answered 429",
    )
    retention_seconds: float = Field(
        7 * 86400.0, gt=0, description="how long a finished job is kept, where it does not say so itself"
    )
    failure_retention_seconds: float | None = Field(
        None,
        gt=0,
        description="how long one with failures, or that was ended early, is kept, if that is longer",
    )
    file_retention_seconds: float = Field(
        7 * 86400.0, ge=60, description="how long a file that no job names is kept after it was written"
    )
    tombstone_seconds: float = Field(
        30 * 86400.0, ge=0, description="how long an expired job is answered 410, before it is 404"
    )
    idempotency_seconds: float = Field(
        86400.0, ge=86400, description="how long an `Idempotency-Key` is remembered"
    )
    prune_seconds: float = Field(
        60.0, gt=0, le=86400, description="how often what has expired is looked for and deleted"
    )
    max_disk_bytes: int | None = Field(
        None,
        ge=1 << 20,
        description="what jobs and files may take on disk; above it new ones are answered 507",
    )
    min_free_bytes: int = Field(
        64 << 20,
        ge=0,
        description="what is kept free on the disk for jobs that were accepted, or 5 % of it if that is less;"
        " below it new ones are answered 507",
    )
    drain_seconds: float = Field(10.0, ge=0, description="how long running items may go on after SIGTERM")

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """The settings of these variables; an empty one counts as not there.  ValidationError if one is wrong."""
        said = {name: environment.get(_variable(name)) for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in said.items() if value})

    @property
    def key_file(self) -> Path | None:
        """Where the keys are; None if none are needed."""
        return None if self.auth == "none" else self.api_keys_file

    @model_validator(mode="after")
    def _open_only_when_told(self) -> Self:
        if self.auth == "keys" and self.api_keys_file is None:
            raise ValueError(
                "MILLPOND_AUTH=keys needs them: set MILLPOND_API_KEYS_FILE to the file they are in"
            )
        if self.host not in LOOPBACK and self.auth is None and self.api_keys_file is None:
            raise ValueError(
                f"MILLPOND_HOST={self.host} can be reached from other machines, and there are no API keys;"
                f" {REMEDIES}"
            )
        return self


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """What is wrong with `MILLPOND_…` variables that are no settings: most likely a typing error."""
    known = [name.upper() for name in Settings.model_fields]
    told = []
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in known:
            close = closest(name, known)  # without the prefix, which would make any two of them alike
            hint = f"; did you mean {PREFIX}{close}?" if close else ""
            told.append(f"{variable}: there is no such setting{hint}")
    return told


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"
