"""The pages: server-rendered, each file a part of the site; `ROUTES` is all of them."""

from litestar.types import ControllerRouterHandler

from largesse.web.pages import styleguide

ROUTES: tuple[ControllerRouterHandler, ...] = (*styleguide.ROUTES,)
