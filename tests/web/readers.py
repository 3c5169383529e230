"""Somebody who reads pages and fills in forms without scripts, as a plain browser does."""

from contextlib import asynccontextmanager
from html.parser import HTMLParser

import httpx

from largesse.web import auth

UNSENT = {"button", "submit", "image", "reset", "file"}


class Form:
    """A form of a page: where it goes, and what it would send as it stands."""

    def __init__(self, action, method):
        self.action = action
        self.method = method
        self.fields = {}


class _Forms(HTMLParser):
    """Every form, with what is filled in, checked or selected."""

    def __init__(self):
        super().__init__()
        self.forms = []
        self.text = []
        self._select = None

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        if tag == "form":
            self.forms.append(Form(said.get("action", ""), said.get("method", "get").lower()))
        if not self.forms:
            return
        fields, name = self.forms[-1].fields, said.get("name")
        if tag == "input" and name and said.get("type") not in UNSENT:
            if said.get("type") not in ("radio", "checkbox") or "checked" in said:
                fields[name] = said.get("value", "")
        elif tag == "select":
            self._select = name
        elif (
            tag == "option" and self._select and ("selected" in said or self._select not in fields)
        ):
            fields[self._select] = said.get("value", "")

    def handle_endtag(self, tag):
        if tag == "select":
            self._select = None

    def handle_data(self, data):
        self.text.append(data)


class Page:
    """An answer as a person sees it."""

    def __init__(self, answer):
        self.status = answer.status_code
        self.headers = answer.headers
        self.location = answer.headers.get("location", "")
        self.html = answer.text
        parser = _Forms()
        parser.feed(answer.text)
        self.forms = parser.forms
        self.words = " ".join("".join(parser.text).split())

    def form(self, action):
        """The form that goes there."""
        [found] = [form for form in self.forms if form.action == action]
        return found


class Reader:
    """A browser without scripts: cookies, pages, forms. It follows no redirect by itself."""

    def __init__(self, client):
        self.client = client

    async def get(self, path, **headers):
        return Page(await self.client.get(path, headers=headers))

    async def follow(self, path, **headers):
        """The page behind every redirect on our own site."""
        page = await self.get(path, **headers)
        while page.status == 303:
            page = await self.get(page.location, **headers)
        return page

    async def send(self, page, action, **changes):
        """Send a form of a page, with some of its fields filled in; None leaves one out."""
        form = page.form(action)
        fields = {name: text for name, text in (form.fields | changes).items() if text is not None}
        return await self.post(action, fields)

    async def post(self, path, fields):
        return Page(await self.client.post(path, data=fields))


@asynccontextmanager
async def reader(world, person=None):
    """Somebody at this world's pages; with a person, logged in."""
    async with httpx.AsyncClient(
        base_url=world.client.base_url,
        headers={"accept": "text/html,*/*;q=0.8", "accept-language": "en-US,en;q=0.9"},
        timeout=20,
        trust_env=False,
    ) as client:
        if person is not None:
            name = auth.cookie_name(world.app, auth.SESSION_COOKIE)
            client.cookies.set(name, person.token, domain=client.base_url.host)
        yield Reader(client)
