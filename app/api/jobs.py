"""Routes of jobs."""

import hashlib
from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from msgspec.structs import replace

from app.api import cursors, models, ranges, service_models
from app.api.context import Context, Ctx
from app.api.job_page import JobPage
from app.api.openapi import Responses, header, lines, option_parameters, problems, reference, returns
from app.api.pieces import Spread, json_answer
from app.api.preferences import Preferences
from app.api.query import FURTHER, Exact
from app.api.schemas import JOB_ID, Plain, job_document
from app.api.streaming import STREAM_HEADERS, Stream
from app.api.streaming import follow as follow_lines
from app.api.submit import submit, validate
from app.domain import store
from app.domain.item import Order, View
from app.domain.job import Status
from app.service.jobs import Accepted
from app.service.view import JobView

router = APIRouter(route_class=Exact, prefix="/v1/jobs", tags=["jobs"])

AFTER_MAX = (1 << 53) - 1
"""The largest whole number that every JSON parser reads exactly (RFC 8259, section 6)."""

JobId = Annotated[str, Path(pattern=f"^{JOB_ID}$", description="the job's id")]
Ordered = Annotated[Order, Query(description="`index`: the order of the items; `completion`: as they end")]
After = Annotated[int, Query(ge=0, le=AFTER_MAX, description="how many lines of this view you have")]
Follow = Annotated[
    Literal["0", "1"], Query(description="1: answer with the results themselves, as they come")
]
ValidateOnly = Annotated[
    Literal["0", "1"],
    Query(description="1: only say whether each item is what the task takes; start nothing"),
]

Force = Annotated[
    Literal["0", "1"], Query(description="1: end running items at once, with their workers, without a grace")
]

INLINE_ITEMS_MAX = 1_000
INLINE_BYTES_MAX = 1 << 20
RETRY_AFTER_SECONDS_MAX = 60


_PREFER = header(
    "Prefer",
    "`wait=N`: answer once the job has finished, or after N seconds, at most 60;"
    " `handling=strict`: take the job only if each item is what the task takes",
)
WAIT = header("Prefer", "`wait=N`: answer once the job has finished, or after N seconds, at most 60")
IDEMPOTENCY_KEY = header(
    "Idempotency-Key", "the same key and content are the same job", type="string", maxLength=255
)
_SUBMISSION = {
    FURTHER: {"params": "params", "param.NAME": r"param\..+"},
    "parameters": [
        *option_parameters(),
        _PREFER,
        IDEMPOTENCY_KEY,
        header("Content-Encoding", "how the body is packed", enum=["gzip", "identity"]),
    ],
    "requestBody": {
        "required": True,
        "description": "With JSON, options are members of the body. In the other forms they are parameters of the"
        " address, and so are `params`, as URL-encoded JSON, and `param.NAME=VALUE`, one of them.",
        "content": {
            "application/json": {"schema": reference(models.Submission)},
            **lines(None),
            "multipart/form-data": {"schema": reference(service_models.FileForm)},
        },
    },
}
_SUBMITTED = ("Location", "Idempotent-Replayed", "Preference-Applied")
_FOLLOWED = returns(
    "The job, finished, or there already; with `follow=1`, its results as they come; with `validate_only=1`, that"
    " each item is what the task takes.",
    headers=(*_SUBMITTED, "Retry-After"),
    content={
        "application/json": {"schema": {"anyOf": [reference(models.Job), reference(models.Checked)]}},
        **lines(models.Result),
    },
)
RETURNS: Responses = {
    200: returns("The job, finished.", models.Job, headers=(*_SUBMITTED, "Retry-After")),
    202: returns("The job, which will survive.", models.Job, headers=(*_SUBMITTED, "Retry-After")),
}
_ANSWERS: Responses = {**RETURNS, 200: _FOLLOWED, **problems(409, 410, 413, 415, 422, 429, 507)}


@router.post("", status_code=202, responses=_ANSWERS, openapi_extra=_SUBMISSION)
async def submit_job(
    request: Request, context: Ctx, follow: Follow = "0", validate_only: ValidateOnly = "0"
) -> Response:
    """Submit a job, as JSON, JSON lines or a form of files."""
    if validate_only == "1":
        return await _validated(request, context, None)
    accepted = await submit(request, context, None)
    if follow == "1":
        return _results_of(request, context, accepted)
    return await answer(request, context, accepted, created=True)


@router.put("/{job_id}", status_code=202, responses=_ANSWERS, openapi_extra=_SUBMISSION)
async def put_job(
    request: Request, context: Ctx, job_id: JobId, follow: Follow = "0", validate_only: ValidateOnly = "0"
) -> Response:
    """Submit a job under your own id; sending the same again is the same job."""
    if validate_only == "1":
        return await _validated(request, context, job_id)
    accepted = await submit(request, context, job_id)
    if follow == "1":
        return _results_of(request, context, accepted)
    return await answer(request, context, accepted, created=not accepted.replayed)


@router.get(
    "", responses={200: returns("A page of jobs.", models.JobList, headers=("Link",)), **problems(422)}
)
async def list_jobs(
    request: Request,
    context: Ctx,
    status: Annotated[Status | None, Query(description="only those in this status")] = None,
    task: Annotated[Plain | None, Query(description="only those of this task")] = None,
    q: Annotated[Plain | None, Query(description="part of the id or the label")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="how many at most")] = 50,
    cursor: Annotated[
        str | None, Query(pattern=cursors.PATTERN, description="`next_cursor` of the page before")
    ] = None,
) -> Response:
    """Jobs, newest first."""
    position = None if cursor is None else cursors.parsed(cursor)
    views = await context.jobs.list(store.Query(limit + 1, status, task, q, position))
    page, last = JobPage(), None
    for view in islice(views, limit):
        await page.add(view)
        last = view.job
    next_cursor = cursors.after(last) if last and next(views, None) else None
    document = {"jobs": Spread.array(page.jobs), "next_cursor": next_cursor}
    headers = {}
    if next_cursor:
        headers["Link"] = f'<{request.url.include_query_params(cursor=next_cursor)}>; rel="next"'
    return json_answer(document, headers=headers)


@router.get(
    "/{job_id}",
    responses={
        200: returns("The job.", models.Job, headers=("ETag", "Retry-After", "Preference-Applied")),
        304: returns("It is as you know it.", headers=("ETag", "Preference-Applied")),
        **problems(404, 410, 422),
    },
    openapi_extra={"parameters": [WAIT, header("If-None-Match", "the `ETag` of the job as you know it")]},
)
async def get_job(request: Request, context: Ctx, job_id: JobId) -> Response:
    """One job.  `Prefer: wait=N` waits until it has finished; with `If-None-Match`, until it has changed."""
    preferences = replace(Preferences.of(request), strict=False)
    wait = preferences.wait_seconds
    results = None
    if wait is None:
        view = await context.jobs.get(job_id)
    elif "if-none-match" in request.headers:
        view = await _changed(request, context, job_id, wait)
    else:
        view = await context.jobs.wait(job_id, wait)
        results = await _inline_results(context, view)
    headers = preferences.applied | {"ETag": _tag(view), "Vary": "Prefer"}
    if ranges.known(request, _tag(view)):
        return Response(status_code=304, headers=headers)
    return job_response(view, results, 200, headers)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    responses={
        200: returns("It had finished, or has now.", models.CancelledJob),
        202: returns("Its items are being let go.", models.CancelledJob, headers=("Retry-After",)),
        **problems(404, 410, 422),
    },
)
async def cancel_job(context: Ctx, job_id: JobId, force: Force = "0") -> Response:
    """No further item starts; those that run are asked to end, and made to.  Never too late."""
    view, receipt = await context.jobs.cancel(job_id, force=force == "1")
    document = job_document(view) | {
        "cancelled": {"dropped": receipt.dropped, "signalled": receipt.signalled}
    }
    return _response(document, view, 200 if view.job.status.finished else 202)


@router.delete(
    "/{job_id}", status_code=204, responses={204: returns("It is forgotten."), **problems(404, 409, 422, 507)}
)
async def delete_job(context: Ctx, job_id: JobId) -> Response:
    """Forget a finished job and its results."""
    await context.jobs.delete(job_id)
    return Response(status_code=204)


async def answer(request: Request, context: Context, accepted: Accepted, *, created: bool) -> Response:
    """The answer to a submission: its job."""
    preferences = replace(Preferences.of(request), strict=accepted.checked)
    wait = preferences.wait_seconds
    view = await (
        context.jobs.get(accepted.job_id) if wait is None else context.jobs.wait(accepted.job_id, wait)
    )
    results = None if wait is None else await _inline_results(context, view)
    status = 200 if view.job.status.finished or not created else 202
    return job_response(view, results, status, _headers(request, accepted) | preferences.applied)


async def _validated(request: Request, context: Context, job_id: str | None) -> Response:
    """The answer to a submission that is only to be checked."""
    checked = await validate(request, context, job_id)
    document = {"valid": True, "task": checked.task, "items": checked.items}
    headers = Preferences(strict=Preferences.of(request).strict).applied
    return Response(msgspec.json.encode(document), headers=headers, media_type="application/json")


def _results_of(request: Request, context: Context, accepted: Accepted) -> Response:
    """The answer to a submission with `follow=1`: its results, as they come."""
    lines = follow_lines(context.jobs, accepted.job_id, View(), 0)
    headers = _headers(request, accepted) | STREAM_HEADERS | Preferences(strict=accepted.checked).applied
    return Stream(lines, headers=headers, media_type="application/jsonl")


def _headers(request: Request, accepted: Accepted) -> dict[str, str]:
    headers = {"Location": f"/v1/jobs/{accepted.job_id}"}
    if accepted.replayed and "idempotency-key" in request.headers:
        headers["Idempotent-Replayed"] = "true"
    return headers


async def _changed(request: Request, context: Context, job_id: str, seconds: float) -> JobView:
    """The job once it is not what the client knows, or has finished, or after the time."""
    jobs, clock = context.jobs, context.clock
    deadline = clock.monotonic() + seconds
    while True:
        bell = jobs.bell(job_id)
        seen = bell.rings if bell else 0
        view = await jobs.get(job_id)
        left = deadline - clock.monotonic()
        if not ranges.known(request, _tag(view)) or bell is None or left <= 0 or jobs.closing.is_set():
            return view
        await bell.wait(seen, left)


def _tag(view: JobView) -> str:
    """Changes with everything that happens to the job; a weak validator, as the estimates only grow older."""
    document = job_document(view)
    for passing in ("items_per_second", "eta_seconds", "queue_position", "links"):  # a link may hold a ticket
        del document[passing]
    return f'W/"{hashlib.sha256(msgspec.json.encode(document)).hexdigest()[:32]}"'


async def _inline_results(context: Context, view: JobView) -> bytes | None:
    """The results of a finished job, in input order, if they are few and small."""
    if not view.job.status.finished or view.counts.total > INLINE_ITEMS_MAX:
        return None
    done = view.counts.done
    if view.recent is not None and (lines := view.recent.by_index(done, INLINE_BYTES_MAX)) is not None:
        return lines
    page = await context.jobs.results(view.job.id, View("index"), 0, INLINE_ITEMS_MAX, INLINE_BYTES_MAX)
    return page.lines if page.count == done and len(page.lines) <= INLINE_BYTES_MAX else None


def job_response(
    view: JobView,
    results: bytes | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer that is a Job."""
    return _response(job_document(view, results), view, status, headers)


def _response(
    document: Mapping[str, Any], view: JobView, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    headers = dict(headers or {})
    if not view.job.status.finished:
        eta = view.eta_seconds or 1
        headers["Retry-After"] = str(round(min(max(eta, 1), RETRY_AFTER_SECONDS_MAX)))
    return Response(msgspec.json.encode(document), status, headers, "application/json")
