// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include <gtest/gtest.h>

#include "pm-netlink/policies.hpp"

using namespace pm;

namespace {

TEST(policies, are_found_by_name)
{
	for (const policy_info &policy : all_policies())
		EXPECT_EQ(*find_policy(policy.name), &policy);
}

TEST(policies, an_unknown_name_is_answered_with_those_that_exist)
{
	const auto none = find_policy("fulmesh");
	ASSERT_FALSE(none);
	EXPECT_EQ(none.error().text,
		  "there is no policy 'fulmesh'; these exist: ndiffports, fullmesh, single-per-interface, "
		  "announce, backup");
}

struct settings_case {
	const char *policy, *assignment, *error;
};
class bad_settings : public testing::TestWithParam<settings_case> {};

TEST_P(bad_settings, are_refused_with_what_is_right)
{
	const auto made = make_settings(**find_policy(GetParam().policy),
					std::vector<std::string>{GetParam().assignment});
	ASSERT_FALSE(made);
	EXPECT_EQ(made.error().text, GetParam().error);
}
INSTANTIATE_TEST_SUITE_P(
	table, bad_settings,
	testing::Values(settings_case{"ndiffports", "subflows", "setting 'subflows' is not of the form NAME=VALUE"},
			settings_case{"ndiffports", "ports=2",
				      "policy ndiffports has no setting 'ports'; it has: subflows"},
			settings_case{"fullmesh", "ports=2", "policy fullmesh has no settings, so none called 'ports'"},
			settings_case{"ndiffports", "subflows=9",
				      "setting subflows of policy ndiffports takes a number from 1 to 8, not '9'"},
			settings_case{"ndiffports", "subflows=0",
				      "setting subflows of policy ndiffports takes a number from 1 to 8, not '0'"},
			settings_case{"ndiffports", "subflows=-1",
				      "setting subflows of policy ndiffports takes a number from 1 to 8, not '-1'"},
			settings_case{"ndiffports", "subflows=2x",
				      "setting subflows of policy ndiffports takes a number from 1 to 8, not '2x'"},
			settings_case{"ndiffports", "subflows=",
				      "setting subflows of policy ndiffports takes a number from 1 to 8, not ''"},
			settings_case{"backup", "backup-interface=nowhere0",
				      "setting backup-interface of policy backup takes an interface of this network "
				      "namespace, by name or index, not 'nowhere0'"}));

TEST(settings, start_from_the_presets_and_take_the_last_assignment)
{
	const policy_info &policy = **find_policy("ndiffports");
	EXPECT_EQ(make_settings(policy)->value[0], policy.settings[0].preset);
	EXPECT_EQ(make_settings(policy, std::vector<std::string>{"subflows=3", "subflows=5"})->value[0], 5u);
}

TEST(settings, an_interface_is_taken_by_its_name_or_its_index)
{
	const policy_info &policy = **find_policy("backup");
	EXPECT_EQ(make_settings(policy, std::vector<std::string>{"backup-interface=lo"})->value[0], 1u);
	EXPECT_EQ(make_settings(policy, std::vector<std::string>{"backup-interface=7"})->value[0], 7u);
}

} // namespace
