"""The pages: server-rendered, each file a part of the site; `ROUTES` is all of them."""

from litestar.types import ControllerRouterHandler

from largesse.web.pages import (
    account,
    avatars,
    creator,
    home,
    operator,
    profile,
    recharge,
    room,
    styleguide,
    wallet,
)

ROUTES: tuple[ControllerRouterHandler, ...] = (
    *home.ROUTES,
    *room.ROUTES,
    *account.ROUTES,
    *avatars.ROUTES,
    *profile.ROUTES,
    *wallet.ROUTES,
    *recharge.ROUTES,
    *creator.ROUTES,
    *operator.ROUTES,
    *styleguide.ROUTES,
)
