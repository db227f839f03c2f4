// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy attached in the kernel while an address, or an interface, goes and comes.
#include <gtest/gtest.h>

#include "tests/support/flapping_checks.hpp"

namespace {

using namespace pm::test;

TEST(attached_flapping, of_an_address_a_thousand_times_ends_with_the_right_paths_and_the_same_memory)
{
	expect_a_thousand_flaps_to_end_well(means::attachment, what_flaps::address);
}

TEST(attached_flapping, of_an_interface_a_thousand_times_ends_with_the_right_paths_and_the_same_memory)
{
	expect_a_thousand_flaps_to_end_well(means::attachment, what_flaps::interface);
}

} // namespace
