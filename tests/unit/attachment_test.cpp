// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What of attached policies needs no kernel: what they care for, their names, what is reported of them.
#include <cerrno>
#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "pm-bpf/attachment_status.hpp"
#include "pm-bpf/interest.hpp"
#include "pm-bpf/verifier_log.hpp"

namespace {

using namespace pm;
using namespace pm::bpf;

struct interests {
	const char *policy;
	std::vector<std::string> settings;
	u32 client, server;
};
constexpr u32 none = 0;
const interests expected[] = {
	{"ndiffports", {}, PM_CARES_ALONE | PM_CARES_LOCALS, none},
	{"ndiffports", {"subflows=1"}, none, none},
	{"fullmesh", {}, PM_CARES_LOCALS | PM_CARES_REMOTES, none},
	{"single-per-interface", {}, PM_CARES_LOCALS | PM_CARES_REMOTES, none},
	{"announce", {}, none, PM_CARES_LOCALS},
	{"backup", {}, PM_CARES_LOCALS | PM_CARES_REMOTES, none},
	{"backup",
	 {"backup-interface=7"},
	 PM_CARES_ALONE | PM_CARES_LOCALS | PM_CARES_REMOTES,
	 PM_CARES_ALONE | PM_CARES_LOCALS | PM_CARES_JOINS},
};

TEST(interest, is_what_the_policy_would_act_on)
{
	for (const interests &each : expected) {
		const policy_info &policy = **find_policy(each.policy);
		const pm_settings settings = *make_settings(policy, each.settings);
		const std::string what = each.policy + std::string{each.settings.empty() ? "" : " " + each.settings[0]};
		EXPECT_EQ(interest_of(policy, settings, false), each.client) << what;
		EXPECT_EQ(interest_of(policy, settings, true), each.server) << what;
	}
}

TEST(attachment_name, is_up_to_15_letters_digits_and_underscores)
{
	for (const char *good : {"a", "fullmesh", "Mesh_2", "fifteen_letters"})
		EXPECT_TRUE(check_name(good)) << good;
	for (const char *bad : {"", "sixteen_letters_", "a-b", "a b", "a/b", "a.b", "a+new", "a\n", "\xc3\xa4"})
		EXPECT_FALSE(check_name(bad)) << bad;
}

TEST(attachment_name, is_the_policys_as_far_as_the_kernel_takes_it)
{
	EXPECT_EQ(default_name("fullmesh"), "fullmesh");
	EXPECT_EQ(default_name("single-per-interface"), "single_per_inte");
	EXPECT_TRUE(check_name(default_name(guard_policy().name)));
	for (const policy_info &policy : all_policies())
		EXPECT_TRUE(check_name(default_name(policy.name)));
}

attached an_attachment()
{
	attached one;
	std::strcpy(one.what.name, "mesh");
	std::strcpy(one.what.policy, "ndiffports");
	std::strcpy(one.what.before, "kernel");
	one.what.settings.value[0] = 4;
	one.now = "mesh";
	one.counted.notified[PM_NOTIFIED_created] = 5;
	one.counted.notified[PM_NOTIFIED_closed] = 2;
	one.counted.works = 6;
	one.counted.commands[PM_OPEN_SUBFLOW] = 9;
	one.counted.errors[EINVAL] = 2;
	one.counted.errors[0] = 1;
	one.counted.refused[PM_REFUSED_JOIN_NUMBER] = 8;
	return one;
}

TEST(attachment_status, has_the_counters_under_names)
{
	const auto json = to_json({an_attachment()});
	ASSERT_EQ(json.size(), 1u);
	const auto &one = json[0];
	EXPECT_EQ(one.at("name"), "mesh");
	EXPECT_EQ(one.at("settings").at("subflows"), 4);
	EXPECT_EQ(one.at("state"), "active");
	EXPECT_EQ(one.at("connections").at("open"), 3);
	EXPECT_EQ(one.at("events").at("created"), 5);
	EXPECT_EQ(one.at("looks").at("done"), 6);
	EXPECT_EQ(one.at("commands").at("open"), 9);
	EXPECT_EQ(one.at("errors").size(), 2u);
	EXPECT_EQ(one.at("errors")[1].at("errno"), EINVAL);
	EXPECT_EQ(one.at("refused").at("join_number"), 8);
}

TEST(attachment_status, as_text_leaves_zeroes_out)
{
	const std::string text = to_text(to_json({an_attachment()}));
	EXPECT_NE(text.find("mesh: policy ndiffports subflows=4"), std::string::npos) << text;
	EXPECT_NE(text.find("commands     9 open\n"), std::string::npos) << text;
	EXPECT_NE(text.find("2 times: Invalid argument"), std::string::npos) << text;
	EXPECT_NE(text.find("refused: 8 join_number"), std::string::npos) << text;
}

TEST(attachment_status, as_openmetrics_names_each_metric_once)
{
	attached other = an_attachment();
	std::strcpy(other.what.name, "other");
	const std::string text = to_openmetrics(to_json({an_attachment(), other}));
	EXPECT_NE(text.find("pathlab_attached_commands_total{attachment=\"other\",command=\"open\"} 9\n"),
		  std::string::npos)
		<< text;
	std::size_t types = 0;
	for (auto at = text.find("# TYPE pathlab_attached_commands counter\n"); at != std::string::npos;
	     at = text.find("# TYPE pathlab_attached_commands counter\n", at + 1))
		++types;
	EXPECT_EQ(types, 1u);
	EXPECT_EQ(text.find("# EOF"), std::string::npos) << "who prints it adds that";
}

TEST(verifier_log, ends_in_what_is_wrong_and_statistics)
{
	const std::string refused =
		"func#0 @0\ninvalid access to map value\n\nverification time 3 usec\nstack depth 8\n"
		"processed 12 insns (limit 1000000)\n";
	EXPECT_EQ(last_words(refused), "invalid access to map value");
	EXPECT_EQ(processed_instructions(refused), 12u);
	EXPECT_EQ(processed_instructions(""), 0u);
}

} // namespace
