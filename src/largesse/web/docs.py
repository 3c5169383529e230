"""The pages about the API, from our own files under our own policy."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from litestar import MediaType, Response, get
from litestar.static_files import create_static_files_router

from largesse.web import reply
from largesse.web.auth import AnyRequest

WEB = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""As our other pages, but Swagger UI makes its markup without Trusted Types."""

_templates = Environment(
    loader=FileSystemLoader(WEB / "templates"), autoescape=True, auto_reload=False
)


@get("/docs", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def get_docs() -> Response[str]:
    page = _templates.get_template("docs.html").render()
    return Response(page, media_type=MediaType.HTML, headers={"content-security-policy": POLICY})


@get("/docs/errors", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def get_errors() -> str:
    refusals = sorted(reply.REFUSALS.items())
    return _templates.get_template("errors.html").render(refusals=refusals)


@get("/v1/openapi.json", include_in_schema=False, sync_to_thread=False)
def get_openapi(request: AnyRequest) -> Response[bytes]:
    document: bytes = request.app.state["openapi"]()
    return Response(document, media_type="application/json")


ROUTES = (
    get_docs,
    get_errors,
    get_openapi,
    create_static_files_router(
        path="/static",
        directories=[WEB / "static"],
        include_in_schema=False,
        cache_control=None,
    ),
)
