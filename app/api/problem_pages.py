"""What each problem's `type` leads to: its meaning and what to do, as a page or as plain text."""

import re
from html import escape
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.api.openapi import TEXT, problems, returns
from app.api.problem_types import PROBLEM_TYPES
from app.api.query import Exact
from app.domain.errors import NotFound, title_of

router = APIRouter(route_class=Exact, prefix="/problems", tags=["service"])

_PAGE = returns("A page for people.", content={**TEXT, "text/html": {"schema": {"type": "string"}}})
HEADERS = {"Cache-Control": "public, max-age=3600", "Vary": "Accept"}


@router.get("", responses={200: _PAGE})
async def list_problem_types(request: Request) -> Response:
    """Every type of problem."""
    return _page(request, "Problems", [_line(code) for code in PROBLEM_TYPES])


@router.get("/{name}", responses={200: _PAGE, **problems(404, 422)})
async def get_problem_type(
    request: Request, name: Annotated[str, Path(max_length=100, description="as it stands in `type`")]
) -> Response:
    """What a problem means, and what to do about it."""
    kind = PROBLEM_TYPES.get(name)
    if kind is None:
        raise NotFound("There is no problem of this type; /problems lists those there are.")
    status = f"Status {kind.status} {HTTPStatus(kind.status).phrase}." if kind.status else "In a Job's error."
    return _page(request, title_of(name), [status, kind.means, kind.remedy])


def _code(text: str) -> str:
    """What stands in backticks, marked up."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", text)


def _line(code: str) -> str:
    return f"/problems/{code}: {PROBLEM_TYPES[code].means}"


def _page(request: Request, title: str, paragraphs: list[str]) -> Response:
    """The text; as HTML for who asks for that, which is browsers."""
    if "text/html" not in request.headers.get("accept", ""):
        return Response("\n\n".join([title, *paragraphs]) + "\n", headers=HEADERS, media_type="text/plain")
    told = "\n".join(f"<p>{_code(escape(paragraph, quote=False))}</p>" for paragraph in paragraphs)
    page = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<link rel="stylesheet" href="/static/style.css">\n<main>\n<h1>{escape(title)}</h1>\n{told}\n</main>\n'
    )
    return Response(page, headers=HEADERS, media_type="text/html")
