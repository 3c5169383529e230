"""The pure parts of the room page: what it knows, which gifts stand in the trays, which effect plays."""

import pytest

from largesse.web.assets import asset
from tests.web.browser import browser_at, needs_browser

pytestmark = needs_browser

ROSE = {"number": 1, "id": "rose", "name": "Rose", "coins": 1, "streakable": True, "tier": 1}
COMET = {"number": 24, "id": "comet", "name": "Comet", "coins": 699, "streakable": False, "tier": 3}
MIRA = {"userId": "m", "nickname": "Mira"}


@pytest.fixture
async def page(workshop):
    async with browser_at(workshop) as browser:
        visit = await browser.visit(person=workshop.ana)
        await visit.page.goto("/help")
        yield visit.page


async def run(page, module, body, **facts):
    """What a function body gives that may use the module's exports, called `m`, and facts, `f`."""
    script = f"async ([address, f]) => {{ const m = await import(address); {body} }}"
    return await page.evaluate(script, [asset(f"js/room/{module}.js"), facts])


TRAYS = """
const trays = new m.Trays(2);
let now = 1_000_000;
const gift = (groupId, repeatCount, repeatEnd, item, isMine = false) =>
  (trays.gift({groupId, repeatCount, repeatEnd, item, isMine, sender: f.mira}, now), trays.settle(now));
const shown = () => trays.shown.map((line) => [line.item.id, m.countOf(line), line.isMine]);
"""


async def test_an_event_is_taken_once_and_a_snapshot_takes_the_place_of_everything(page):
    body = """
    const state = new m.RoomState();
    const gift = (seq, repeatCount, repeatEnd) => state.take(
      {seq, event: "gift", data: {groupId: "g", repeatCount, repeatEnd}});
    const taken = [gift(1, 1, false), gift(1, 1, false), gift(2, 2, false)];
    const open = state.streaks.get("g").repeatCount;
    taken.push(gift(3, 2, true), gift(2, 2, false));
    const left = state.streaks.size;
    state.replace({seq: 90, viewerCount: 7, totalLikeCount: 5, topViewers: [], room: {isLive: true},
      streaks: [{groupId: "h", repeatCount: 4}]});
    taken.push(gift(90, 9, false), gift(91, 9, false));
    return [taken, open, left, state.viewers, state.likes, [...state.streaks.keys()]];
    """
    taken, opened, left, viewers, likes, streaks = await run(page, "state", body)
    assert taken == [True, False, True, True, False, False, True]
    assert (opened, left, viewers, likes, streaks) == (2, 0, 7, 5, ["h", "g"])


async def test_a_streak_is_one_line_whose_number_ticks_until_it_has_ended(page):
    body = """
    gift("a", 1, false, f.rose); gift("a", 5, false, f.rose);
    const ticking = shown();
    gift("a", 6, true, f.rose);
    const ended = shown();
    now += 2_900; trays.settle(now);
    const held = shown().length;
    now += 200;
    return [ticking, ended, held, trays.settle(now), shown()];
    """
    ticking, ended, held, nothing, gone = await run(
        page, "trays", TRAYS + body, rose=ROSE, mira=MIRA
    )
    assert ticking == [["rose", 5, False]]
    assert ended == [["rose", 6, False]]
    assert (held, nothing, gone) == (1, None, [])


async def test_one_s_own_press_counts_at_once_and_never_twice(page):
    body = """
    trays.press(f.rose, 1, f.mira, now); trays.press(f.rose, 1, f.mira, now); trays.settle(now);
    const pressed = shown();
    gift("a", 1, false, f.rose, true);
    const first = shown();
    gift("a", 2, false, f.rose, true);
    const both = shown();
    trays.press(f.rose, 5, f.mira, now); trays.takeBack(f.rose, 5); trays.settle(now);
    const taken = shown();
    gift("a", 2, true, f.rose, true);
    trays.press(f.rose, 1, f.mira, now); trays.takeBack(f.rose, 1); trays.settle(now);
    return [pressed, first, both, taken, shown()];
    """
    seen = await run(page, "trays", TRAYS + body, rose=ROSE, mira=MIRA)
    assert seen == [[["rose", 2, True]]] * 5


async def test_own_gifts_come_first_then_the_dearest(page):
    body = """
    gift("a", 1, false, f.rose); gift("b", 1, false, f.rose); gift("c", 1, false, f.rose);
    gift("d", 1, true, f.comet);
    const full = shown();
    now += 800;
    trays.press(f.rose, 1, f.mira, now); trays.settle(now);
    const mine = shown();
    now += 9_000; trays.settle(now);
    return [full, mine, trays.waiting.map((line) => line.item.id)];
    """
    full, mine, waiting = await run(page, "trays", TRAYS + body, rose=ROSE, comet=COMET, mira=MIRA)
    assert full == [["rose", 1, False]] * 2
    assert mine == [["rose", 1, False], ["rose", 1, True]]
    assert waiting == []


async def test_effects_wait_in_line_own_ones_first_and_small_ones_stay_small(page):
    body = """
    const queue = new m.EffectQueue();
    const add = (coins, tier, isMine = false, mode = "all") => queue.add({coins, tier, isMine}, mode);
    add(1, 1); add(99, 2); add(5000, 4); add(40, 2, true); add(9999, 4, false, "off"); add(600, 3, false, "small");
    const order = [];
    for (let next; (next = queue.next()); ) order.push([next.coins, next.tier]);
    for (let n = 0; n < 100; n += 1) add(50, 2);
    return [order, queue.waiting.length, Math.max(...Object.values(m.LASTS))];
    """
    order, waiting, longest = await run(page, "effects", body)
    assert order == [[40, 2], [5000, 4], [600, 2], [99, 2]]
    assert waiting == 12
    assert longest <= 5_000


async def test_no_more_than_so_many_particles_fly_and_then_the_loop_rests(page):
    body = """
    const canvas = document.createElement("canvas");
    document.body.append(canvas);
    const pen = canvas.getContext("2d");
    let drawn = 0, most = 0;
    pen.fill = () => (drawn += 1);
    pen.clearRect = () => { most = Math.max(most, drawn); drawn = 0; };
    const particles = new m.Particles(canvas);
    for (let n = 0; n < 10; n += 1) particles.burst("coin", 60, 0.5, 0.5);
    const frame = () => new Promise((next) => requestAnimationFrame(next));
    for (let n = 0; n < 3; n += 1) await frame();
    particles.clear();
    for (let n = 0; n < 3; n += 1) await frame();
    const frames = window.requestAnimationFrame;
    let asked = 0;
    window.requestAnimationFrame = (next) => { asked += 1; return frames(next); };
    await new Promise((next) => frames(() => frames(next)));
    window.requestAnimationFrame = frames;
    canvas.remove();
    return [most, asked];
    """
    most, asked = await run(page, "particles", body)
    assert 0 < most <= 150
    assert asked == 0


async def test_a_gift_keeps_its_key_until_it_has_an_answer(page):
    body = """
    const sent = [], done = [];
    let isOpen = false;
    const gifting = new m.Gifting({
      send: (frame) => isOpen && sent.push(frame.key) > 0,
      post: async ({key}) => { sent.push("post " + key); throw {code: "no_answer"}; },
      done: (gift, answer, refusal) => done.push([gift.key, Boolean(answer), refusal?.code]),
    });
    const {key} = gifting.give(f.rose, 3);
    const coins = gifting.coins;
    await new Promise((next) => setTimeout(next));
    isOpen = true;
    gifting.resend();
    const answers = [gifting.answer({op: "refused", key, code: "ledger_busy"}),
      gifting.answer({op: "ack", key}), gifting.answer({op: "ack", key}), gifting.answer({op: "ack", key: "x"})];
    gifting.resend();
    return [sent.map((each) => each.replace(key, "k")), coins, gifting.coins, answers, done.map(([, ...rest]) => rest)];
    """
    sent, coins, after, answers, done = await run(page, "gifting", body, rose=ROSE)
    assert sent == ["post k", "k"]
    assert (coins, after) == (3, 0)
    assert answers == [True, True, False, False]
    assert done == [[True, None]]


async def test_whoever_waits_long_for_an_answer_is_told_once_until_it_is_there(page):
    body = """
    const told = [];
    const gifting = new m.Gifting({
      send: () => true,
      post: async () => { throw {code: "no_answer"}; },
      done: ({key}) => told.push("done"),
      late: (isLate) => told.push(isLate),
    });
    const quick = gifting.give(f.rose, 1);
    gifting.answer({op: "ack", key: quick.key});
    const [one, two] = [gifting.give(f.rose, 1), gifting.give(f.rose, 1)];
    for (const {key} of [one, two]) gifting.answer({op: "refused", key, code: "ledger_unavailable"});
    for (const {key} of [one, two]) gifting.answer({op: "ack", key});
    return told;
    """
    assert await run(page, "gifting", body, rose=ROSE) == [
        "done",
        True,
        "done",
        "done",
        False,
    ]
