"""The FastAPI app of the page: its parts put together, its security headers and error pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from pipeline_tuner.exceptions import DecisionConflictError, InfrastructureError
from pipeline_tuner.web import actions, charts_script, downloads, pages, sweep_page
from pipeline_tuner.web.rendering import render, root_of
from pipeline_tuner.web.security import page_access

CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


def create_app() -> FastAPI:
    """The page as an app: every route asks who is there; nothing is loaded from another server."""
    app = FastAPI(title="Pipeline Tuner", dependencies=[page_access], docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    for part in (pages, sweep_page, actions, downloads, charts_script):
        app.include_router(part.router)
    app.add_exception_handler(InfrastructureError, _database_away)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(DecisionConflictError, _conflict)
    app.middleware("http")(_guard)
    return app


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Add the headers that keep hostile text from becoming a script."""
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if not request.url.path.startswith(f"{root_of(request)}/static"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


async def _refused(request: Request, error: Exception) -> Response:
    """A refusal as a page for people at a browser, as FastAPI's JSON for programs."""
    if not isinstance(error, HTTPException):
        raise error
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    title = {401: "Log in first", 403: "You may not do this", 404: "Not here"}.get(
        error.status_code, "This can't be done"
    )
    page = render(
        request, "problem.html", status_code=error.status_code, title=title, detail=str(error.detail), is_live=False
    )
    page.headers.update(error.headers or {})
    return page


async def _unreadable(request: Request, error: Exception) -> Response:
    """An address or a form with a value that the page does not know: said in words to people at a browser."""
    if not isinstance(error, RequestValidationError):
        raise error
    if "text/html" not in request.headers.get("accept", ""):
        return await request_validation_exception_handler(request, error)
    problems = (f"{one['loc'][-1]}: {one['msg'][:1].lower()}{one['msg'][1:]}" for one in error.errors())
    return await _refused(request, HTTPException(422, "; ".join(problems)))


async def _conflict(request: Request, error: Exception) -> Response:
    return await _refused(request, HTTPException(409, f"{error} Open the page again to see it, then decide."))


async def _database_away(request: Request, error: Exception) -> HTMLResponse:
    title = "No results to show at the moment"
    return render(request, "problem.html", status_code=503, title=title, detail=str(error), is_live=True)
