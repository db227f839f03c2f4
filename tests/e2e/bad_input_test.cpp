// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What cannot be done: one sentence on stderr, a non-zero exit, nothing on stdout and nothing left behind.
#include <regex>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/program.hpp"

namespace pm::e2e {

namespace {

constexpr int failed = 1, usage = 2;

// One line that begins with the program's name, says `what`, and no more.
void expect_one_sentence(const outcome &done, int status, const std::string &what)
{
	EXPECT_EQ(done.status, status);
	EXPECT_EQ(done.out, "");
	EXPECT_TRUE(std::regex_match(done.err, std::regex{"pathlab: [^\n]{10,400}\n"})) << done.err;
	EXPECT_NE(done.err.find(what), std::string::npos) << "it does not say '" << what << "': " << done.err;
}

// With something wrong in every way that a file can be wrong.
class bad_input : public command {
protected:
	void SetUp() override
	{
		command::SetUp();
		if (IsSkipped())
			return;
		generate("trace", 20);
		const std::string whole = read_file(path("trace"));
		write("truncated", whole.substr(0, whole.size() - 10));
		write("headless", whole.substr(0, 10));
		write("undescribed", whole.substr(0, 24));
		write("empty", "");
		write("text", "This is no pcap file, although it is long enough for one.\n");
		std::string ethernet = whole;
		ethernet.replace(20, 4, std::string("\1\0\0\0", 4)); // the link type
		write("ethernet", ethernet);
		before_ = files();
	}
	void TearDown() override
	{
		EXPECT_EQ(files(), before_) << "files were left behind";
		command::TearDown();
	}

	void fails(const words &arguments, int status, const std::string &what, const manner &how = {}) const
	{
		std::string all;
		for (const std::string &word : arguments)
			all += " '" + word + "'";
		SCOPED_TRACE("pathlab" + all);
		expect_one_sentence(pathlab(arguments, how), status, what);
		EXPECT_EQ(files(), before_);
	}

	words before_;
};

struct wrong {
	words arguments;
	int status;
	const char *says;
};

// `arguments` behind those of a replay that is right so far.
words replaying(const words &arguments)
{
	words all{"replay", "trace", "--tail", "0"};
	all.insert(all.end(), arguments.begin(), arguments.end());
	return all;
}
words through(const std::string &name)
{
	return replaying({"--policy", "fullmesh", "--rate", "max", "--through", name});
}
words native(const words &arguments)
{
	words all = replaying({"--through", "native"});
	all.insert(all.end(), arguments.begin(), arguments.end());
	return all;
}
words generating(const std::string &shape, const std::string &connections, const std::string &rate)
{
	return {"generate", "--shape", shape, "--connections", connections, "--rate", rate, "-o", "new"};
}

manner mounting(const std::string &commands) { return {.as_nobody = false, .out = "", .mounts = commands}; }

TEST_F(bad_input, a_command_line_that_makes_no_sense)
{
	const wrong table[] = {
		{{}, usage, "command"},
		{{"frobnicate"}, usage, "frobnicate"},
		{{"--frobnicate"}, usage, "--frobnicate"},
		{{"show"}, usage, "FILE"},
		{{"show", "--frobnicate", "trace"}, usage, "--frobnicate"},
		{{"show", "trace", "trace"}, usage, "trace"},
		{{"record"}, usage, "--output"},
		{{"record", "-o"}, usage, "--output"},
		{{"record", "-d", "soon", "-o", "new"}, usage, "--duration"},
		{{"record", "--buffer", "1", "-o", "new"}, usage, "--buffer"},
		{{"generate", "--connections", "10", "--rate", "10", "-o", "new"}, usage, "--shape"},
		{{"generate", "--shape", "burst", "--rate", "10", "-o", "new"}, usage, "--connections"},
		{{"generate", "--shape", "burst", "--connections", "10", "-o", "new"}, usage, "--rate"},
		{{"generate", "--shape", "burst", "--connections", "10", "--rate", "10"}, usage, "--output"},
		{generating("burst", "many", "10"), usage, "many"},
		{generating("burst", "10", "fast"), usage, "fast"},
		{replaying({"--policy", "fullmesh"}), usage, "--through"},
		{replaying({"--through", "native"}), usage, "--policy"},
		{native({"--policy", "fullmesh", "--repeat", "0"}), usage, "--repeat"},
		{native({"--policy", "fullmesh", "--tail", "-1"}), usage, "--tail"},
		{native({"--policy", "fullmesh", "--buffer", "4095"}), usage, "--buffer"},
		{native({"--policy", "fullmesh", "--speed", "fast"}), usage, "fast"},
		{{"compare", "--quick", "somewhere"}, usage, "somewhere"},
		{{"compare", "--quick", "-o", "new", "--buffer", "-1"}, usage, "--buffer"},
	};
	for (const wrong &each : table)
		fails(each.arguments, each.status, each.says);
}

TEST_F(bad_input, a_name_that_nothing_has)
{
	const wrong table[] = {
		{through("frobnicate"), usage, "'frobnicate'; these exist: "},
		{through("native,frobnicate"), usage, "'frobnicate'"},
		{through(""), usage, "''"},
		{native({"--policy", "frobnicate"}), usage, "'frobnicate'; these exist: "},
		{native({"--policy", "ndiffports", "--set", "frobnicate=1"}), usage, "'frobnicate'; it has: subflows"},
		{native({"--policy", "ndiffports", "--set", "subflows"}), usage, "NAME=VALUE"},
		{native({"--policy", "fullmesh", "--set", "subflows=1"}), usage, "'subflows'"},
		{generating("frobnicate", "10", "10"), usage, "'frobnicate'; there are: "},
		{{"compare", "--quick", "-o", "new", "--policy", "frobnicate"}, usage, "'frobnicate'"},
		{{"compare", "--quick", "-o", "new", "--set", "subflows=1"}, usage, "'subflows'"},
		{{"record", "-n", "frobnicate", "-d", "0.1", "-o", "new"}, failed, "'frobnicate' does not exist"},
		{{"record", "-n", "frob/nicate", "-d", "0.1", "-o", "new"}, usage, "'frob/nicate'"},
		{{"record", "-n", "..", "-d", "0.1", "-o", "new"}, usage, "'..'"},
	};
	for (const wrong &each : table)
		fails(each.arguments, each.status, each.says);
}

TEST_F(bad_input, a_number_out_of_range)
{
	for (const std::string rate : {"0", "-0", "-1", "nan", "inf", "1e400"}) {
		fails(native({"--policy", "fullmesh", "--rate", rate}), usage, "--rate");
		fails(generating("burst", "10", rate), usage, "rate");
		fails(native({"--policy", "fullmesh", "--speed", rate}), usage, "--speed");
	}
	for (const std::string rate : {"fast", "10x", "MAX"})
		fails(native({"--policy", "fullmesh", "--rate", rate}), usage, "'" + rate + "'");
	for (const std::string subflows : {"0", "9", "-1", "two", "", "4294967297"})
		fails(native({"--policy", "ndiffports", "--set", "subflows=" + subflows}), usage, "from 1 to 8");
	for (const std::string seconds : {"0", "-1", "nan", "inf"})
		fails({"record", "-d", seconds, "-o", "new"}, usage, seconds + " seconds");
	fails(native({"--policy", "fullmesh", "--rate", "10", "--speed", "1"}), usage, "--rate and --speed");
	// As many as there are tokens is the most.
	fails(generating("burst", "4294967296", "1e6"), usage, "4294967295");
	fails(generating("burst", "-1", "10"), usage, "-1");
	fails(generating("burst", "0", "10"), usage, "0");
	fails(generating("burst", "10", "1e-9"), usage, "higher rate");
}

TEST_F(bad_input, an_option_without_the_name_that_it_needs)
{
	fails({"record", "-n", "", "-d", "0.1", "-o", "new"}, usage, "--netns");
}

TEST_F(bad_input, a_file_that_is_no_trace)
{
	const std::pair<const char *, const char *> table[] = {
		{"ethernet", "link type"},   {"text", "pcap"},
		{"headless", "pcap"},        {"empty", "pcap"},
		{"undescribed", "mptcp_pm"}, {"missing", "No such file"},
		{".", "no trace"},
	};
	for (const auto &[file, says] : table) {
		fails({"show", file}, failed, says);
		fails({"show", "-j", file}, failed, says);
		fails({"replay", file, "--through", "netlink", "--policy", "fullmesh", "--rate", "max"}, failed, says);
	}
}

// A trace is read as it is played, so that the end is not known at the beginning.
TEST_F(bad_input, a_truncated_trace)
{
	for (const char *backend : {"mptcpd-stock", "mptcpd", "netlink", "bpf", "native"})
		fails({"replay", "truncated", "--through", backend, "--policy", "fullmesh", "--rate", "max"}, failed,
		      "incomplete");
	outcome shown = pathlab({"show", "truncated"});
	const words whole = lines_of(succeed({"show", "trace"})), part = lines_of(shown.out);
	EXPECT_EQ(part, words(whole.begin(), whole.end() - 1)) << "what is whole is shown";
	shown.out.clear();
	expect_one_sentence(shown, failed, "incomplete");
}

TEST_F(bad_input, a_place_that_cannot_be_written)
{
	const std::pair<const char *, const char *> table[] = {
		{"/proc/new", "/proc/new"}, {"nowhere/new", "nowhere/new"}, {"trace/new", "trace/new"},
		{".", "not a file"},        {"/dev/full", "not a file"},
	};
	for (const auto &[file, says] : table) {
		fails({"generate", "--shape", "burst", "--connections", "10", "--rate", "10", "-o", file}, failed,
		      says);
		fails({"record", "-d", "0.1", "-o", file}, failed, says);
	}
	for (const char *place : {"/proc/new", "trace", "trace/new"})
		fails({"compare", "--quick", "-o", place}, failed, place);
}

TEST_F(bad_input, a_full_disk)
{
	// The folder itself, with a file system of 64 KiB upon it that only the program sees.
	const manner full = mounting("mount -t tmpfs -o size=64k none . && cd \"$PWD\"");
	for (const words &arguments : {generating("burst", "10000", "1000"), words{"compare", "--quick", "-o", "new"}})
		fails(arguments, failed, "No space left on device", full);
	// What is left behind there is seen from within.
	const manner then_list = mounting(full.mounts + " && ! \"$@\" 2>/dev/null && set -- ls -A");
	for (const words &arguments : {generating("burst", "10000", "1000"), words{"compare", "--quick", "-o", "new"}})
		EXPECT_EQ(succeed(arguments, then_list), "");
}

TEST_F(bad_input, a_standard_output_that_takes_nothing)
{
	const manner full{.as_nobody = false, .out = "/dev/full", .mounts = ""};
	const words table[] = {
		{"-h"},
		{"-V"},
		{"replay", "-h"},
		{"policies"},
		{"policies", "-j"},
		{"show", "trace"},
		{"show", "-j", "trace"},
		native({"--policy", "fullmesh", "--rate", "max"}),
		native({"-j", "--policy", "fullmesh", "--rate", "max"}),
	};
	for (const words &arguments : table)
		fails(arguments, failed, "cannot write to", full);
}

TEST_F(bad_input, no_privilege)
{
	const manner nobody{.as_nobody = true, .out = "", .mounts = ""};
	for (const char *backend : {"mptcpd-stock", "mptcpd", "netlink", "bpf", "native"})
		fails(through(backend), failed, "root", nobody);
	fails({"compare", "--quick", "-o", "new"}, failed, "root", nobody);
	fails({"record", "-d", "0.1", "-o", "new"}, failed, "root", nobody);
	// What needs none does without.
	EXPECT_EQ(succeed({"show", "trace"}, nobody), succeed({"show", "trace"}));
	EXPECT_EQ(succeed({"policies"}, nobody), succeed({"policies"}));
}

TEST_F(bad_input, an_mptcpd_that_is_not_installed_or_does_not_work)
{
	const auto instead = [](const char *what) {
		return mounting(std::string{"mount --bind "} + what + " /usr/libexec/mptcpd");
	};
	for (const words &arguments : {through("mptcpd-stock"), through("native,mptcpd-stock")})
		fails(arguments, failed, "apt-get install mptcpd", instead("/dev/null"));
	fails(through("mptcpd-stock"), failed, "mptcpd ended", instead("/bin/false"));
}

TEST_F(bad_input, a_kernel_without_mptcp)
{
	const int mptcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	if (mptcp >= 0) {
		close(mptcp);
		GTEST_SKIP() << "this kernel has MPTCP";
	}
	for (const words &arguments :
	     {through("netlink"), {"record", "-d", "0.1", "-o", "new"}, {"compare", "-o", "new"}})
		fails(arguments, failed, "MPTCP");
}

} // namespace

} // namespace pm::e2e
