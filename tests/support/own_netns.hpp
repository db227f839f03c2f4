// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#pragma once

#include <gtest/gtest.h>

#include "pm-netlink/netns.hpp"
#include "tests/support/must.hpp"

namespace pm::test {

// Each test is in a network namespace of its own, loopback up; all of 127/8 is local there.
class own_netns : public testing::Test {
protected:
	void SetUp() override { must(must(netns::create()).enter()); }
	void TearDown() override { must(before_.enter()); }

private:
	netns before_ = must(netns::current());
};

} // namespace pm::test
