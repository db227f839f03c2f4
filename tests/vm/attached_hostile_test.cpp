// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy attached in the kernel and peers that mean it no good.
#include <gtest/gtest.h>

#include "tests/support/hostile_checks.hpp"

namespace {

using namespace pm::test;

class attached_hostile_announcer : public testing::TestWithParam<bool> {};

TEST_P(attached_hostile_announcer, of_1000_addresses_costs_little_and_harms_nobody_else)
{
	expect_1000_addresses_to_cost_little(means::attachment, GetParam());
}

INSTANTIATE_TEST_SUITE_P(vm, attached_hostile_announcer, testing::Bool(), [](const auto &given) {
	return std::string(given.param ? "that_never_answer" : "that_cannot_be_reached");
});

TEST(attached_hostile, server_that_withdraws_two_addresses_at_once_has_both_left)
{
	expect_addresses_withdrawn_at_once_to_be_left(means::attachment);
}

TEST(attached_hostile, server_that_announces_and_withdraws_all_the_time_is_held_and_served_in_the_end)
{
	expect_a_peer_that_announces_all_the_time_to_be_held(means::attachment);
}

TEST(attached_hostile, server_that_takes_joins_and_drops_them_is_not_fed_without_end)
{
	expect_dropped_joins_not_to_be_replaced_without_end(means::attachment);
}

TEST(attached_refused, every_join_asks_seldom) { expect_refused_joins_to_be_asked_for_seldom(means::attachment); }

TEST(attached_refused, beyond_2_joins_asks_seldom_and_keeps_those)
{
	expect_what_every_server_takes_to_be_kept(means::attachment);
}

TEST(attached_refused, every_join_for_a_while_joins_when_it_may)
{
	expect_joins_refused_for_a_while_to_come_about(means::attachment, false);
}

TEST(attached_refused, every_join_does_not_delay_those_of_the_next_connection_of_the_socket)
{
	expect_refused_joins_not_to_delay_the_next_connection_of_the_socket(means::attachment);
}

} // namespace
