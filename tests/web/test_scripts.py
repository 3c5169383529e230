"""The scripts that every page stands on: money, keys, sentences, what is read out, the live wire."""

import json
import re

import pytest

from largesse import money
from largesse.money import Price
from largesse.web import i18n
from largesse.web.assets import asset
from tests.web.browser import browser_at, needs_browser

pytestmark = needs_browser


@pytest.fixture
async def visit(workshop):
    """Somebody on a quiet page of his own."""
    async with browser_at(workshop) as browser:
        visit = await browser.visit(person=workshop.ana)
        visit.workshop = workshop
        await visit.page.goto("/profile")
        yield visit


async def run(visit, module, body, argument=None):
    """What a function body gives that may use the module's exports, called `m`."""
    script = f"async ([address, a]) => {{ const m = await import(address); {body} }}"
    return await visit.page.evaluate(script, [asset(f"js/core/{module}.js"), argument])


async def test_prices_are_written_as_the_server_writes_them(visit):
    prices = [
        {"amount": amount, "currency": currency}
        for currency in money.CURRENCIES
        for amount in (0, 5, 749, -749, 123_456_789, 9_007_199_254_740_991)
    ]
    written = await run(visit, "money", "return a.map(m.formatPrice)", prices)

    assert written == [i18n.price_text(Price(**price), "en") for price in prices]


async def test_what_coins_are_worth_is_rounded_up_to_a_whole_unit(visit):
    rate = {"coins": 65, "amount": 99, "currency": "USD"}
    body = "return a.map((coins) => m.coinsWorth(coins, {coins: 65, amount: 99, currency: 'USD'}).amount)"
    counts = [0, 1, 64, 65, 66, 17_500, 10**12]

    worth = await run(visit, "money", body, counts)

    assert worth == [-(-coins * rate["amount"] // rate["coins"]) for coins in counts]


async def test_a_key_is_a_uuid_of_its_time(visit):
    keys = await run(visit, "keys", "return [m.newKey(), m.newKey(), m.newKey(0x123456789abc)]")

    shape = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert all(re.fullmatch(shape, key) for key in keys)
    assert keys[0] != keys[1]
    assert keys[2].startswith("12345678-9abc-7")


async def test_a_refusal_is_thrown_with_its_code_and_facts(visit):
    visit.expects("status of 4")
    body = (
        "try { await m.get('/v1/rooms/' + '0'.repeat(32)); }"
        "catch (e) { return [e instanceof m.Refusal, e.code, e.status, e.message]; }"
    )
    is_refusal, code, status, message = await run(visit, "api", body)

    assert (is_refusal, code, status) == (True, "room_not_found", 404)
    assert message.endswith(".")


async def test_a_call_that_got_no_answer_is_tried_again_with_its_key(visit):
    visit.expects("status of 503|ERR_CONNECTION")
    keys = []

    async def answer(route):
        keys.append(
            (route.request.headers["idempotency-key"], route.request.headers["x-csrf-token"])
        )
        if len(keys) == 1:
            await route.abort("connectionreset")
        elif len(keys) == 2:
            await route.fulfill(status=503, body="")
        else:
            await route.fulfill(status=201, json={"done": True})

    await visit.page.route("**/v1/something", answer)
    told = await run(visit, "api", "return m.post('/v1/something', {}, {key: 'k'})")

    assert told == {"done": True}
    assert len(keys) == 3
    assert {key for key, _ in keys} == {"k"}
    assert all(len(token) > 20 for _, token in keys)


async def test_a_call_without_a_key_is_made_once(visit):
    visit.expects("status of 503")
    calls = []

    async def answer(route):
        calls.append(route.request.method)
        await route.fulfill(status=503, json={"code": "ledger_busy"})

    await visit.page.route("**/v1/something", answer)
    body = "try { await m.post('/v1/something', {}); } catch (e) { return e.code; }"

    assert await run(visit, "api", body) == "ledger_busy"
    assert calls == ["POST"]


async def test_a_flood_is_read_out_once_in_a_while(visit):
    page = visit.page
    await page.clock.install()
    body = (
        "window.said = []; const region = document.getElementById('says-politely');"
        "new MutationObserver(() => said.push(region.textContent)).observe(region, {childList: true});"
        "window.polite = m.polite;"
    )
    await run(visit, "announce", body)
    for second in range(12):
        await page.evaluate(
            "(second) => { for (let i = 0; i < 50; i++) polite(`gift ${second * 50 + i}`, {about: 'gift'}); }",
            second,
        )
        await page.clock.run_for(1_000)
    said = await page.evaluate("() => said")

    assert len(said) == 3
    assert said[0] == "197 more messages. gift 197. gift 198. gift 199"


async def test_whoever_wants_gifts_alone_hears_gifts_alone(visit):
    page = visit.page
    await page.evaluate("() => localStorage.setItem('largesse-announcements', 'gifts')")
    await page.clock.install()
    await run(visit, "announce", "m.polite('hello'); m.polite('a rose', {about: 'gift'});")
    await page.clock.run_for(5_000)

    assert await page.inner_text("#says-politely") == "a rose"


async def test_scripts_speak_the_language_of_the_page(workshop):
    async with browser_at(workshop) as browser:
        visit = await browser.visit(person=workshop.ana, cookies={"language": "en-XA"})
        await visit.page.goto("/styleguide")
        await visit.page.wait_for_selector("lg-quantity button")
        label = await visit.page.locator("lg-quantity button").first.get_attribute("aria-label")
        coins = await run(
            visit,
            "i18n",
            "return [1, 2].map((n) => m.tn('%(n)s more message', '%(n)s more messages', n))",
        )

    assert label == i18n.gettext("en-XA", "Less")
    assert [said.count("1") + said.count("2") for said in coins] == [1, 1]
    assert coins[0] != coins[1]
    assert "more message" not in coins[0]


async def test_coins_that_arrive_show_at_once_on_every_page(visit):
    page = visit.page
    balance = page.locator(".bar .coins-number")
    assert await balance.inner_text() == "1,240"
    await page.wait_for_function("() => customElements.get('lg-balance')")
    await visit.workshop.give_coins(visit.workshop.ana, 700)

    await page.wait_for_function(
        "() => document.querySelector('.bar .coins-number').textContent === '1,940'"
    )


async def test_an_order_shows_its_new_state_and_says_it(visit):
    page = visit.page
    answers = iter(["pending", "pending", "credited"])

    async def answer(route):
        await route.fulfill(json={"id": "x", "status": next(answers)})

    await page.route("**/v1/orders/x", answer)
    await page.evaluate(
        """async (address) => {
          const order = document.createElement("lg-order");
          order.setAttribute("order", "x");
          order.setAttribute("status", "pending");
          for (const [when, say] of [["pending paid", ""], ["credited", "700 coins have arrived."]]) {
            const part = document.createElement("p");
            part.dataset.when = when;
            part.dataset.say = say;
            part.textContent = when;
            part.hidden = when === "credited";
            order.append(part);
          }
          document.querySelector("main").append(order);
          await import(address);
        }""",
        asset("js/elements/lg-order.js"),
    )
    await page.wait_for_selector("[data-when=credited]:not([hidden])")

    assert not await page.is_visible("[data-when='pending paid']")
    assert await page.inner_text("#says-status") == "700 coins have arrived."


async def test_a_form_that_was_sent_is_not_sent_again(visit):
    page = visit.page
    asked = []

    async def hold(route):
        asked.append(route)

    await page.route("**/pay", hold)
    busy, let_through = await page.evaluate(
        """async () => {
          let letThrough = 0;
          addEventListener("submit", (event) => (letThrough += event.defaultPrevented ? 0 : 1));
          const form = document.createElement("form");
          form.method = "post";
          form.action = "/pay";
          const button = document.createElement("button");
          form.append(button);
          document.querySelector("main").append(form);
          for (let pressed = 0; pressed < 3; pressed += 1) button.click();
          await new Promise((resume) => setTimeout(resume, 300));
          button.click();
          return [button.getAttribute("aria-busy"), letThrough];
        }"""
    )

    assert (busy, let_through) == ("true", 1)
    assert len(asked) == 1


async def test_words_over_the_page_go_by_themselves_but_not_from_under_the_hand(visit):
    page = visit.page
    await page.wait_for_function("() => customElements.get('lg-toasts')")
    await page.clock.install()
    show = "(text) => document.querySelector('lg-toasts').show(text)"
    await page.evaluate(show, "Link copied")
    toast = page.locator(".toast")
    assert await page.inner_text("#says-status") == "Link copied"
    await toast.hover()
    await page.clock.run_for(60_000)
    assert await toast.count() == 1
    await page.mouse.move(0, 0)
    await page.clock.run_for(7_000)
    assert await toast.count() == 0

    for number in range(5):
        await page.evaluate(show, f"<b>{number}</b>")
    assert await toast.all_inner_texts() == ["<b>2</b>", "<b>3</b>", "<b>4</b>"]
    await toast.first.get_by_label("Close").click()
    assert await toast.count() == 2


class Wire:
    """The other end of a live connection, which a test lets fail as networks do."""

    def __init__(self, page):
        self.page = page
        self.hellos = []
        self.socket = None
        self.seq = 3

    async def stand(self):
        await self.page.route("**/v1/rooms/r/tickets", self._ticket)
        await self.page.route_web_socket(re.compile("/v1/rooms/r/live$"), self._opened)

    async def _ticket(self, route):
        await route.fulfill(status=201, json={"ticket": f"t{len(self.hellos)}"})

    def _opened(self, socket):
        self.socket = socket
        socket.on_message(lambda text: self._heard(json.loads(text)))

    def _heard(self, frame):
        if frame["op"] == "hello":
            self.hellos.append(frame)
            self.say({"op": "welcome", "v": 1, "seq": self.seq, "heartbeat_seconds": 20})
            if "last_seq" not in frame:
                self.say({"op": "snapshot", "seq": self.seq, "reason": "start"})

    def say(self, frame):
        self.socket.send(json.dumps(frame))

    async def lives(self):
        """Open a live connection in the page, which notes whatever it is told."""
        await self.page.evaluate(
            """async (address) => {
              const {Live} = await import(address);
              window.told = [];
              window.states = [];
              window.live = new Live("/v1/rooms/r", {
                snapshot: (frame) => told.push(`snapshot ${frame.seq}`),
                events: (frames) => told.push(...frames.map((frame) => frame.seq)),
                op: (frame) => told.push(frame.op),
                state: (name, facts) => states.push([name, facts.code ?? null]),
              });
              live.open();
            }""",
            asset("js/core/live.js"),
        )
        await self.told(["welcome", f"snapshot {self.seq}"])

    async def told(self, expected):
        await self.page.wait_for_function(
            "(expected) => JSON.stringify(told) === JSON.stringify(expected)", arg=expected
        )

    async def state(self, name):
        await self.page.wait_for_function("(name) => states.at(-1)[0] === name", arg=name)


@pytest.fixture
async def wire(visit):
    wire = Wire(visit.page)
    await wire.stand()
    await wire.lives()
    return wire


def event(seq):
    return {"v": 1, "seq": seq, "event": "chat", "room": "r", "ts": 0, "data": {}}


async def test_a_broken_connection_goes_on_where_it_was_and_tells_nothing_twice(wire):
    wire.say([event(4), event(5)])
    wire.say(event(6))
    await wire.told(["welcome", "snapshot 3", 4, 5, 6])
    await wire.socket.close(code=1001, reason="")
    await wire.page.wait_for_function("() => told.length === 6")  # The next welcome.
    wire.say([event(5), event(6), event(7)])

    await wire.told(["welcome", "snapshot 3", 4, 5, 6, "welcome", 7])
    assert [hello.get("last_seq") for hello in wire.hellos] == [None, 6]
    assert wire.hellos[1]["ticket"] == "t1"
    assert wire.hellos[0]["batch"] is True


async def test_a_room_that_is_over_is_not_asked_again(wire):
    wire.say({"op": "refused", "key": None, "code": "room_ended", "detail": "Over."})
    await wire.told(["welcome", "snapshot 3", "refused"])
    await wire.socket.close(code=4410, reason="")
    await wire.state("over")

    states = await wire.page.evaluate("() => states")
    assert states[-1] == ["over", "room_ended"]
    assert len(wire.hellos) == 1
    assert await wire.page.evaluate("() => live.send({op: 'like'})") is False


async def test_a_silent_server_is_left_for_another_connection(visit):
    await visit.page.clock.install()
    wire = Wire(visit.page)
    await wire.stand()
    await wire.lives()
    await visit.page.clock.run_for(21_000)  # A ping that nobody answers,
    await visit.page.clock.run_for(21_000)  # and a whole beat later nothing was heard.
    await visit.page.clock.run_for(2_000)
    await wire.page.wait_for_function("() => told.length === 3")

    assert len(wire.hellos) == 2


async def test_whoever_leaves_is_not_brought_back(wire):
    await wire.page.evaluate("() => live.close()")
    await wire.page.evaluate("() => { live.wake(); dispatchEvent(new Event('online')); }")

    assert len(wire.hellos) == 1
    assert await wire.page.evaluate("() => live.isOpen") is False
