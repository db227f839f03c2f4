// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include <vector>

#include <gtest/gtest.h>

#include "replay/decisions.hpp"
#include "tests/support/events.hpp"

using namespace pm;
using namespace pm::replay;
using namespace pm::test;

namespace {

// A command of connection 1 at an event, told apart from others by its port.
struct step {
	std::uint32_t seq;
	std::uint16_t port;
};

pm_result one_command(step s)
{
	pm_result result{};
	result.seq = s.seq;
	result.commands = 1;
	result.command[0].type = PM_OPEN_SUBFLOW;
	result.command[0].token = 1;
	result.command[0].remote_port = s.port;
	return result;
}

struct comparison_case {
	const char *name;
	std::vector<step> expected, made;
	std::uint32_t closed_at;
	std::uint64_t missing, wrong;
};
class decisions : public testing::TestWithParam<comparison_case> {};

TEST_P(decisions, are_held_against_the_oracles)
{
	const comparison_case &c = GetParam();
	auto log = decision_log::create();
	ASSERT_TRUE(log) << log.error().text;
	for (const step &s : c.made)
		log->add(one_command(s));
	ASSERT_TRUE(log->rewind());
	decision_comparison comparison{*log};
	for (std::uint32_t seq = 1; seq <= 10; ++seq) {
		pm_event e = event(seq == c.closed_at ? PM_CLOSED : PM_ESTABLISHED, 1);
		e.seq = seq;
		for (const step &s : c.expected)
			if (s.seq == seq)
				comparison.expect(one_command(s));
		ASSERT_TRUE(comparison.pass(e));
	}
	const auto counts = comparison.finish();
	ASSERT_TRUE(counts) << counts.error().text;
	EXPECT_EQ(counts->expected, c.expected.size());
	EXPECT_EQ(counts->made, c.made.size());
	EXPECT_EQ(counts->missing, c.missing);
	EXPECT_EQ(counts->wrong, c.wrong);
}
INSTANTIATE_TEST_SUITE_P(
	table, decisions,
	testing::Values(comparison_case{"the_same", {{1, 80}, {2, 81}}, {{1, 80}, {2, 81}}, 9, 0, 0},
			comparison_case{"made_later", {{1, 80}}, {{4, 80}}, 9, 0, 0},
			comparison_case{"made_too_late", {{1, 80}}, {{10, 80}}, 9, 1, 1},
			comparison_case{"made_too_early", {{5, 80}}, {{3, 80}}, 9, 1, 1},
			comparison_case{"never_made", {{1, 80}, {2, 81}}, {{2, 81}}, 9, 1, 0},
			comparison_case{"made_twice", {{1, 80}}, {{1, 80}, {2, 80}}, 9, 0, 1},
			comparison_case{"another_one", {{1, 80}}, {{1, 8080}}, 9, 1, 1},
			comparison_case{"several_at_one_event", {{3, 80}, {3, 81}}, {{3, 81}, {3, 80}}, 9, 0, 0},
			comparison_case{"open_to_the_end", {{1, 80}}, {}, 0, 1, 0}),
	[](const auto &info) { return info.param.name; });

} // namespace
