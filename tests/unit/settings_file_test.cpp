// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/settings_file.hpp"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <ostream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "pm-core/address.hpp"

using namespace pm;
using namespace pm::netlink;

namespace {

using strings = std::vector<std::string>;

// A policy of the test's own, so that the tests do not change with those that exist.
constexpr setting settings_of_sample[] = {{"subflows", "how many", 1, 8, 2},
					  {"interface", "named as one of ours", 0, 9, 0}};
const policy_info sample = {"sample", "for this test", settings_of_sample, nullptr};
const policy_info bare = {"bare", "without settings", {}, nullptr};

constexpr const char *all_of_sample =
	"accept-replay, buffer, connections, interface, prefix, subflows, sample.interface";

TEST(settings_file, that_is_empty_yields_the_presets)
{
	for (const char *text : {"", "\n", "# a comment\n\n   \t# another\r\n", "#"}) {
		const auto settings = parse_settings(text, "f", sample);
		ASSERT_TRUE(settings) << settings.error().text;
		EXPECT_TRUE(settings->policy.empty());
		EXPECT_TRUE(settings->locals.interfaces.empty());
		EXPECT_TRUE(settings->locals.prefixes.empty());
		EXPECT_EQ(settings->buffer_bytes, 8u << 20);
		EXPECT_EQ(settings->most_connections, 65536u);
		EXPECT_FALSE(settings->accept_replay);
	}
}

TEST(settings_file, sets_every_setting)
{
	const auto settings = parse_settings("# sample\n"
					     "subflows = 3\n"
					     "interface=eth0\n"
					     "  interface\t=  wlan*   # and these\r\n"
					     "sample.interface = 4\n"
					     "prefix = 10.0.0.0/8\n"
					     "prefix = fd00::/16\n"
					     "buffer = 4096\n"
					     "connections = 10000000\n"
					     "accept-replay = yes",
					     "f", sample);
	ASSERT_TRUE(settings) << settings.error().text;
	EXPECT_EQ(settings->policy, (strings{"subflows=3", "interface=4"}));
	EXPECT_EQ(settings->locals.interfaces, (strings{"eth0", "wlan*"}));
	ASSERT_EQ(settings->locals.prefixes.size(), 2u);
	EXPECT_TRUE(same(settings->locals.prefixes[0].address, ipv4(10, 0, 0, 0)));
	EXPECT_EQ(settings->locals.prefixes[0].length, 104u);
	EXPECT_EQ(settings->locals.prefixes[1].length, 16u);
	EXPECT_EQ(settings->buffer_bytes, 4096u);
	EXPECT_EQ(settings->most_connections, 10000000u);
	EXPECT_TRUE(settings->accept_replay);
	const auto policy = make_settings(sample, settings->policy);
	ASSERT_TRUE(policy) << policy.error().text;
	EXPECT_EQ(policy->value[0], 3u);
	EXPECT_EQ(policy->value[1], 4u);
}

TEST(settings_file, takes_the_last_assignment_of_a_name)
{
	const auto settings =
		parse_settings("subflows = 3\nsample.subflows = 4\nbuffer = 5000\nbuffer = 6000\n"
			       "connections = 1\nconnections = 2\naccept-replay = yes\naccept-replay = no\n",
			       "f", sample);
	ASSERT_TRUE(settings) << settings.error().text;
	EXPECT_EQ(settings->policy, strings{"subflows=4"});
	EXPECT_EQ(settings->buffer_bytes, 6000u);
	EXPECT_EQ(settings->most_connections, 2u);
	EXPECT_FALSE(settings->accept_replay);
}

TEST(settings_file, takes_a_line_of_1024_bytes)
{
	EXPECT_TRUE(parse_settings("buffer = 5000 #" + std::string(1009, 'x') + "\n", "f", sample));
}

struct refused_case {
	std::string text, error;
};
void PrintTo(const refused_case &c, std::ostream *out) { *out << testing::PrintToString(c.text); }

class bad_settings_file : public testing::TestWithParam<refused_case> {};

TEST_P(bad_settings_file, is_refused_with_its_line_and_what_is_right)
{
	const auto settings = parse_settings(GetParam().text, "f.conf", sample);
	ASSERT_FALSE(settings);
	EXPECT_EQ(settings.error().text, GetParam().error);
}

const std::string no_text = ", which no text has; is this a settings file?";

INSTANTIATE_TEST_SUITE_P(
	table, bad_settings_file,
	testing::Values(
		refused_case{"buffer", "f.conf:1: 'buffer' is not of the form NAME = VALUE"},
		refused_case{"\n\n= 3\n", "f.conf:3: '= 3' is not of the form NAME = VALUE"},
		refused_case{"# x\nbufer = 5000",
			     std::string("f.conf:2: there is no setting 'bufer'; with policy sample these "
					 "exist: ") +
				     all_of_sample},
		refused_case{"Buffer = 5000",
			     std::string("f.conf:1: there is no setting 'Buffer'; with policy sample these "
					 "exist: ") +
				     all_of_sample},
		refused_case{"accept_replay = yes",
			     std::string("f.conf:1: there is no setting 'accept_replay'; with policy "
					 "sample these exist: ") +
				     all_of_sample},
		refused_case{"other.subflows = 3",
			     std::string("f.conf:1: there is no setting 'other.subflows'; with policy "
					 "sample these exist: ") +
				     all_of_sample},
		refused_case{"sample.buffer = 5000",
			     std::string("f.conf:1: there is no setting 'sample.buffer'; with policy "
					 "sample these exist: ") +
				     all_of_sample},
		refused_case{"buffer = 4095", "f.conf:1: buffer takes a number from 4096 to 268435456, not '4095'"},
		refused_case{"buffer = 268435457",
			     "f.conf:1: buffer takes a number from 4096 to 268435456, not '268435457'"},
		refused_case{"buffer = 8M", "f.conf:1: buffer takes a number from 4096 to 268435456, not '8M'"},
		refused_case{"buffer =", "f.conf:1: buffer takes a number from 4096 to 268435456, not ''"},
		refused_case{"buffer = -1", "f.conf:1: buffer takes a number from 4096 to 268435456, not '-1'"},
		refused_case{"buffer = 99999999999999999999",
			     "f.conf:1: buffer takes a number from 4096 to 268435456, not '99999999999999999999'"},
		refused_case{"buffer = 5000 6000",
			     "f.conf:1: buffer takes a number from 4096 to 268435456, not '5000 6000'"},
		refused_case{"connections = 0", "f.conf:1: connections takes a number from 1 to 10000000, not '0'"},
		refused_case{"connections = 10000001",
			     "f.conf:1: connections takes a number from 1 to 10000000, not '10000001'"},
		refused_case{"accept-replay = true", "f.conf:1: accept-replay takes yes or no, not 'true'"},
		refused_case{"interface = eth0 eth1",
			     "f.conf:1: interface takes one name or pattern, as eth0 or wlan*, not "
			     "'eth0 eth1'; give each its own assignment"},
		refused_case{"interface =",
			     "f.conf:1: interface takes one name or pattern, as eth0 or wlan*, not ''; give each "
			     "its own assignment"},
		refused_case{"prefix = 10.0.0.0/33",
			     "f.conf:1: the length of prefix '10.0.0.0/33' is not a number from 0 to 32"},
		refused_case{"prefix = eth0",
			     "f.conf:1: 'eth0' does not begin with an address; write a prefix as 10.0.0.0/8 or "
			     "fd00::/8"},
		refused_case{"subflows = 9",
			     "f.conf:1: setting subflows of policy sample takes a number from 1 to 8, not '9'"},
		refused_case{"subflows = 1=2",
			     "f.conf:1: setting subflows of policy sample takes a number from 1 to 8, not '1=2'"},
		refused_case{std::string("buffer = 5000\nbuf\0fer = 1\n", 26),
			     "f.conf:2: the line has a byte of value 0" + no_text},
		refused_case{"# \x1b[2J", "f.conf:1: the line has a byte of value 27" + no_text},
		refused_case{"buffer = 5000 \x7f", "f.conf:1: the line has a byte of value 127" + no_text},
		refused_case{"buffer = 5000 #" + std::string(1010, 'x'),
			     "f.conf:1: the line has 1025 bytes, and no setting needs "
			     "more than 1024; is this a settings file?"}));

TEST(settings_file, names_only_its_own_settings_where_the_policy_has_none)
{
	const auto settings = parse_settings("subflows = 3", "f", bare);
	ASSERT_FALSE(settings);
	EXPECT_EQ(settings.error().text, "f:1: there is no setting 'subflows'; with policy bare these exist: "
					 "accept-replay, buffer, connections, interface, prefix");
}

// A file that is gone when the test is.
class written_file {
public:
	explicit written_file(const std::string &text)
	{
		FILE *file = std::fopen(path.c_str(), "wb");
		if (!file || std::fwrite(text.data(), 1, text.size(), file) != text.size())
			ADD_FAILURE() << "cannot write " << path;
		if (file)
			std::fclose(file);
	}
	written_file(const written_file &) = delete;
	written_file &operator=(const written_file &) = delete;
	~written_file() { std::filesystem::remove(path); }
	const std::string path = std::filesystem::temp_directory_path() /
				 ("settings_file-" + std::to_string(::getpid()));
};

TEST(settings_file, is_read_from_a_file_whose_name_errors_tell)
{
	const written_file good("subflows = 3\n");
	const auto settings = read_settings_file(good.path, sample);
	ASSERT_TRUE(settings) << settings.error().text;
	EXPECT_EQ(settings->policy, strings{"subflows=3"});

	const written_file bad("\nsubflows = 0\n");
	EXPECT_EQ(read_settings_file(bad.path, sample).error().text,
		  bad.path + ":2: setting subflows of policy sample takes a number from 1 to 8, not '0'");
}

TEST(settings_file, that_cannot_be_read_is_refused_in_a_sentence)
{
	EXPECT_EQ(read_settings_file("/nonexistent/f", sample).error().text,
		  "cannot open the settings file /nonexistent/f: No such file or directory");
	EXPECT_EQ(read_settings_file("/", sample).error().text, "cannot read the settings file /: Is a directory");
	EXPECT_EQ(read_settings_file("/dev/zero", sample).error().text,
		  "/dev/zero has more than 1048576 bytes, and no settings need that many; is it a settings file?");
}

TEST(assignment, changes_what_it_names_and_nothing_else)
{
	auto settings = *parse_settings("subflows = 3\ninterface = eth0\nbuffer = 5000\n", "f", sample);
	for (const char *each : {"subflows=4", "interface=eth1", " connections = 7 "})
		EXPECT_TRUE(assign_setting(settings, each, sample)) << each;
	EXPECT_EQ(settings.policy, strings{"subflows=4"});
	EXPECT_EQ(settings.locals.interfaces, (strings{"eth0", "eth1"}));
	EXPECT_EQ(settings.buffer_bytes, 5000u);
	EXPECT_EQ(settings.most_connections, 7u);
}

TEST(assignment, that_is_refused_changes_nothing)
{
	const refused_case cases[] = {
		{"", "'' is not of the form NAME=VALUE"},
		{"buffer", "'buffer' is not of the form NAME=VALUE"},
		{"=3", "'=3' is not of the form NAME=VALUE"},
		{"bufer=3",
		 std::string("there is no setting 'bufer'; with policy sample these exist: ") + all_of_sample},
		{"subflows=0", "setting subflows of policy sample takes a number from 1 to 8, not '0'"},
		{"buffer=1", "buffer takes a number from 4096 to 268435456, not '1'"},
		{"interface=a,b",
		 "interface takes one name or pattern, as eth0 or wlan*, not 'a,b'; give each its own assignment"},
		{"prefix=x", "'x' does not begin with an address; write a prefix as 10.0.0.0/8 or fd00::/8"},
		{std::string("buffer\0=1", 9), "an assignment NAME=VALUE is too long, or has a byte that no text has"},
		{"buffer=" + std::string(2000, '1'),
		 "an assignment NAME=VALUE is too long, or has a byte that no text has"},
	};
	manager_settings settings;
	for (const auto &[given, wanted] : cases) {
		const auto assigned = assign_setting(settings, given, sample);
		ASSERT_FALSE(assigned) << given;
		EXPECT_EQ(assigned.error().text, wanted);
	}
	EXPECT_TRUE(settings.policy.empty() && settings.locals.interfaces.empty() && settings.locals.prefixes.empty());
	EXPECT_EQ(settings.buffer_bytes, 8u << 20);
}

} // namespace
