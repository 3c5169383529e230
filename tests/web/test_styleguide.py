"""The style guide: every part in its states, in every scheme and direction, sound on every screen."""

import pytest

from tests.web.browser import DESK, PHONE, browser_at, needs_browser

LOOKS = {
    "phone, light": {**PHONE, "scheme": "light"},
    "phone, dark": {**PHONE, "scheme": "dark"},
    "desk, light": {**DESK, "scheme": "light"},
    "desk, dark, from right to left": {
        **DESK,
        "scheme": "dark",
        "cookies": {"language": "ar-XB"},
    },
    "phone, long texts": {**PHONE, "cookies": {"language": "en-XA"}},
    "narrow phone, forced colours": {"width": 320, "height": 640, "forced_colors": "active"},
}


@needs_browser
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_every_part_is_sound(workshop, look):
    async with browser_at(workshop) as browser:
        visit = await browser.visit(person=workshop.ana, **look)
        await visit.page.goto("/styleguide")
        await visit.page.wait_for_selector("lg-quantity button, lg-chart svg")
        await visit.is_sound()


async def test_only_builders_see_it(world):
    for path in ("/styleguide", "/styleguide/language/en-XA"):
        answer = await world.client.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 404


async def test_a_builder_chooses_a_pretend_language(workshop):
    chosen = await workshop.client.get("/styleguide/language/ar-XB")
    unknown = await workshop.client.get("/styleguide/language/xx")
    page = await workshop.client.get("/styleguide")  # The client keeps its cookies.

    assert chosen.status_code == 303
    assert chosen.cookies["language"] == "ar-XB"
    assert unknown.status_code == 404
    assert '<html lang="ar-XB" dir="rtl"' in page.text


async def test_it_stands_without_scripts_and_shows_hostile_names_as_text(workshop):
    page = await workshop.client.get("/styleguide")

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert 'src="x"' not in page.text
