"""What submissions say, checked; and what jobs look like in answers."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.domain.errors import Fault, Invalid, shown
from app.domain.halt import parse_share
from app.domain.job import Options, Priority
from app.service.view import JobView

JOB_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
METADATA_BYTES_MAX = 16 << 10
PARAMS_BYTES_MAX = 64 << 10
MEMBER_BYTES_MAX = {"params": PARAMS_BYTES_MAX, "metadata": METADATA_BYTES_MAX}
"""Of what is sent as such a member of a JSON body."""
DEPTH_MAX = 64
"""Of `params` and `metadata`, which stand in every Job: what is nested deeper, not every parser reads."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHARE = re.compile(r"[0-9]{1,3}(\.[0-9]+)?%")
_SHARE_OR_NUMBER = r"^([0-9]+|[0-9]{1,2}(\.[0-9]+)?%)$"
SECONDS_MAX = 366 * 86400.0


def _without_controls(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("no control characters, please")
    return text


Plain = Annotated[
    str,
    Field(max_length=200, json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f]*$"}),
    AfterValidator(_without_controls),
]
"""Text that people read."""


def _percentage(text: str) -> str:
    try:
        if _SHARE.fullmatch(text):
            parse_share(text)
            return text
    except ValueError:
        pass
    raise ValueError('give a number of items, or a share like "3%"')


def _whole_number_or_percentage(value: int | str) -> int | str:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) else _percentage(value)


def _small(bytes_max: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A check that an object can be kept, and shown in every answer."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        level: list[Any] = [value]
        for _ in range(DEPTH_MAX):
            level = [child for node in level for child in _children(node)]
        if level:
            raise ValueError(f"nested deeper than {DEPTH_MAX}")
        if len(msgspec.json.encode(value)) > bytes_max:
            raise ValueError(f"more than {bytes_max} bytes")
        return value

    return check


def _children(node: Any) -> Iterable[Any]:
    children = node.values() if isinstance(node, dict) else node
    return (child for child in children if isinstance(child, dict | list))


Seconds = Annotated[float, Field(gt=0, le=SECONDS_MAX, allow_inf_nan=False)]
ItemTimeout = Literal["auto"] | Seconds
MaxFailures = Annotated[
    Annotated[int, Field(ge=0)]
    | Annotated[str, Field(max_length=20, json_schema_extra={"pattern": _SHARE_OR_NUMBER})],
    AfterValidator(_whole_number_or_percentage),
]
MaxInFlight = Annotated[int, Field(ge=1)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small(METADATA_BYTES_MAX))]
M = TypeVar("M", bound=BaseModel)


def parsed(model: type[M], values: Mapping[str, Any], *, of_query: bool) -> M:
    """What the values say, or Invalid naming each that is wrong and what would be right.

    Those of a query string are texts; in JSON a number is a number, and `true` or "1" is none.
    """
    try:
        return model.model_validate(values, strict=not of_query)
    except ValidationError as error:
        faults = list(_faults(error, model, of_query=of_query))
    told = "; ".join(f"{fault.pointer or fault.parameter}: {fault.detail}" for fault in faults[:3])
    raise Invalid(f"Not valid: {told}.", faults)


class SubmitOptions(BaseModel):
    """Everything a submission may say besides its items."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(max_length=200, description="name of the task that runs each item")
    params: Annotated[
        dict[str, Any],
        AfterValidator(_small(PARAMS_BYTES_MAX)),
        Field(description="keyword arguments common to all items; an item's own win; at most 64 KiB"),
    ] = {}  # pydantic copies a default
    open: bool = Field(False, description="whether more items will come, until the job is sealed")
    chunksize: Literal["auto"] | Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        "auto", description="how many items travel to a worker together; no outcome depends on it"
    )
    priority: Priority = Field("normal", description="the weight of the job among others")
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="how often an item is tried, the first time included; default: the task's"
    )
    item_timeout_seconds: ItemTimeout | None = Field(
        None, description="how long an item may take; `auto` learns it; default: the task's"
    )
    job_timeout_seconds: Seconds | None = Field(
        None, description="how long after its submission the job is ended"
    )
    max_failures: MaxFailures | None = Field(
        None, description='how many items, or which share like "3%", may fail before the job is ended'
    )
    max_in_flight: MaxInFlight | None = Field(None, description="how many items may be with workers at once")
    retention_seconds: Seconds | None = Field(
        None, description="how long the job is kept after its end; default: the service's"
    )
    failure_retention_seconds: Seconds | None = Field(
        None, description="how long it is kept if items failed or it was ended early, if that is longer"
    )
    key_field: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="the member of an item that its result is to name as `key`"
    )
    label: Plain | None = Field(None, description="a name for people")
    metadata: Metadata | None = Field(None, description="an object that is kept with the job, at most 16 KiB")

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, of_query: bool) -> "SubmitOptions":
        """The options, or Invalid naming each that is wrong and what would be right."""
        return parsed(cls, values, of_query=of_query)

    def options(
        self, task: Mapping[str, Any], retention_seconds: float, failure_retention_seconds: float | None
    ) -> Options:
        """The job's options, with the task's and the service's defaults filled in."""
        defaults = task["defaults"]
        return Options(
            chunksize=self.chunksize,
            priority=self.priority,
            max_attempts=self.max_attempts or defaults["max_attempts"],
            item_timeout_seconds=self.item_timeout_seconds or defaults["item_timeout_seconds"],
            job_timeout_seconds=self.job_timeout_seconds,
            max_failures=self.max_failures,
            max_in_flight=self.max_in_flight,
            retention_seconds=self.retention_seconds or retention_seconds,
            failure_retention_seconds=self.failure_retention_seconds or failure_retention_seconds,
            key_field=self.key_field,
        )


_NOT_YET = {
    "webhook": "webhooks are not there yet; follow /v1/jobs/{id}/events, or ask with Prefer: wait=60",
}


def _faults(error: ValidationError, model: type[BaseModel], *, of_query: bool) -> Iterable[Fault]:
    details: dict[str, str] = {}
    for entry in error.errors(include_url=False, include_input=False, include_context=False):
        name = shown(str(entry["loc"][0])) if entry["loc"] else ""
        detail = entry["msg"].removeprefix("Value error, ")
        if entry["type"] == "extra_forbidden":
            detail = _NOT_YET.get(name) or f"no such option; there are {', '.join(model.model_fields)}"
        if name in details:  # the branches of a union complain one by one
            detail = f"{details[name]}, or {detail.removeprefix('Input should be ')}"
        details[name] = detail
    for name, detail in details.items():
        yield Fault(detail, parameter=name) if of_query else Fault(detail, pointer=f"/{name}")


def job_document(view: JobView, results: bytes | None = None) -> dict[str, Any]:
    """The Job of an answer; `results` are result lines."""
    job = view.job
    self_link = f"/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "task": job.task,
        "status": job.status,
        "counts": counts_document(view),
        "progress": progress(view),
        "items_per_second": _rounded(view.items_per_second),
        "eta_seconds": _rounded(view.eta_seconds),
        "queue_position": view.queue_position,
        "error_groups": job.error_groups,
        "error": job.error,
        "results": None if results is None else array_of_lines(results),
        "sealed": job.sealed,
        "params": job.params,
        "options": job.options,
        "label": job.label,
        "submitted_by": job.submitted_by,
        "retry_of": job.retry_of,
        "metadata": job.metadata,
        "created_at": stamp(job.created_at),
        "started_at": stamp(job.started_at),
        "ended_at": stamp(job.ended_at),
        "cancel_requested_at": stamp(job.cancel_requested_at),
        "expires_at": stamp(job.expires_at),
        "links": {
            "self": self_link,
            "inputs": f"{self_link}/inputs.jsonl",
            "results": f"{self_link}/results.jsonl",
            "failures": f"{self_link}/results.jsonl?status=failed",
            "events": f"{self_link}/events" + (f"?ticket={view.ticket}" if view.ticket else ""),
            "cancel": f"{self_link}/cancel",
            "pause": f"{self_link}/pause",
            "resume": f"{self_link}/resume",
            "retry": f"{self_link}/retry",
            **({} if job.sealed else {name: f"{self_link}/{name}" for name in ("items", "seal")}),
        },
    }


def counts_document(view: JobView) -> dict[str, int]:
    counts = view.counts
    return {
        "total": counts.total,
        "queued": counts.queued,
        "running": counts.running,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
    }


def progress(view: JobView) -> float:
    """The share of items that have an end, rounded down to a thousandth."""
    counts = view.counts
    return (
        (counts.done + counts.cancelled) * 1000 // counts.total / 1000
        if counts.total
        else float(view.job.sealed)
    )


def array_of_lines(lines: bytes) -> msgspec.Raw:
    """Result lines as a JSON array, the same bytes."""
    return msgspec.Raw(b"[" + lines.rstrip(b"\n").replace(b"\n", b",") + b"]")


def stamp(time: datetime | None) -> str | None:
    """RFC 3339, in UTC, to the millisecond."""
    return None if time is None else time.isoformat("T", "milliseconds")[: -len("+00:00")] + "Z"


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)
