"""
Which refusal is heard where several apply: pages in TigerBeetle's order of precedence.

Each page sends one request with everything wrong and mends, line by line, its first fault.
"""

from tests.ledger.conftest import Check


async def test_account_errors_by_descending_precedence(check: Check) -> None:
    await check("""
        account wallet -> created
        account zero both_limits reserved debits_pending=1 debits_posted=1 credits_pending=1 credits_posted=1 ledger=0 code=0 timestamp=1 -> timestamp_must_be_zero
        account zero both_limits reserved debits_pending=1 debits_posted=1 credits_pending=1 credits_posted=1 ledger=0 code=0 -> reserved_flag
        account zero both_limits debits_pending=1 debits_posted=1 credits_pending=1 credits_posted=1 ledger=0 code=0 -> id_must_not_be_zero
        account max  both_limits debits_pending=1 debits_posted=1 credits_pending=1 credits_posted=1 ledger=0 code=0 -> id_must_not_be_int_max
        account wallet both_limits debits_pending=1 ledger=0 code=0 -> exists_with_different_flags
        account wallet debits_pending=1 ledger=0 code=0 -> exists_with_different_ledger
        account new  both_limits debits_pending=1 debits_posted=1 credits_pending=1 credits_posted=1 ledger=0 code=0 -> flags_are_mutually_exclusive
        account new  debits_pending=1 debits_posted=1 credits_pending=1 credits_posted=1 ledger=0 code=0 -> debits_pending_must_be_zero
        account new  debits_posted=1 credits_pending=1 credits_posted=1 ledger=0 code=0 -> debits_posted_must_be_zero
        account new  credits_pending=1 credits_posted=1 ledger=0 code=0 -> credits_pending_must_be_zero
        account new  credits_posted=1 ledger=0 code=0 -> credits_posted_must_be_zero
        account new  ledger=0 code=0 -> ledger_must_not_be_zero
        account new  code=0 -> code_must_not_be_zero
        account new  -> created
    """)


async def test_transfer_errors_by_descending_precedence(check: Check) -> None:
    """One request with everything wrong; line by line its first fault is mended."""
    await check("""
        account  a       may_overdraw
        account  b       may_overdraw
        account  poor
        account  full    may_overfill
        account  other   may_overdraw  ledger=2
        account  closed1  closed
        account  closed2  closed
        transfer E   a  b  5  user_data_128=x user_data_64=1 user_data_32=1  -> created
        transfer F   nobody  b  5  -> debit_account_not_found

        transfer zero zero zero 1 reserved closing_debit pending_id=E timeout=9 ledger=0 code=0 -> reserved_flag
        transfer zero zero zero 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> id_must_not_be_zero
        transfer max  zero zero 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> id_must_not_be_int_max
        transfer E    zero zero 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> exists_with_different_flags
        transfer E    zero zero 1 pending_id=E timeout=9 ledger=0 code=0 -> exists_with_different_pending_id
        transfer E    zero zero 1 timeout=9 ledger=0 code=0 -> exists_with_different_timeout
        transfer E    zero zero 1 ledger=0 code=0           -> exists_with_different_debit_account_id
        transfer E    a    zero 1 ledger=0 code=0           -> exists_with_different_credit_account_id
        transfer E    a    b    1 ledger=0 code=0           -> exists_with_different_amount
        transfer E    a    b    5 ledger=0 code=0           -> exists_with_different_user_data_128
        transfer E    a    b    5 user_data_128=x ledger=0 code=0 -> exists_with_different_user_data_64
        transfer E    a    b    5 user_data_128=x user_data_64=1 ledger=0 code=0 -> exists_with_different_user_data_32
        transfer E    a    b    5 user_data_128=x user_data_64=1 user_data_32=1 ledger=0 code=0 -> exists_with_different_ledger
        transfer E    a    b    5 user_data_128=x user_data_64=1 user_data_32=1 code=0 -> exists_with_different_code
        transfer E    a    b    5 user_data_128=x user_data_64=1 user_data_32=1 -> exists
        transfer F    zero zero 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> id_already_failed
        post     F    zero 1 pending timeout=9              -> id_already_failed

        transfer T    zero zero 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> debit_account_id_must_not_be_zero
        transfer T    max  zero 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> debit_account_id_must_not_be_int_max
        transfer T    a    zero 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> credit_account_id_must_not_be_zero
        transfer T    a    max  1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> credit_account_id_must_not_be_int_max
        transfer T    nobody nobody 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> accounts_must_be_different
        transfer T    nobody nobodz 1 closing_debit pending_id=E timeout=9 ledger=0 code=0 -> pending_id_must_be_zero
        transfer T    nobody nobodz 1 closing_debit timeout=9 ledger=0 code=0 -> timeout_reserved_for_pending_transfer
        transfer T    nobody nobodz 1 closing_debit ledger=0 code=0 -> closing_transfer_must_be_pending
        transfer T    nobody nobodz 1 closing_credit ledger=0 code=0 -> closing_transfer_must_be_pending
        transfer T    nobody nobodz 1 ledger=0 code=0      -> ledger_must_not_be_zero
        transfer T    nobody nobodz 1 ledger=3 code=0      -> code_must_not_be_zero
        transfer T1   nobody nobodz 1 ledger=3             -> debit_account_not_found
        transfer T2   closed1 nobodz 1 ledger=3            -> credit_account_not_found
        transfer T    closed1 other  1 ledger=3            -> accounts_must_have_the_same_ledger
        transfer T    closed1 closed2 1 ledger=3           -> transfer_must_have_the_same_ledger_as_accounts
        transfer T3   closed1 closed2 1                    -> debit_account_already_closed
        transfer T4   poor    closed2 1                    -> credit_account_already_closed
        transfer T5   poor    full    1                    -> exceeds_credits
        transfer T6   a       full    1                    -> exceeds_debits
        transfer T    a       b       1                    -> created
    """)


async def test_overflows_by_descending_precedence(check: Check) -> None:
    """Each total is filled to the brim on an account of its own; the limits would refuse as well."""
    await check("""
        account  bank   may_overdraw
        account  dpend
        account  dpost
        account  cpend  may_overfill
        account  cpost  may_overfill
        account  dboth
        account  cboth  may_overfill
        account  poor
        account  full   may_overfill
        transfer A1  bank   dpend  max    -> created
        pending  A2  dpend  poor   max    -> created
        account  bank2  may_overdraw
        transfer A3  bank2  dpost  max    -> created
        transfer A4  dpost  sink   1      -> credit_account_not_found
        account  sink   may_overdraw
        transfer A5  dpost  sink   max    -> created
        account  bank3  may_overdraw
        account  sink3  may_overdraw
        transfer A6  cpend  sink3  max    -> created
        pending  A7  bank3  cpend  max    -> created
        account  bank4  may_overdraw
        account  sink4  may_overdraw
        transfer A8  cpost  sink4  max    -> created
        transfer A9  bank4  cpost  max    -> created
        account  bank5  may_overdraw
        account  sink5  may_overdraw
        transfer B1  bank5  dboth  max    -> created
        pending  B2  dboth  sink5  max-5  -> created
        transfer B3  dboth  sink5  5      -> created
        account  bank6  may_overdraw
        account  sink6  may_overdraw
        transfer B4  cboth  sink6  max    -> created
        pending  B5  bank6  cboth  max-5  -> created
        transfer B6  bank6  cboth  5      -> created

        pending  T  dpend  cpend  max     -> overflows_debits_pending
        pending  T  dpost  cpend  max     -> overflows_credits_pending
        pending  T  dpost  cpost  max     -> overflows_debits_posted
        pending  T  bank   cpost  1       -> overflows_debits_posted
        pending  T  poor   cpost  1       -> overflows_credits_posted
        transfer T  dpend  cpost  1       -> overflows_credits_posted
        transfer T  dboth  cboth  6       -> overflows_debits
        transfer T  poor   cboth  6       -> overflows_credits
        transfer T  dpend  cpend  0       -> created
        transfer T1 poor   full   6       -> exceeds_credits
    """)


async def test_post_and_void_errors_by_descending_precedence(check: Check) -> None:
    await check("""
        account  a    may_overdraw
        account  b    may_overdraw
        account  c    may_overdraw
        transfer S    a  b  5              -> created
        pending  P    a  b  5  code=7      -> created
        pending  PX   a  b  5  code=7      -> created
        post     E    PX 5                 -> created
        transfer F    nobody b 1           -> debit_account_not_found

        post zero zero 9 pending reserved timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> reserved_flag
        post zero zero 9 pending timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> id_must_not_be_zero
        post max  zero 9 pending timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> id_must_not_be_int_max
        post E    zero 9 pending timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> exists_with_different_flags
        post E    zero 9 timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> exists_with_different_pending_id
        post E    PX   9 timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> exists_with_different_timeout
        post E    PX   9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> exists_with_different_debit_account_id
        post E    PX   9 credit_account_id=x user_data_128=x user_data_64=1 user_data_32=1 ledger=9 code=9 -> exists_with_different_credit_account_id
        post E    PX   9 user_data_128=x user_data_64=1 user_data_32=1 ledger=9 code=9 -> exists_with_different_amount
        post E    PX   5 user_data_128=x user_data_64=1 user_data_32=1 ledger=9 code=9 -> exists_with_different_user_data_128
        post E    PX   5 user_data_64=1 user_data_32=1 ledger=9 code=9 -> exists_with_different_user_data_64
        post E    PX   5 user_data_32=1 ledger=9 code=9 -> exists_with_different_user_data_32
        post E    PX   5 ledger=9 code=9 -> exists_with_different_ledger
        post E    PX   5 code=9          -> exists_with_different_code
        post E    PX   5                 -> exists
        post F    zero 9 pending timeout=9 -> id_already_failed

        post Q  zero 9 pending timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> flags_are_mutually_exclusive
        post Q  zero 9 void_pending_transfer -> flags_are_mutually_exclusive
        post Q  zero 9 balancing_debit       -> flags_are_mutually_exclusive
        void Q  zero   balancing_credit      -> flags_are_mutually_exclusive
        post Q  zero 9 closing_debit         -> flags_are_mutually_exclusive
        void Q  zero   closing_credit        -> flags_are_mutually_exclusive
        post Q  zero 9 timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_id_must_not_be_zero
        post Q  max  9 timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_id_must_not_be_int_max
        post Q  Q    9 timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_id_must_be_different
        post Q  no   9 timeout=9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> timeout_reserved_for_pending_transfer
        post Q1 no   9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_transfer_not_found
        post Q2 F    9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_transfer_not_found
        post Q  S    9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_transfer_not_pending
        post Q  E    9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_transfer_not_pending
        post Q  P    9 debit_account_id=x credit_account_id=x ledger=9 code=9 -> pending_transfer_has_different_debit_account_id
        post Q  P    9 debit_account_id=a credit_account_id=x ledger=9 code=9 -> pending_transfer_has_different_credit_account_id
        post Q  P    9 credit_account_id=b ledger=9 code=9 -> pending_transfer_has_different_ledger
        post Q  P    9 code=9            -> pending_transfer_has_different_code
        post Q  P    9                   -> exceeds_pending_transfer_amount
        void Q  P    9                   -> exceeds_pending_transfer_amount
        void Q  P    4                   -> pending_transfer_has_different_amount
        post Q  P    4                   -> created
    """)


async def test_what_became_of_a_pending_transfer_is_asked_after_its_amount(check: Check) -> None:
    await check("""
        account  a    may_overdraw
        account  b    may_overdraw
        account  c    may_overdraw
        pending  CP  c  b  5  timeout=2            -> created
        pending  P2  c  b  5                       -> created
        pending  P3  c  b  5                       -> created
        pending  P4  a  b  5                       -> created
        post     R1  P2  all                       -> created
        void     R2  P3                            -> created
        pending  C1  c  a  0  closing_debit        -> created
        post R  P2  9                    -> exceeds_pending_transfer_amount
        void R  P2  4                    -> pending_transfer_has_different_amount
        post R  P2  4                    -> pending_transfer_already_posted
        post R  P3  4                    -> pending_transfer_already_voided
        wait 2
        wait 1
        post R  CP  9                    -> exceeds_pending_transfer_amount
        post R  CP  4                    -> pending_transfer_expired
        pending  P5  a  b  5             -> created
        pending  C2  a  b  0  closing_debit closing_credit  -> created
        post R3 P5  4                    -> debit_account_already_closed
        void R4 C2                       -> created
        pending  C3  a  b  0  closing_credit       -> created
        post R5 P5  4                    -> credit_account_already_closed
        void R6 P5                       -> created
    """)


async def test_flags_that_no_rule_knows_are_reserved(check: Check) -> None:
    """`linked` and `imported` have no bit here: a chain is said as a chain, and nothing is imported."""
    await check("""
        account  a  may_overdraw
        account  b
        transfer T  a  b  1  reserved  -> reserved_flag
    """)
