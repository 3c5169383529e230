"""Our files for browsers: an address names a content, which never changes and is kept for a year."""

import gzip
import re

import pytest

from largesse.web import assets
from largesse.web.assets import STATIC, asset


async def test_a_file_is_kept_for_a_year_and_packed_for_whoever_unpacks(world):
    url = asset("js/core/api.js")
    packed = await world.client.get(url, headers={"accept-encoding": "gzip"})
    plain = await world.client.get(url, headers={"accept-encoding": "identity"})

    body = assets.lean((STATIC / "js" / "core" / "api.js").read_bytes())
    assert packed.content == plain.content == body
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) <= len(gzip.compress(body))
    assert "content-encoding" not in plain.headers
    for answer in (packed, plain):
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "accept-encoding"


async def test_another_version_and_an_unknown_file_are_not_there(world):
    tree = assets.version()
    for path in (
        "/static/v-000000000000/js/page.js",
        f"/static/v-{tree}/js/nothing.js",
        f"/static/v-{tree}/../../app.py",
        f"/static/v-{tree}/%2e%2e/%2e%2e/app.py",
        f"/static/v-{tree}/docs/docs.js",
    ):
        answer = await world.client.get(path)
        assert answer.status_code == 404, path
        assert "immutable" not in answer.headers.get("cache-control", "")


async def test_relative_imports_stay_within_the_version(world):
    answer = await world.client.get(asset("js/page.js"))
    for name in re.findall(r'import "\.(/[^"]+)"', answer.text):
        neighbour = await world.client.get(asset("js/page.js").replace("/page.js", name))
        assert neighbour.status_code == 200


async def test_the_old_addresses_stay(world):
    answer = await world.client.get("/static/art/gifts/rose.svg")

    assert answer.status_code == 200
    assert "immutable" not in answer.headers["cache-control"]


def test_a_script_goes_without_its_comments_and_keeps_its_lines():
    script = b"/** What for.\n * More. */\nconst a = '// b'; // c\n  // Why.\n/* d */ e();\n"

    assert assets.lean(script) == b"\n\nconst a = '// b'; // c\n\n/* d */ e();\n"


def test_the_address_changes_with_a_file(tmp_path, monkeypatch):
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "a.js").write_text("1")
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    monkeypatch.setattr(assets, "VERSIONED", ("js",))
    for each in (assets.files, assets.version, assets.asset):
        monkeypatch.setattr(assets, each.__name__, each.__wrapped__)

    before = assets.asset("js/a.js")
    (tmp_path / "js" / "a.js").write_text("2")
    assert assets.asset("js/a.js") != before
    with pytest.raises(AssertionError):
        assets.asset("js/b.js")
