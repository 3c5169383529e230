"""
Pictures of people, drawn: nobody uploads one, and nobody is without.

Two colours and a shape follow from the id for ever, the letter from the name. What cannot be drawn
as one letter or digit (a hostile name, an emoji, nothing) is a dot.
"""

from hashlib import blake2b, sha256
from html import escape
from typing import Any

from litestar import Response, get
from litestar.params import FromPath

from largesse import ids
from largesse.records import users
from largesse.web import auth
from largesse.web.auth import AnyRequest

SUFFIX = ".svg"
KEPT_SECONDS = 300
"""How long a browser shows a picture before it asks whether the name has changed."""
NEUTRAL = "·"

POLICY = "default-src 'none'; sandbox"
"""A picture opened by itself is a document: it may load nothing and run nothing."""

PALETTE = (
    ("#0d5a69", "#2a8b9b", "#ffffff"),
    ("#7a2f4f", "#b55c80", "#ffffff"),
    ("#3c4db2", "#7484de", "#ffffff"),
    ("#7d4a12", "#b57a35", "#ffffff"),
    ("#1d6a3e", "#4c9d6d", "#ffffff"),
    ("#8a3324", "#c2654f", "#ffffff"),
    ("#56407f", "#8c74bd", "#ffffff"),
    ("#2b5876", "#5f8fb0", "#ffffff"),
    ("#5f5a1c", "#979042", "#ffffff"),
    ("#6b2c6e", "#a560a8", "#ffffff"),
    ("#35533c", "#6d9176", "#ffffff"),
    ("#4a4f57", "#7f868f", "#ffffff"),
)
"""Ground, shape, letter: the letter has 4.5:1 on the ground, and stands on it."""
SHAPES = (
    '<circle cx="{a}" cy="{b}" r="34"/>',
    '<path d="M{a} 0 80 {b} 80 80 0 80z"/>',
    '<path d="M0 {a}Q40 {b} 80 {a}V80H0z"/>',
    '<circle cx="{a}" cy="{b}" r="26"/><circle cx="{b}" cy="{a}" r="12"/>',
    '<rect x="{a}" y="{b}" width="60" height="60" rx="14" transform="rotate({a} 40 40)"/>',
)


@get("/avatars/{file:str}", include_in_schema=False)
async def get_avatar(request: AnyRequest, file: FromPath[str]) -> Response[Any]:
    """The picture of a user; whoever is not there gets the neutral one."""
    app = auth.app_of(request)
    app.limiter.take("avatar", auth.address_of(request), app.clock.now())
    user_id = file.removesuffix(SUFFIX)
    user = await users.find_user(app.db, user_id) if ids.parse(user_id) else None
    drawn = draw(None if user is None else user.id, "" if user is None else user.name)
    tag = f'"{sha256(drawn).hexdigest()[:16]}"'
    headers = {
        "cache-control": f"public, max-age={KEPT_SECONDS}",
        "content-security-policy": POLICY,
        "etag": tag,
    }
    if request.headers.get("if-none-match") == tag:
        return Response(None, status_code=304, headers=headers)
    return Response(drawn, media_type="image/svg+xml", headers=headers)


def draw(user_id: str | None, name: str) -> bytes:
    """The picture for an id and a name; the same for the same."""
    if user_id is None:
        ground, shape, ink, figure = "#4a4f57", "#7f868f", "#ffffff", ""
    else:
        chance = blake2b(user_id.encode(), digest_size=8).digest()
        ground, shape, ink = PALETTE[chance[0] % len(PALETTE)]
        a, b = 8 + chance[1] % 64, 8 + chance[2] % 64
        figure = SHAPES[chance[3] % len(SHAPES)].format(a=a, b=b)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 80" width="80" height="80">'
        f'<rect width="80" height="80" fill="{ground}"/>'
        f'<g fill="{shape}" fill-opacity=".55">{figure}</g>'
        f'<text x="40" y="53" fill="{ink}" font-family="system-ui, sans-serif" font-size="36" '
        f'font-weight="700" text-anchor="middle">{escape(letter_of(name))}</text></svg>'
    ).encode()


def letter_of(name: str) -> str:
    """The first letter or digit of a name, as a capital."""
    for char in name:
        if char.isalnum():
            return char.upper()[0]
    return NEUTRAL


ROUTES = (get_avatar,)
