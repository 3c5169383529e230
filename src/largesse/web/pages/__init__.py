"""The pages: server-rendered, each file a part of the site; `ROUTES` is all of them."""

from litestar.types import ControllerRouterHandler

from largesse.web.pages import account, avatars, profile, recharge, styleguide, wallet

ROUTES: tuple[ControllerRouterHandler, ...] = (
    *account.ROUTES,
    *avatars.ROUTES,
    *profile.ROUTES,
    *wallet.ROUTES,
    *recharge.ROUTES,
    *styleguide.ROUTES,
)
