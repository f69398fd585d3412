"""Where each acceptance check of the paper exchange is held: by raw probes or clients that we did not write."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent

CHECKS: dict[str, tuple[str, ...]] = {
    "A1": ("test_acceptance_account.py::test_a01_four_ways_to_fail_authentication",),
    "A2": ("test_acceptance_account.py::test_a02_only_the_path_is_signed",),
    "A3": ("test_acceptance_account.py::test_a03_public_reads_need_no_headers",),
    "A4": ("test_stream_commands.py::test_upgrade_without_or_with_bad_signature_gets_the_rest_bodies",),
    "A5": ("test_acceptance_orders.py::test_a05_bid_rests_and_the_balance_stays",),
    "A6": ("test_acceptance_orders.py::test_a06_client_order_id_is_unique_for_ever",),
    "A7": ("test_acceptance_orders.py::test_a07_prices_and_counts_off_the_grid",),
    "A8": ("test_acceptance_orders.py::test_a08_post_only_never_crosses",),
    "A9": ("test_acceptance_orders.py::test_a09_fill_or_kill_and_immediate_or_cancel",),
    "A10": ("test_acceptance_orders.py::test_a10_sweep_of_two_levels_has_one_fee_accumulator",),
    "A11": ("test_acceptance_orders.py::test_a11_fees_of_taker_and_maker",),
    "A12": (
        "test_acceptance_orders.py::test_a12_taker_at_cross_stops_before_its_own_order",
        "test_acceptance_orders.py::test_a12_maker_mode_cancels_the_own_resting_order_and_goes_on",
    ),
    "A13": (
        "test_acceptance_orders.py::test_a13_amend_keeps_or_loses_its_place",
        "test_acceptance_orders.py::test_a13_amends_that_are_refused_change_nothing",
        "test_acceptance_orders.py::test_a13_crossing_amend_trades_and_its_count_is_the_total",
    ),
    "A14": ("test_acceptance_orders.py::test_a14_decrease_by_and_to",),
    "A15": ("test_acceptance_orders.py::test_a15_every_cancel_in_vain_gets_the_same_bytes",),
    "A16": ("test_acceptance_orders.py::test_a16_items_of_a_batch_fail_alone",),
    "A17": ("test_acceptance_orders.py::test_a17_cancel_all_reaches_into_the_next_minute",),
    "A18": ("test_acceptance_account.py::test_a18_round_trip_over_both_outcomes",),
    "A19": ("test_acceptance_account.py::test_a19_selling_without_holding_is_short",),
    "A20": ("test_acceptance_account.py::test_a20_markets_are_determined_and_settled",),
    "A21": ("test_acceptance_account.py::test_a21_nothing_can_be_done_after_the_close",),
    "A22": ("test_acceptance_account.py::test_a22_in_a_trading_pause_orders_can_only_be_cancelled",),
    "A23": ("test_acceptance_account.py::test_a23_pages_of_orders",),
    "A24": (
        "test_stream_books.py::test_rest_book_equals_the_book_rebuilt_from_the_stream",
        "test_pykalshi_feed.py::test_the_asynchronous_feed_rebuilds_a_living_book",
    ),
    "A25": (
        "test_acceptance_account.py::test_a25_ten_thousand_random_orders_leave_three_equal_books",
        "test_stream_books.py::test_ten_thousand_random_orders_leave_three_equal_books",
    ),
    "A26": ("test_stream_commands.py::test_two_markets_share_one_counter_and_ok_takes_a_number",),
    "A27": (
        "test_faults_stream.py::test_a27_after_an_injected_gap_the_book_is_equal_again",
        "test_faults_stream.py::test_raw_probe_heals_a_gap_with_a_snapshot",
    ),
    "A28": (
        "test_stream_commands.py::test_markets_are_added_removed_and_asked_for_again",
        "test_stream_commands.py::test_repeated_subscribe_keeps_the_sid_and_adds_what_is_new",
        "test_stream_commands.py::test_refused_commands_say_why",
    ),
    "A29": ("test_stream_commands.py::test_several_channels_are_acknowledged_in_order_before_any_data",),
    "A30": ("test_stream_commands.py::test_prices_of_the_no_side_in_both_legs",),
    "A31": (
        "test_acceptance_account.py::test_a31_heartbeat_comes_every_ten_seconds",
        "test_acceptance_account.py::test_a31_connection_stays_up_for_five_minutes",
        "test_stream_commands.py::test_client_ping_is_answered",
    ),
    "A32": ("test_acceptance_account.py::test_a32_eleventh_create_within_an_instant_is_too_many",),
    "A33": ("test_acceptance_account.py::test_a33_balance_has_a_bucket_of_its_own",),
    "A34": (
        "test_faults.py::test_a34_cut_answer_and_503_after_the_deed_leave_one_order",
        "test_pykalshi_feed.py::test_its_retry_after_a_lost_answer_meets_409_and_the_order_exists_once",
    ),
    "A35": ("test_faults.py::test_a35_read_after_cancel_shows_resting_for_half_a_second",),
    "A36": ("test_faults.py::test_a36_fill_comes_before_the_answer_of_its_order",),
    "A37": ("test_acceptance_orders.py::test_a37_writes_of_the_first_version_are_gone",),
    "A38": (
        "test_schemathesis.py::test_every_operation_stands_schemathesis",
        "test_rest_responses.py::test_every_response_agrees_with_the_file",
        "test_stream_schema.py::test_every_frame_of_a_busy_run_is_documented",
    ),
    "A39": (
        "test_stream_commands.py::test_every_frame_is_stamped_text_with_a_newline",
        "test_stream_commands.py::test_compression_is_used_only_when_offered",
    ),
    "A40": ("test_acceptance_account.py::test_a40_order_group_stops_after_its_limit",),
}


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of a test file's tests."""
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("number", range(1, 41))
def test_every_check_is_held_by_tests_that_exist(number: int) -> None:
    nodes = CHECKS[f"A{number}"]
    assert nodes
    for node in nodes:
        file, _, name = node.partition("::")
        assert name in names_in(file), f"{node} does not exist"


def test_the_table_knows_every_test_that_is_named_after_a_check() -> None:
    named = {
        (f"A{int(match[1])}", f"{path.name}::{name}")
        for path in HERE.glob("test_*.py")
        for name in names_in(path.name)
        if (match := re.match(r"test_a(\d\d)_", name))
    }
    listed = {(check, node) for check, nodes in CHECKS.items() for node in nodes}
    assert len(CHECKS) == 40
    assert named <= listed
