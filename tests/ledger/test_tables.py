"""Pages of the ledger, on every engine and on the oracle. `tests/ledger_script.py` reads them."""

from pathlib import Path

import pytest

from largesse.clock import SECOND, ManualClock
from largesse.ledger.model import AccountOutcome, Outcome
from tests import ledger_script
from tests.ledger.conftest import ENGINES, Check, open_engine
from tests.ledger.oracle import Oracle


async def test_a_chain_is_created_whole_or_not_at_all(check: Check) -> None:
    """The commission leg overdraws the wallet, so the earnings leg before it is undone too."""
    await check("""
        account  bank       may_overdraw
        account  wallet
        account  earnings
        account  commission

        transfer T1  bank    wallet      100  -> created

        transfer T2  wallet  earnings     60  &
        transfer T3  wallet  commission   50  -> exceeds_credits
        balance      wallet              100
        balance      earnings              0
        absent   T2
        refused  T3  exceeds_credits     100

        transfer T4  wallet  earnings     60  &
        transfer T5  wallet  commission   40  -> created
        balance      wallet                0
        balance      earnings             60
        balance      commission           40
    """)


async def test_a_retry_moves_nothing_twice(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet

        transfer T1  bank  wallet  100  -> created
        transfer T1  bank  wallet  100  -> exists
        transfer T1  bank  wallet  999  -> exists_with_different_amount
        balance            wallet  100
    """)


async def test_a_chain_exists_only_when_all_of_it_does(check: Check) -> None:
    """A chain that was seen in part is neither done nor doable."""
    await check("""
        account  bank  may_overdraw
        account  wallet

        transfer T1  bank  wallet  10  &
        transfer T2  bank  wallet  20  -> created

        transfer T1  bank  wallet  10  &
        transfer T2  bank  wallet  20  -> exists
        transfer T1  bank  wallet  10  -> exists
        transfer T2  bank  wallet  20  &
        transfer T1  bank  wallet  10  -> exists

        transfer T1  bank  wallet  10  &
        transfer T3  bank  wallet  20  -> exists_with_different_chain
        transfer T3  bank  wallet  20  &
        transfer T1  bank  wallet  10  -> exists_with_different_chain
        transfer T1  bank  wallet  10  &
        transfer T2  bank  wallet  21  -> exists_with_different_chain
        transfer T1  bank  wallet  11  &
        transfer T2  bank  wallet  20  -> exists_with_different_amount
        transfer T3  bank  wallet  20  &
        transfer T2  bank  wallet  21  -> exists_with_different_amount
        absent   T3
        balance  wallet            30

        transfer T3  bank  wallet   5  -> created
    """)


async def test_two_transfers_of_one_chain_never_share_an_id(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet

        transfer T1  bank  wallet  10  &
        transfer T1  bank  wallet  10  -> exists_with_different_chain
        absent   T1
        transfer T1  bank  wallet  10  &
        transfer T1  bank  wallet  11  -> exists_with_different_amount
        absent   T1
        balance  wallet             0

        transfer T1  bank  wallet  10  -> created
        transfer T1  bank  wallet  10  &
        transfer T1  bank  wallet  10  -> exists
        balance  wallet            10
    """)


async def test_a_chain_sees_what_it_did_itself(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet
        account  earnings

        transfer T1  bank    wallet    10  &
        transfer T2  wallet  earnings   4  &
        transfer T3  wallet  earnings   7  -> exceeds_credits
        refused  T3  exceeds_credits    0
        totals   wallet  0 0 0 0

        pending  P1  bank    wallet    10  &
        post     Q1  P1      all           &
        transfer T4  wallet  earnings  10  -> created
        balance  earnings              10
    """)


async def test_a_no_never_becomes_a_yes(check: Check) -> None:
    """The wallet could pay later; the id that heard the refusal cannot, whatever is asked under it."""
    await check("""
        account  bank  may_overdraw
        account  wallet
        account  earnings

        transfer T1  wallet  earnings  10  -> exceeds_credits
        refused  T1  exceeds_credits    0
        transfer T2  bank    wallet    50  -> created

        transfer T1  wallet  earnings  10  -> id_already_failed
        transfer T1  wallet  earnings   1  -> id_already_failed
        transfer T1  bank    wallet     1  -> id_already_failed
        post     T1  T2      all           -> id_already_failed
        transfer T3  bank    wallet     1  &
        transfer T1  bank    wallet     1  -> id_already_failed
        refused  T1  exceeds_credits    0
        absent   T3
        transfer T3  wallet  earnings  10  -> created
    """)


async def test_of_a_refused_chain_only_the_transfer_that_failed_is_used_up(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet
        account  earnings

        transfer T1  bank    wallet    10  &
        transfer T2  wallet  earnings  11  &
        transfer T3  bank    wallet    10  -> exceeds_credits
        refused  T2  exceeds_credits    0

        transfer T1  bank    wallet    10  &
        transfer T2  wallet  earnings  11  &
        transfer T3  bank    wallet    10  -> id_already_failed
        transfer T1  bank    wallet    10  -> created
        transfer T3  bank    wallet    10  -> created
    """)


async def test_each_passing_refusal_uses_up_the_id(check: Check) -> None:
    await check("""
        account  bank   may_overdraw
        account  purse  may_overfill
        account  wallet
        account  shut   closed

        transfer T1  nobody  wallet  1  -> debit_account_not_found
        transfer T2  bank    nobody  1  -> credit_account_not_found
        post     T3  ghost   all        -> pending_transfer_not_found
        transfer T4  wallet  bank    3  -> exceeds_credits
        transfer T5  bank    purse   3  -> exceeds_debits
        transfer T6  shut    wallet  0  -> debit_account_already_closed
        transfer T7  bank    shut    0  -> credit_account_already_closed

        transfer T1  bank  wallet  1  -> id_already_failed
        transfer T2  bank  wallet  1  -> id_already_failed
        transfer T3  bank  wallet  1  -> id_already_failed
        transfer T4  bank  wallet  1  -> id_already_failed
        transfer T5  bank  wallet  1  -> id_already_failed
        transfer T6  bank  wallet  1  -> id_already_failed
        transfer T7  bank  wallet  1  -> id_already_failed

        refused  T1  debit_account_not_found
        refused  T2  credit_account_not_found
        refused  T3  pending_transfer_not_found
        refused  T4  exceeds_credits  0
        refused  T5  exceeds_debits   0
        refused  T6  debit_account_already_closed
        refused  T7  credit_account_already_closed
    """)


async def test_a_malformed_request_leaves_its_id_free(check: Check) -> None:
    await check("""
        account  bank    may_overdraw
        account  bonds   may_overdraw  ledger=2
        account  wallet

        transfer T1  bank  bank    1              -> accounts_must_be_different
        transfer T1  bank  wallet  1  code=0      -> code_must_not_be_zero
        transfer T1  bank  bonds   1              -> accounts_must_have_the_same_ledger
        void     T1  T1                           -> pending_id_must_be_different
        transfer T1  bank  wallet  max            -> created
        transfer T2  bank  wallet  1              -> overflows_debits_posted
        transfer T2  bank  wallet  0              -> created
    """)


async def test_a_pending_transfer_reserves_and_a_post_moves(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet
        account  earnings

        transfer T1  bank    wallet    100  -> created
        pending  P1  wallet  earnings   60  -> created
        totals   wallet    60 0 0 100
        totals   earnings  0 0 60 0
        transfer T2  wallet  earnings   41  -> exceeds_credits
        refused  T2  exceeds_credits    40

        post     Q1  P1  all                -> created
        totals   wallet    0 60 0 100
        totals   earnings  0 0 0 60
        moved    Q1  60
        post     Q1  P1  all                -> exists
        post     Q2  P1  all                -> pending_transfer_already_posted
        void     Q3  P1                     -> pending_transfer_already_posted
    """)


async def test_a_partial_post_gives_the_rest_back(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet
        account  earnings

        transfer T1  bank    wallet    100  -> created
        pending  P1  wallet  earnings   60  -> created
        post     Q0  P1  61                 -> exceeds_pending_transfer_amount
        post     Q0  P1  max-1              -> exceeds_pending_transfer_amount
        post     Q1  P1  25                 -> created
        moved    Q1  25
        moved    P1  60
        totals   wallet    0 25 0 100
        totals   earnings  0 0 0 25

        post     Q1  P1  25                 -> exists
        post     Q1  P1  all                -> exists_with_different_amount
        post     Q1  P1  60                 -> exists_with_different_amount
        post     Q2  P1  35                 -> pending_transfer_already_posted

        pending  P2  wallet  earnings   75  -> created
        post     Q3  P2  0                  -> created
        moved    Q3  0
        totals   wallet    0 25 0 100
        post     Q3  P2  0                  -> exists
        post     Q3  P2  all                -> exists_with_different_amount
    """)


async def test_a_post_of_everything_is_the_same_as_a_post_of_the_amount(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet

        pending  P1  bank  wallet  60  -> created
        post     Q1  P1  all           -> created
        post     Q1  P1  60            -> exists
        post     Q1  P1  59            -> exists_with_different_amount
        post     Q1  P1  61            -> exists_with_different_amount

        pending  P2  bank  wallet  60  -> created
        post     Q2  P2  60            -> created
        post     Q2  P2  all           -> exists
    """)


async def test_a_void_gives_everything_back(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet

        pending  P1  bank  wallet  60  -> created
        void     Q1  P1  59            -> pending_transfer_has_different_amount
        void     Q1  P1  61            -> exceeds_pending_transfer_amount
        void     Q1  P1  max           -> exceeds_pending_transfer_amount
        void     Q1  P1                -> created
        moved    Q1  60
        totals   wallet  0 0 0 0
        totals   bank    0 0 0 0

        void     Q1  P1                -> exists
        void     Q1  P1  60            -> exists
        void     Q1  P1  59            -> exists_with_different_amount
        void     Q2  P1                -> pending_transfer_already_voided
        post     Q3  P1  all           -> pending_transfer_already_voided

        pending  P2  bank  wallet  60  -> created
        void     Q4  P2  60            -> created
        void     Q4  P2                -> exists
    """)


async def test_nothing_pending_can_still_be_posted_and_voided(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet

        pending  P1  bank  wallet  0   -> created
        post     Q1  P1  all           -> created
        moved    Q1  0
        post     Q1  P1  0             -> exists
        void     Q2  P1                -> pending_transfer_already_posted
        pending  P2  bank  wallet  0   -> created
        void     Q3  P2                -> created
        void     Q4  P2  1             -> exceeds_pending_transfer_amount
        void     Q4  P2                -> pending_transfer_already_voided
    """)


async def test_a_post_takes_what_it_leaves_out_from_the_pending_transfer(check: Check) -> None:
    """It may name the accounts, ledger and code; its own user data stay its own."""
    await check("""
        account  bank  may_overdraw
        account  wallet

        pending  P1  bank wallet 5 code=7 user_data_128=ana user_data_64=64 user_data_32=32 -> created
        post     Q1  P1  5                                                            -> created
        post     Q1  P1  5  debit_account_id=bank credit_account_id=wallet ledger=1 code=7 -> exists
        post     Q1  P1  5  user_data_128=ana user_data_64=64 user_data_32=32         -> exists
        post     Q1  P1  5  user_data_128=bo  -> exists_with_different_user_data_128
        post     Q1  P1  5  user_data_64=63   -> exists_with_different_user_data_64
        post     Q1  P1  5  user_data_32=31   -> exists_with_different_user_data_32

        pending  P2  bank wallet 5 code=7 user_data_128=ana user_data_64=64 user_data_32=32 -> created
        void     Q2  P2  user_data_128=bo user_data_64=63 user_data_32=31             -> created
        void     Q2  P2  user_data_128=bo user_data_64=63 user_data_32=31             -> exists
        void     Q2  P2  user_data_64=63 user_data_32=31  -> exists_with_different_user_data_128
        void     Q2  P2  user_data_128=bo user_data_32=31 -> exists_with_different_user_data_64
        void     Q2  P2  user_data_128=bo user_data_64=63 -> exists_with_different_user_data_32
    """)


async def test_a_pending_transfer_runs_out(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet
        account  earnings

        transfer T1  bank    wallet    10            -> created
        pending  P1  wallet  earnings  10  timeout=5 -> created
        wait     4
        totals   wallet  10 0 0 10
        transfer T2  wallet  earnings   1            -> exceeds_credits
        wait     2
        totals   wallet  0 0 0 10
        totals   earnings  0 0 0 0
        post     Q1  P1  all                         -> pending_transfer_expired
        void     Q1  P1                              -> pending_transfer_expired
        pending  P1  wallet  earnings  10  timeout=5 -> exists
        pending  P1  wallet  earnings  10  timeout=6 -> exists_with_different_timeout
        pending  P1  wallet  earnings  10            -> exists_with_different_timeout
        transfer T3  wallet  earnings  10            -> created
    """)


async def test_what_was_posted_or_voided_in_time_never_runs_out(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet

        pending  P1  bank  wallet  10  timeout=5  -> created
        pending  P2  bank  wallet  20  timeout=5  -> created
        pending  P3  bank  wallet  40             -> created
        post     Q1  P1  7                        -> created
        void     Q2  P2                           -> created
        wait     4000000000
        totals   wallet  0 0 40 7
        post     Q3  P1  7                        -> pending_transfer_already_posted
        void     Q4  P2                           -> pending_transfer_already_voided
        post     Q5  P3  all                      -> created
        balance  wallet  47
    """)


async def test_expiry_makes_room_for_the_chain_that_comes_next(check: Check) -> None:
    """No need to wait for anything: what is due expires before the next chain is decided."""
    await check("""
        account  bank   may_overdraw
        account  wallet
        account  earnings
        transfer T1  bank    wallet    10             -> created
        pending  P1  wallet  earnings   4  timeout=1  -> created
        pending  P2  wallet  earnings   6  timeout=2  -> created
        pass     1
        pass     2
        transfer T2  wallet  earnings  10             -> created
        balance  earnings  10
    """)


async def test_a_balancing_debit_moves_what_is_there(check: Check) -> None:
    await check("""
        account  bank  may_overdraw
        account  wallet
        account  earnings

        transfer T1  bank    wallet    30                   -> created
        pending  P1  wallet  earnings  10                   -> created
        transfer T2  wallet  earnings  max balancing_debit  -> created
        moved    T2  20
        transfer T3  wallet  earnings  max balancing_debit  -> created
        moved    T3  0
        totals   wallet  10 20 0 30

        transfer T2  wallet  earnings  max balancing_debit  -> exists
        transfer T2  wallet  earnings  20  balancing_debit  -> exists
        transfer T2  wallet  earnings  19  balancing_debit  -> exists_with_different_amount
        transfer T2  wallet  earnings  20                   -> exists_with_different_flags
        transfer T3  wallet  earnings  0   balancing_debit  -> exists

        transfer T4  bank    wallet    5                    -> created
        transfer T5  wallet  earnings  3   balancing_debit  -> created
        moved    T5  3
    """)


async def test_a_balancing_credit_fills_up_to_the_debits(check: Check) -> None:
    """A debt is repaid out of the wallet: no more than is owed, no more than is there."""
    await check("""
        account  bank   may_overdraw
        account  wallet
        account  debt   may_overfill
        account  loss   may_overdraw

        transfer T1  debt    loss  30                                     -> created
        transfer T2  bank    wallet  20                                   -> created
        transfer T3  wallet  debt  100  balancing_debit balancing_credit  -> created
        moved    T3  20
        transfer T4  bank    wallet  50                                   -> created
        transfer T5  wallet  debt  50   balancing_debit balancing_credit  -> created
        moved    T5  10
        balance  wallet  40
        balance  debt    0
        transfer T6  wallet  debt  50   balancing_debit balancing_credit  -> created
        moved    T6  0
        transfer T7  wallet  debt  max  balancing_credit                  -> created
        moved    T7  0
        transfer T8  wallet  debt  1                                      -> exceeds_debits
        refused  T8  exceeds_debits  0
    """)


async def test_balancing_needs_no_limit_on_the_account(check: Check) -> None:
    """An account that may overdraw balances with what it has, and with nothing once it is overdrawn."""
    await check("""
        account  bank    may_overdraw
        account  till    may_overdraw
        account  wallet

        transfer T1  bank  till    10                          -> created
        transfer T2  till  wallet  15  balancing_debit         -> created
        moved    T2  10
        transfer T3  bank  wallet  15  balancing_debit         -> created
        moved    T3  0
        pending  P1  bank  till    5   balancing_credit        -> created
        moved    P1  0
        pending  P2  wallet  till  7   balancing_debit balancing_credit  -> created
        moved    P2  0
        transfer T4  till  bank    8                           -> created
        pending  P3  wallet  till  9   balancing_debit balancing_credit  -> created
        moved    P3  8
        totals   wallet  8 0 0 10
        post     Q1  P3  all                                   -> created
        balance  wallet  2
    """)


async def test_balancing_does_not_excuse_from_the_other_limit(check: Check) -> None:
    await check("""
        account  bank   may_overdraw
        account  wallet
        account  debt   may_overfill

        transfer T1  bank    wallet  20                    -> created
        transfer T2  wallet  debt    20  balancing_debit   -> exceeds_debits
        transfer T3  debt    bank    50                    -> created
        transfer T4  wallet  debt    40  balancing_credit  -> exceeds_credits
        refused  T4  exceeds_credits  20
    """)


async def test_a_closed_account_takes_nothing_until_its_closing_is_voided(check: Check) -> None:
    await check("""
        account  bank    may_overdraw
        account  wallet
        account  earnings
        transfer T1  bank    wallet    10                 -> created
        pending  P1  wallet  earnings   4                 -> created
        pending  C1  wallet  earnings   0  closing_debit  -> created
        closed   wallet
        open     earnings

        transfer T2  wallet  earnings   1  -> debit_account_already_closed
        transfer T3  bank    wallet     1  -> credit_account_already_closed
        pending  C2  wallet  earnings   0  closing_debit  -> debit_account_already_closed
        post     Q1  P1  all               -> debit_account_already_closed
        post     Q2  C1  all               -> debit_account_already_closed
        void     Q3  P1                    -> created
        closed   wallet
        void     Q4  C1                    -> created
        open     wallet
        transfer T4  wallet  earnings  10  -> created
        post     Q2  C1  all               -> id_already_failed
        post     Q5  C1  all               -> pending_transfer_already_voided
    """)


async def test_a_refused_chain_leaves_a_closed_account_closed(check: Check) -> None:
    """The void inside it had opened both sides for a moment; the overdraft behind it undoes that."""
    await check("""
        account  bank    may_overdraw
        account  wallet
        account  earnings
        transfer T1  bank    wallet    10                                -> created
        pending  C1  wallet  earnings   0  closing_debit closing_credit  -> created
        void     V1  C1                    &
        transfer T2  wallet  bank      11  -> exceeds_credits
        closed   wallet
        closed   earnings
        absent   V1
        void     V1  C1                    -> created
        open     wallet
        open     earnings
    """)


async def test_a_closed_account_that_is_asked_for_again_is_there(check: Check) -> None:
    """Ours: whether it is closed at the moment does not tell two requests apart."""
    await check("""
        account  bank    may_overdraw
        account  wallet
        pending  C1  bank  wallet  0  closing_credit  -> created
        account  wallet         -> exists
        account  late    closed -> created
        account  late           -> exists
        transfer T1  bank  late  1  -> credit_account_already_closed
    """)


async def test_an_account_closes_with_all_that_it_has(check: Check) -> None:
    """TigerBeetle's recipe: a balancing, closing, pending debit."""
    await check("""
        account  bank    may_overdraw
        account  wallet
        transfer T1  bank    wallet  10                              -> created
        pending  C1  wallet  bank    max balancing_debit closing_debit -> created
        moved    C1  10
        closed   wallet
        totals   wallet  10 0 0 10
        pending  C1  wallet  bank    10 balancing_debit closing_debit -> exists
        void     Q1  C1  10                                          -> created
        open     wallet
    """)


async def test_one_transfer_closes_both_sides_and_a_closing_runs_out_too(check: Check) -> None:
    await check("""
        account  bank    may_overdraw
        account  wallet
        account  earnings
        pending  C1  bank  wallet  0  closing_debit closing_credit timeout=3  -> created
        closed   bank
        closed   wallet
        transfer T1  bank  earnings  1  -> debit_account_already_closed
        transfer T2  earnings  wallet  0  -> credit_account_already_closed
        wait     3
        wait     1
        open     bank
        open     wallet
        void     Q1  C1                 -> pending_transfer_expired
        transfer T3  bank  wallet  1    -> created
        pending  C2  bank  wallet  0  closing_credit  -> created
        open     bank
        closed   wallet
        pending  P1  bank  earnings  5  -> created
        pending  C3  bank  earnings  0  closing_credit  -> created
        post     Q2  P1  all            -> credit_account_already_closed
        void     Q3  P1  5              -> created
    """)


async def test_a_reservation_on_a_closed_account_runs_out_and_leaves_it_closed(
    check: Check,
) -> None:
    await check("""
        account  bank    may_overdraw
        account  wallet
        pending  P1  bank  wallet  5  timeout=2       -> created
        pending  C1  bank  wallet  0  closing_credit  -> created
        totals   wallet  0 0 5 0
        wait     2
        wait     1
        totals   wallet  0 0 0 0
        closed   wallet
    """)


async def test_limits_hold_on_both_sides(check: Check) -> None:
    """Pending amounts count against a limit; pending income does not count for it."""
    await check("""
        account  bank    may_overdraw
        account  wallet
        account  debt    may_overfill

        pending  P1  bank    wallet  10  -> created
        transfer T1  wallet  bank     1  -> exceeds_credits
        refused  T1  exceeds_credits  0
        post     Q1  P1      all         -> created
        pending  P2  wallet  bank     4  -> created
        transfer T2  wallet  bank     7  -> exceeds_credits
        refused  T2  exceeds_credits  6
        transfer T3  wallet  bank     6  -> created

        pending  P3  debt    bank    10  -> created
        transfer T4  bank    debt     1  -> exceeds_debits
        post     Q3  P3      all         -> created
        pending  P4  bank    debt     4  -> created
        transfer T5  bank    debt     7  -> exceeds_debits
        refused  T5  exceeds_debits   6
        transfer T6  bank    debt     6  -> created
        balance  debt  -4
        transfer T7  wallet  debt     0  -> created
    """)


async def test_totals_stop_at_the_largest_amount(check: Check) -> None:
    await check("""
        account  a  may_overdraw
        account  b  may_overdraw
        account  c  may_overdraw
        account  d  may_overdraw

        transfer T1  a  b  max         -> created
        transfer T2  a  c  1           -> overflows_debits_posted
        transfer T2  c  b  1           -> overflows_credits_posted
        transfer T2  a  b  0           -> created
        pending  P1  a  c  1           -> overflows_debits_posted
        pending  P1  c  b  1           -> overflows_credits_posted

        pending  P1  c  d  max         -> created
        pending  P2  c  b  1           -> overflows_debits_pending
        pending  P2  b  d  1           -> overflows_credits_pending
        transfer T3  c  a  1           -> overflows_debits
        transfer T3  b  d  1           -> overflows_credits
        totals   c  max 0 0 0
        totals   d  0 0 max 0
        post     Q1  P1  max-1         -> created
        transfer T3  c  a  1           -> created
        transfer T4  c  a  1           -> overflows_debits_posted
        balance  d  max-1
        balance  c  -max
    """)


async def test_an_account_is_created_once(check: Check) -> None:
    await check("""
        account  wallet  user_data_128=ana user_data_64=64 user_data_32=32            -> created
        account  wallet  user_data_128=ana user_data_64=64 user_data_32=32            -> exists
        account  wallet  may_overdraw user_data_128=bo code=9 -> exists_with_different_flags
        account  wallet  user_data_128=bo code=9              -> exists_with_different_user_data_128
        account  wallet  user_data_128=ana code=9             -> exists_with_different_user_data_64
        account  wallet  user_data_128=ana user_data_64=64 ledger=9 code=9 -> exists_with_different_user_data_32
        account  wallet  user_data_128=ana user_data_64=64 user_data_32=32 ledger=9 code=9 -> exists_with_different_ledger
        account  wallet  user_data_128=ana user_data_64=64 user_data_32=32 code=9 -> exists_with_different_code
    """)


@pytest.mark.parametrize("engine", ["oracle", *ENGINES])
async def test_a_timeout_past_the_end_of_time_is_refused(engine: str, tmp_path: Path) -> None:
    """An instant is at most 2^63 - 1 nanoseconds, in the year 2262; the very last one is allowed."""
    clock = ManualClock(2**63 - 1 - 200 * SECOND)
    ledger = await open_engine(engine, tmp_path / "ledger.sqlite", clock)
    await ledger_script.check(
        ledger,
        clock,
        """
        account  a  may_overdraw
        account  b
        account  poor
        pass     100
        pending  P  a     b  1  timeout=100  -> created
        pending  Q  a     b  1  timeout=100  -> overflows_timeout
        pending  Q  poor  b  1  timeout=100  -> overflows_timeout
        pending  Q  poor  b  1  timeout=99   -> exceeds_credits
        """,
    )
    await ledger.close()


def test_every_outcome_stands_on_some_page() -> None:
    """A new outcome needs a line that shows it."""
    pages = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for outcome in [*Outcome, *AccountOutcome]:
        assert f"-> {outcome}\n" in pages, outcome


async def test_a_wrong_page_is_found() -> None:
    """The reader of pages is not too kind: outcomes, balances and unknown words are really looked at."""
    clock = ManualClock()
    wrong_pages = [
        "account a -> created",
        "account b may_overdraw\n account c\n transfer T b c 1 -> exists",
        "balance a 7",
        "totals a 0 0 0 2",
        "absent T\n moved T 1",
        "moved T 2",
        "closed a",
        "refused T exceeds_credits",
    ]
    ledger = Oracle(clock)
    await ledger_script.check(
        ledger, clock, "account a \n account x may_overdraw \n transfer T x a 1 -> created"
    )
    for page in wrong_pages:
        with pytest.raises(AssertionError):
            await ledger_script.check(ledger, clock, page)
    for page in ["sing a song", "transfer T2 a x 1 &", "transfer T2 a", "account a maybe"]:
        with pytest.raises(ledger_script.ScriptError):
            await ledger_script.check(ledger, clock, page)
