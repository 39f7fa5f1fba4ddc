"""Every type of problem there is: what it means, and what to do.

This table is what problems are made from, what `/problems/{name}` shows, and what docs/api.md lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What `/problems/{code}` stands for; `status` is None for what only stands in a Job's `error`."""

    status: int | None
    means: str
    remedy: str


PROBLEM_TYPES: Mapping[str, ProblemType] = {
    "bad-request": ProblemType(
        400,
        "The request is not one that this service can answer.",
        "Compare it with the API's description at `/docs`.",
    ),
    "malformed": ProblemType(
        400,
        "The request, or its body, cannot be parsed.",
        "`detail` says where it breaks; mend what is sent there.",
    ),
    "unauthorized": ProblemType(
        401,
        "The service does not know who sent this.",
        "Send `Authorization: Bearer KEY`; the operator makes keys with `python -m app key add`.",
    ),
    "forbidden": ProblemType(
        403,
        "The service knows who sent this, and that caller may not do it.",
        "Use a key with the role that `detail` names.",
    ),
    "not-found": ProblemType(
        404,
        "There is no such thing, as far as is known there never was, or it is somebody else's.",
        "Check the address, and the id in it.",
    ),
    "method-not-allowed": ProblemType(
        405,
        "The resource is there, but not for this method.",
        "Use one of those in the `Allow` header.",
    ),
    "conflict": ProblemType(
        409,
        "The request contradicts the state that things are in.",
        "`detail` says which state; look at the resource and decide again.",
    ),
    "gone": ProblemType(
        410,
        "There was such a job, and its retention is over.",
        "Submit it again, with a longer `retention_seconds` if it was needed longer.",
    ),
    "too-large": ProblemType(
        413,
        "A body, an item or a file is larger than this service takes.",
        "Send many items as JSON lines, which have no limit together, and large inputs as files.",
    ),
    "unsupported-media-type": ProblemType(
        415,
        "The body is of a media type, or packed in a way, that is not read here.",
        "Set `Content-Type` to one of those that `detail` names; with curl, use `--json`, `-T` or `-F`.",
    ),
    "range-not-satisfiable": ProblemType(
        416,
        "The bytes that `Range` asks for are not there.",
        "`Content-Range` says how many bytes there are.",
    ),
    "invalid": ProblemType(
        422,
        "The request can be read, but something in it is not right.",
        "`errors` names each place, by `pointer`, `parameter` or `line`, and says what would be right.",
    ),
    "unknown-task": ProblemType(
        422,
        "No task has this name.",
        "`GET /v1/tasks` lists those there are; a module with tasks is loaded by `MILLPOND_TASKS`.",
    ),
    "over-quota": ProblemType(
        429,
        "You have as much here as you may have at once, or sent more than that.",
        "`detail` says which: wait for `Retry-After` seconds, until some jobs have finished, or send less at once.",
    ),
    "head-too-large": ProblemType(
        431,
        "The address and the headers of the request are too long together.",
        "Send what is long in the body.",
    ),
    "internal": ProblemType(
        500,
        "Something went wrong in the service; its log has the traceback.",
        "It may work later; if it does not, the log says why.",
    ),
    "unavailable": ProblemType(
        503,
        "The service starts, stops, or has as much waiting as it takes.",
        "Try again after `Retry-After` seconds.",
    ),
    "storage-unavailable": ProblemType(
        503,
        "The disk or the database fails for now. Nothing of the request was stored.",
        "Try again after `Retry-After` seconds; the operator finds the cause in the service's log.",
    ),
    "storage-full": ProblemType(
        507,
        "The disk is full, or what may be stored is used up. Nothing of the request was stored.",
        "Delete jobs and files that are not needed any more, or give the service more room.",
    ),
    "too-many-failures": ProblemType(
        None,
        "The job was ended, as more of its items failed than its `max_failures` allows.",
        "`GET /v1/jobs/{id}/results.jsonl?status=failed` shows which and why; what succeeded is kept.",
    ),
    "pool-paused": ProblemType(
        None,
        "The job waits, as no item starts in its pool.",
        '`PATCH /v1/pool/{name}` with `{"paused": false}` resumes the pool.',
    ),
    "job-timeout": ProblemType(
        None,
        "The job was ended, as it was not done within its `job_timeout_seconds`.",
        "What is done is kept; submit the rest with more time.",
    ),
}
