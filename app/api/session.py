"""Routes of sessions: how a browser, which must not keep a key, comes in."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import documents, service_models
from app.api.context import AnyPhase
from app.api.gate import COOKIE, SESSION_TOKEN, bearer_key
from app.api.openapi import problems, returns
from app.api.query import Exact
from app.api.schemas import stamp
from app.domain.caller import Caller
from app.service.access import Session

router = APIRouter(route_class=Exact, prefix="/v1/session", tags=["callers"])


class SignIn(BaseModel):
    """The key, if it is not in the Authorization header."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(max_length=200)] = ""


@router.post(
    "",
    responses={
        200: returns("Who you are, and the cookie.", service_models.Caller, headers=("Set-Cookie",)),
        **problems(401, 403, 413, 415, 422),
    },
    openapi_extra=documents.described(SignIn, required=False),
)
async def post_session(request: Request, context: AnyPhase) -> Response:
    """Begin a session: for a key, a cookie that no script can read and no other site can use."""
    key = bearer_key(request.scope) or (await documents.read(request, SignIn)).key
    caller = context.access.bearer(key) if key else context.access.anybody()
    session = context.access.begin_session(caller)
    response = _answer(caller, session)
    if session is not None:
        response.set_cookie(
            COOKIE,
            session.token,
            expires=session.expires_at,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
    return response


@router.get("", responses={200: returns("Who you are.", service_models.Caller)})
async def get_session(context: AnyPhase) -> Response:
    """Who you are here, and what you may do."""
    return _answer(context.caller, None)


@router.delete("", status_code=204, responses={204: returns("It is over.")})
async def delete_session(request: Request, context: AnyPhase) -> Response:
    """End the session, and forget the cookie."""
    if token := request.scope[SESSION_TOKEN]:
        await context.access.end_session(token)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


def _answer(caller: Caller, session: Session | None) -> Response:
    document: dict[str, Any] = {
        "name": caller.name,
        "role": caller.role,
        "auth": "none" if caller.key_id is None else "keys",
    }
    if session is not None:
        document["expires_at"] = stamp(session.expires_at)
    return documents.answer(document, headers={"Cache-Control": "no-store"})
