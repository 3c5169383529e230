"""The pages: server-rendered, each file a part of the site; `ROUTES` is all of them."""

from litestar.types import ControllerRouterHandler

ROUTES: tuple[ControllerRouterHandler, ...] = ()
