"""Routes of what is to be understood of a job as a whole: its failures, its times, why it fares as it does."""

from typing import Any

from fastapi import APIRouter, Response

from app.api import documents, models
from app.api.context import Ctx
from app.api.jobs import JobId
from app.api.openapi import problems, returns
from app.api.query import Exact
from app.api.schemas import stamp
from app.domain.digest import Tally

router = APIRouter(route_class=Exact, prefix="/v1/jobs/{job_id}", tags=["jobs"])


@router.get("/errors", responses={200: returns("The groups.", models.JobErrors), **problems(404, 410, 422)})
async def get_errors(context: Ctx, job_id: JobId) -> Response:
    """The job's failures by what they have in common, most frequent first, each group with one traceback."""
    view = await context.digests.errors(context.jobs, job_id)
    groups = [_group(job_id, tally, traceback) for tally, traceback in view.groups]
    return documents.answer({"failed": view.failed, "groups": groups, "others": view.others})


@router.get("/timings", responses={200: returns("The times.", models.JobTimings), **problems(404, 410, 422)})
async def get_timings(context: Ctx, job_id: JobId) -> Response:
    """How long the job's items took: median, 95th and 99th percentile, and the slowest; null is less than 1 ms."""
    view = await context.digests.timings(context.jobs, job_id)
    slowest = [
        {"index": index, "duration_ms": ms, "links": {"self": _item(job_id, index)}}
        for ms, index in view.slowest
    ]
    quantiles = {"median_ms": view.median_ms, "p95_ms": view.p95_ms, "p99_ms": view.p99_ms}
    return documents.answer({"items": view.items, **quantiles, "slowest": slowest})


@router.get(
    "/explain", responses={200: returns("The reasons.", models.Explanation), **problems(404, 410, 422)}
)
async def get_explanation(context: Ctx, job_id: JobId) -> Response:
    """Why the job waits, is slow or has ended: in words, and as codes (docs/understanding.md)."""
    reasons = await context.explaining.explain(context.jobs, job_id)
    return documents.answer(
        {"summary": " ".join(reason.detail for reason in reasons[:2]), "reasons": reasons}
    )


def _group(job_id: str, tally: Tally, traceback: str | None) -> dict[str, Any]:
    group = tally.group
    return {
        "group": group.id,
        "kind": group.kind,
        "type": group.type,
        "message": group.message,
        "place": group.place,
        "count": tally.count,
        "first_seen": stamp(tally.first_at),
        "last_seen": stamp(tally.last_at),
        "sample_indexes": tally.samples,
        "traceback": traceback,
        "links": {"sample": _item(job_id, tally.samples[0])},
    }


def _item(job_id: str, index: int) -> str:
    return f"/v1/jobs/{job_id}/items/{index}"
