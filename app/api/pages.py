"""The dashboard's files."""

from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

UI = Path(__file__).parent.parent / "ui"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


async def index(_: Request) -> Response:
    """The page; its own script reads the address."""
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return FileResponse(UI / "index.html", headers=headers)


def install(app: FastAPI) -> None:
    """Serve the page and its files."""
    for address in ("/", "/jobs/{job_id}"):
        app.add_route(address, index, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=UI), name="static")
