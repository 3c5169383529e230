"""What the simulated audience plans and picks: by a seed, pure."""

import statistics
import uuid
from functools import cache
from itertools import groupby, islice, pairwise, takewhile

from hypothesis import given
from hypothesis import strategies as st

from largesse import ids, text
from largesse.limits import RATES
from largesse.simulate import api, choice, plan
from largesse.simulate.choice import Heard, Item, Package
from largesse.simulate.plan import KINDS, Act, Answer, Follow, Likes, Line, Share, Visit, Wish
from largesse.simulate.sentences import (
    EMOJI,
    GREETINGS,
    LANGUAGES,
    LINES,
    REMARKS,
    REPLIES,
    THANKS,
)

ITEMS = [Item("rose", 1, True), Item("heart", 1, True), Item("kite", 30, True), Item("moon", 5_000)]
PACKAGES = [Package("few", 70), Package("some", 350), Package("many", 17_500)]


def freshly_planned(
    number: int, *, seed: int = 17, viewers: int = 200, creators: int = 10, per_second: float = 20
) -> tuple[Visit, ...]:
    planned = plan.plan(seed, viewers=viewers, creators=creators, gifts_per_second=per_second)
    return tuple(islice(planned, number))


visits = cache(freshly_planned)


def test_the_same_seed_gives_the_same_audience_and_another_seed_another() -> None:
    assert freshly_planned(300) == freshly_planned(300)
    assert freshly_planned(300, seed=18) != freshly_planned(300)
    assert freshly_planned(100) == freshly_planned(300)[:100]


def test_most_gifts_are_cheap_and_few_whales_pay_for_much() -> None:
    planned = visits(3_000)
    wishes = [(visit, wish) for visit in planned for wish in visit.wishes]
    cheap = sum(wish.coins <= 99 for _, wish in wishes) / len(wishes)
    assert 0.95 < cheap < 0.999
    assert 0.4 < sum(wish.coins == 1 for _, wish in wishes) / len(wishes) < 0.7
    coins = sum(wish.coins for _, wish in wishes)
    by_whales = sum(wish.coins for visit, wish in wishes if visit.kind is KINDS["whale"])
    assert by_whales > 0.25 * coins
    assert all(wish.coins <= visit.kind.gift_coins_max for visit, wish in wishes)


def test_there_is_a_whale_however_small_the_audience() -> None:
    for viewers in (1, 2, 20, 200):
        kinds = plan.kinds_of(17, viewers)
        assert len(kinds) == viewers
        assert kinds.count(KINDS["whale"]) == max(1, viewers // 50)
    assert plan.kinds_of(17, 200).count(KINDS["supporter"]) == 20


def test_viewers_arrive_as_a_poisson_process_after_the_opening() -> None:
    """Gaps are exponential: as long on average as their deviation, and by their rate."""
    planned = visits(3_000)
    opening = [visit for visit in planned if visit.at_seconds <= plan.OPENING_SECONDS]
    assert 115 <= len(opening) <= 120
    at = [visit.at_seconds for visit in planned[len(opening) :]]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    expected = plan.SESSION_SECONDS_MEDIAN * 2.718281828**0.5 / 120
    assert min(gaps) >= 0
    assert abs(statistics.mean(gaps) / expected - 1) < 0.1
    assert abs(statistics.stdev(gaps) / statistics.mean(gaps) - 1) < 0.1


def test_sessions_are_log_normal() -> None:
    lengths = sorted(visit.lasts_seconds for visit in visits(3_000))
    median = plan.SESSION_SECONDS_MEDIAN
    assert abs(statistics.median(lengths) / median - 1) < 0.1
    # One standard deviation of the logarithm to either side holds 68%.
    within = sum(median / 2.718 < length < median * 2.718 for length in lengths) / len(lengths)
    assert 0.64 < within < 0.72
    assert lengths[-1] <= plan.SESSION_SECONDS_MAX


def test_creators_are_popular_by_zipf() -> None:
    planned = visits(3_000)
    counts = [sum(visit.creator == n for visit in planned) for n in range(10)]
    harmonic = sum(1 / rank for rank in range(1, 11))
    for rank, visitors in enumerate(counts, 1):
        assert abs(visitors / len(planned) - 1 / rank / harmonic) < 0.03


def test_the_audience_wishes_to_send_as_many_gifts_as_it_was_told() -> None:
    """Counted over the hour after the rooms have settled."""
    planned = visits(2_400, per_second=5)
    sent = [visit.at_seconds + wish.after_seconds for visit in planned for wish in visit.wishes]
    assert planned[-1].at_seconds > 7_200
    within = sum(3_600 <= at < 7_200 for at in sent)
    assert abs(within / 3_600 / 5 - 1) < 0.15


def test_some_wishes_are_combos_and_all_presses_together_are_the_gifts_it_was_told() -> None:
    """A combo is one cheap item again and again, a few hundred milliseconds apart."""
    combos = []
    for visit in visits(3_000):
        wishes = sorted(visit.wishes, key=lambda wish: (wish.coins, wish.draw, wish.after_seconds))
        groups = groupby(wishes, key=lambda wish: (wish.coins, wish.draw))
        combos += [combo for _, presses in groups if len(combo := list(presses)) > 1]
    presses = [press for combo in combos for press in combo]
    assert len(combos) > 500
    assert all(press.quantity == 1 for press in presses)
    assert all(press.coins <= plan.COMBO_COINS_MAX for press in presses)
    assert not any(combo[0].repeats for combo in combos)
    assert all(press.repeats for combo in combos for press in combo[1:])
    assert abs(len(presses) / len(combos) - plan.COMBO_PRESSES_MEAN) < 0.5
    assert max(len(combo) for combo in combos) <= plan.COMBO_PRESSES_MAX
    pauses = [b.after_seconds - a.after_seconds for combo in combos for a, b in pairwise(combo)]
    assert plan.PRESS_SECONDS[0] - 1e-6 <= min(pauses)
    assert max(pauses) <= plan.PRESS_SECONDS[1] + 1e-6


def acts_a_second(sort: type[Act], *, per_second: float) -> float:
    """How many acts of this sort there are in the hour after the rooms have settled."""
    planned = visits(2_400, per_second=per_second)
    at = [
        visit.at_seconds + act.after_seconds
        for visit in planned
        for act in visit.acts
        if isinstance(act, sort)
    ]
    return sum(3_600 <= when < 7_200 for when in at) / 3_600


def test_lines_and_likes_follow_the_gifts_up_to_what_one_person_does() -> None:
    chatty = plan.CHATTY_SHARE * 120  # Of those who are present.
    assert abs(acts_a_second(Line, per_second=5) / (5 * plan.CHAT_PER_GIFT) - 1) < 0.25
    assert acts_a_second(Line, per_second=500) < chatty * plan.CHAT_PER_SECOND_MAX * 1.3
    frames = plan.BURST_LIKES_MEAN / (sum(plan.LIKES_AT_ONCE) / 2)
    bursts = acts_a_second(Likes, per_second=5) / (5 * plan.BURSTS_PER_GIFT)
    assert frames * 0.8 < bursts < frames * 1.3
    assert acts_a_second(Likes, per_second=500) < 120 * plan.BURSTS_PER_SECOND_MAX * frames * 1.4


def test_everything_happens_in_its_order_and_before_the_visitor_leaves() -> None:
    for visit in visits(1_000):
        times = [act.after_seconds for act in visit.acts]
        assert times == sorted(times)
        assert all(0 <= after < visit.lasts_seconds for after in times)


def test_likes_are_told_a_few_at_a_time_and_slowly_enough_for_the_server() -> None:
    likes = [act for visit in visits(1_000) for act in visit.acts if isinstance(act, Likes)]
    assert {act.count for act in likes} <= set(range(1, plan.LIKES_AT_ONCE[1] + 1))
    assert abs(sum(act.count for act in likes) / len(likes) - 3.2) < 0.6
    assert RATES["like"].times > 1 / plan.LIKES_SECONDS


def test_some_follow_some_share_and_many_only_watch() -> None:
    planned = visits(3_000)

    def share(sort: type[Act]) -> float:
        return sum(any(isinstance(act, sort) for act in visit.acts) for visit in planned) / 3_000

    assert abs(share(Follow) - plan.FOLLOW_SHARE) < 0.02
    assert abs(share(Share) - plan.SHARE_SHARE) < 0.02
    assert 0.3 < share(Line) < plan.CHATTY_SHARE + 0.02


def test_the_audience_speaks_many_languages_and_everything_it_says_can_be_shown() -> None:
    said = {act.text for visit in visits(3_000) for act in visit.acts if isinstance(act, Line)}
    known = {line for lines in (*GREETINGS.values(), *LINES.values()) for line in lines}
    assert said <= known | set(EMOJI)
    assert len(said) > 90
    assert set(GREETINGS) == set(LINES) == set(LANGUAGES) == set(plan.languages_of(17, 5_000))
    for line in known | set(EMOJI) | {*REMARKS}:
        assert text.chat_text(line) == line


def test_each_viewer_has_a_language_of_his_own_and_some_english() -> None:
    languages = plan.languages_of(17, 200)
    for visit in visits(3_000):
        language = languages[visit.viewer]
        allowed = {*GREETINGS[language], *LINES[language], *LINES["en"], *EMOJI}
        assert {act.text for act in visit.acts if isinstance(act, Line)} <= allowed


def test_popular_creators_say_more_and_nobody_talks_without_a_pause() -> None:
    def spoken(creator: int, per_second: float = 5) -> list[Answer]:
        answers = plan.answers(17, creator=creator, creators=6, gifts_per_second=per_second)
        return list(takewhile(lambda answer: answer.at_seconds < 36_000, answers))

    assert spoken(0) == spoken(0)
    assert len(spoken(0)) > len(spoken(2)) > len(spoken(5)) > 100
    fast = [answer.at_seconds for answer in spoken(0, 10_000)]
    assert min(b - a for a, b in pairwise(fast)) >= plan.ANSWER_SECONDS_MIN


@given(draw=st.floats(0, 1, exclude_max=True), name=st.text(min_size=1, max_size=50))
def test_a_creator_thanks_for_a_gift_replies_by_name_or_speaks_of_something_else(
    draw: float, name: str
) -> None:
    answer = Answer(0.0, draw)
    assert choice.sentence_for(answer, None) in REMARKS
    for is_gift, sentences in ((True, THANKS), (False, REPLIES)):
        said = choice.sentence_for(answer, Heard(name, is_gift))
        assert said in [sentence.replace("{name}", name) for sentence in sentences]
        assert len(said) <= text.CHAT_LENGTH_MAX


def test_nobody_is_in_two_rooms_at_once() -> None:
    leaves_at: dict[int, float] = {}
    for visit in visits(1_000, viewers=7, per_second=0.5):
        assert leaves_at.get(visit.viewer, 0.0) <= visit.at_seconds
        leaves_at[visit.viewer] = visit.at_seconds + visit.lasts_seconds
        times = [wish.after_seconds for wish in visit.wishes]
        assert times == sorted(times)
        assert all(0 < after < visit.lasts_seconds for after in times)


def test_some_recharge_first_some_cards_are_declined_and_webhooks_travel_every_way() -> None:
    planned = visits(3_000)
    first = sum(visit.recharge_draw is not None for visit in planned) / len(planned)
    declined = sum(visit.declines for visit in planned) / len(planned)
    assert abs(first - plan.RECHARGE_FIRST_SHARE) < 0.03
    assert abs(declined - plan.DECLINED_SHARE) < 0.01
    assert {visit.webhook for visit in planned} == set(plan.WEBHOOKS)


def test_one_viewer_of_one_creator_is_an_audience() -> None:
    assert len(visits(50, viewers=1, creators=1, per_second=0.01)) == 50


@given(draw=st.floats(0, 1, exclude_max=True))
def test_a_draw_picks_by_weight(draw: float) -> None:
    assert plan.pick(["a", "b", "c"], [1, 2, 1], draw) == (
        "a" if draw < 0.25 else "b" if draw < 0.75 else "c"
    )


def test_the_dearest_item_that_a_wish_can_pay_for_is_sent() -> None:
    def sent(coins: int, draw: float = 0.0) -> str:
        return choice.item_for(ITEMS, Wish(0.0, coins, 1, draw)).id

    assert [sent(1), sent(1, 0.7), sent(29), sent(30), sent(4_999), sent(50_000)] == [
        *("rose", "heart", "rose", "kite", "kite", "moon")
    ]
    assert choice.item_for(ITEMS[3:], Wish(0.0, 1, 1, 0.0)).id == "moon"


def test_only_streakable_items_are_sent_in_numbers_and_within_what_he_gives() -> None:
    def quantity(item: Item, wished: int, kind: str) -> int:
        return choice.quantity_for(item, Wish(0.0, 1, wished, 0.0), KINDS[kind])

    assert quantity(ITEMS[0], 99, "regular") == 99
    assert quantity(ITEMS[2], 99, "regular") == 16  # 500 coins are 16 kites.
    assert quantity(ITEMS[2], 99, "whale") == 99
    assert quantity(ITEMS[3], 99, "whale") == 1
    assert quantity(Item("sun", 600, True), 5, "regular") == 1


def test_a_regular_chooses_small_packages_and_a_whale_large_ones() -> None:
    def shares(kind: str) -> list[float]:
        draws = [(n + 0.5) / 1_000 for n in range(1_000)]
        chosen = [choice.package_for(PACKAGES, KINDS[kind], draw).coins for draw in draws]
        return [chosen.count(package.coins) / 1_000 for package in PACKAGES]

    assert shares("regular") == [0.605, 0.272, 0.123]
    assert shares("whale") == [0.194, 0.310, 0.496]


def test_who_runs_short_buys_the_offer_unless_it_would_not_last() -> None:
    few, some, many = PACKAGES
    assert choice.package_that_lasts(PACKAGES, few, 70) == few
    assert choice.package_that_lasts(PACKAGES, few, 71) == some
    assert choice.package_that_lasts(PACKAGES, some, 1) == some
    assert choice.package_that_lasts(PACKAGES, few, 99_999) == many
    assert choice.package_that_lasts([], few, 99_999) == few


@given(milliseconds=st.integers(2**40, 2**48 - 1), entropy=st.binary(min_size=10, max_size=10))
def test_keys_are_uuids_that_carry_their_time(milliseconds: int, entropy: bytes) -> None:
    key = api.key_of(milliseconds, entropy)
    parsed = uuid.UUID(key)
    assert (str(parsed), parsed.version, parsed.variant) == (key, 7, uuid.RFC_4122)
    assert ids.key_time(ids.from_key("ana", key)) == milliseconds


def test_keys_differ_by_every_random_bit() -> None:
    keys = {api.key_of(1, (1 << bit).to_bytes(10, "big")) for bit in range(74)}
    assert len(keys) == 74
