// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab compare, once as a whole, then interrupted and killed in the middle.
#include <map>

#include "tests/e2e/program.hpp"
#include "tests/e2e/runs.hpp"

namespace pm::e2e {

namespace {

// What one `compare --quick` wrote, for all tests that only look at it.
class comparison : public testing::Test {
protected:
	static void SetUpTestSuite()
	{
		if (geteuid() != 0)
			return;
		adopt_orphans();
		std::string made = std::filesystem::temp_directory_path() / "pathlab-test-XXXXXX";
		ASSERT_NE(mkdtemp(made.data()), nullptr);
		folder_ = made;
		const auto before = named_namespaces();
		done_ = process{{program(), "compare", "--quick", "--only", "replay", "-o", "new/results", "-j"},
				folder_}
				.wait();
		EXPECT_EQ(named_namespaces(), before);
		expect_no_orphans();
		results_ = json::parse(done_.out, nullptr, false);
	}
	static void TearDownTestSuite()
	{
		std::error_code ignored;
		if (!folder_.empty())
			std::filesystem::remove_all(folder_, ignored);
	}
	void SetUp() override
	{
		if (geteuid() != 0)
			GTEST_SKIP() << "these tests need root";
		ASSERT_EQ(done_.status, 0) << done_.err;
		ASSERT_TRUE(results_.is_object()) << done_.out;
	}

	static std::string path(const std::string &name) { return folder_ + "/new/results/" + name; }

	static inline std::string folder_;
	static inline outcome done_;
	static inline json results_;
};

TEST_F(comparison, its_results_are_on_stdout_and_in_a_file)
{
	EXPECT_EQ(done_.err, "");
	EXPECT_EQ(read_file(path("results.json")), done_.out);
	EXPECT_EQ(results_.at("complete"), true);
	EXPECT_EQ(results_.at("schema"), "pathlab-results/2");
	EXPECT_TRUE(results_.at("probes").is_null()) << "no connections were made";
	expect_says_where(results_);
	for (const auto &entry : std::filesystem::directory_iterator{path("")})
		EXPECT_NE(entry.path().extension(), ".part") << entry.path();
}

TEST_F(comparison, every_run_adds_up_and_says_where)
{
	for (const json &run : results_.at("replay")) {
		expect_adds_up(run);
		EXPECT_EQ(run.at("place"), "host");
	}
}

TEST_F(comparison, every_backend_had_the_same_runs_several_times)
{
	std::map<std::string, std::map<std::string, unsigned>> runs; // by backend: of which load how many
	for (const json &run : results_.at("replay"))
		++runs[run.at("backend")][run.at("trace").get<std::string>() + run.at("pace").dump()];
	ASSERT_EQ(runs.size(), 5u);
	for (const char *backend : {"mptcpd-stock", "mptcpd", "netlink", "bpf", "native"})
		EXPECT_EQ(runs[backend], runs["native"]) << backend;
	for (const auto &[load, count] : runs["native"])
		EXPECT_GE(count, 2u) << load << " was not repeated";
	EXPECT_EQ(results_.at("summary").size(), 5 * runs["native"].size());
}

TEST_F(comparison, backends_that_lose_nothing_decide_as_expected)
{
	for (const json &run : results_.at("replay")) {
		const bool seen = !run.at("backend").get<std::string>().starts_with("mptcpd");
		const bool ours = run.at("backend") != "mptcpd-stock";
		if (seen && lost(run) == 0)
			expect_all_decided(run);
		if (run.at("backend") == "native" || run.at("backend") == "bpf") {
			EXPECT_EQ(lost(run), 0u) << "nothing is between them and the trace";
		}
		if (ours) {
			EXPECT_EQ(run.at("tail_delivered"), 1);
		}
	}
}

TEST_F(comparison, its_recording_is_a_trace_of_real_connections)
{
	const json &recording = results_.at("recording");
	EXPECT_GE(recording.at("connections"), 1000);
	EXPECT_EQ(recording.at("lost"), 0);
	const outcome shown = process{{program(), "show", "-j", path("recorded.pcap")}, folder_}.wait();
	ASSERT_EQ(shown.status, 0) << shown.err;
	std::map<std::string, unsigned> counts;
	bool ipv4 = false, ipv6 = false;
	for (const std::string &line : lines_of(shown.out)) {
		const json event = json::parse(line);
		++counts[event.at("event")];
		if (event.at("event") != "created")
			continue;
		const bool six = event.at("remote").get<std::string>()[0] == '[';
		(six ? ipv6 : ipv4) = true;
	}
	EXPECT_TRUE(ipv4 && ipv6);
	EXPECT_EQ(counts["created"], recording.at("connections"));
	EXPECT_EQ(counts["established"], recording.at("connections"));
	EXPECT_EQ(counts["closed"], recording.at("connections"));
	EXPECT_GT(counts["announced"], 0u);
	EXPECT_GT(counts["sub_established"], 0u);
	EXPECT_EQ(lines_of(shown.out).size() - counts["local_added"], recording.at("events").get<std::size_t>());
}

TEST_F(comparison, its_traces_are_dissected_by_tshark)
{
	if (std::system("command -v tshark >/dev/null") != 0)
		GTEST_SKIP() << "tshark is not installed";
	unsigned traces = 0;
	for (const auto &entry : std::filesystem::directory_iterator{path("")}) {
		if (entry.path().extension() != ".pcap")
			continue;
		++traces;
		EXPECT_EQ(malformed_frames(entry.path()), "") << entry.path();
	}
	EXPECT_GE(traces, 2u);
}

// Room for the traces, and for some of the runs.
TEST_F(comparison, prints_what_a_disk_that_fills_up_does_not_take)
{
	std::uintmax_t traces = 0;
	for (const auto &entry : std::filesystem::directory_iterator{path("")})
		traces += entry.path().extension() == ".pcap" ? entry.file_size() : 0;
	const std::uintmax_t room = traces + 2 * std::filesystem::file_size(path("results.json")) / 3;
	std::filesystem::create_directory(folder_ + "/full");
	const manner full{.as_nobody = false,
			  .out = {},
			  .mounts = "mount -t tmpfs -o size=" + std::to_string(room) + " none full"};
	const outcome done = process{{program(), "compare", "--quick", "--only", "replay", "-o", "full/results", "-j"},
				     folder_,
				     full}
				     .wait();
	EXPECT_EQ(done.status, 1);
	EXPECT_EQ(lines_of(done.err).size(), 1u) << done.err;
	EXPECT_NE(done.err.find("No space left on device"), std::string::npos) << done.err;
	const json printed = json::parse(done.out, nullptr, false);
	ASSERT_TRUE(printed.is_object()) << done.out;
	EXPECT_EQ(printed.at("complete"), false);
	EXPECT_GE(printed.at("replay").size(), 1u);
	EXPECT_LT(printed.at("replay").size(), results_.at("replay").size());
	for (const json &run : printed.at("replay"))
		expect_adds_up(run);
	expect_no_orphans();
}

using comparison_without = command;

TEST_F(comparison_without, mptcpd_says_that_it_is_left_out_and_why)
{
	const manner without{.as_nobody = false, .out = "", .mounts = "mount --bind /dev/null /usr/libexec/mptcpd"};
	const json results = json::parse(succeed({"compare", "--quick", "--only", "replay", "-o", "new", "-j"},
						 without),
					 nullptr, false);
	ASSERT_TRUE(results.is_object());
	EXPECT_EQ(results.at("complete"), true);
	std::map<std::string, std::string> reasons;
	for (const json &each : results.at("left_out"))
		if (each.at("place") == "host")
			reasons[each.at("backend")] = each.at("reason");
	for (const char *backend : {"mptcpd-stock", "mptcpd"})
		EXPECT_NE(reasons[backend].find("apt-get install mptcpd"), std::string::npos)
			<< backend << ": " << reasons[backend];
	for (const json &run : results.at("replay"))
		EXPECT_FALSE(run.at("backend").get<std::string>().starts_with("mptcpd"));
}

using stopped_comparison = command;

TEST_F(stopped_comparison, keeps_what_it_has_after_ctrl_c)
{
	process stopped{{program(), "compare", "--quick", "--only", "replay", "-o", "new", "-j"}, folder()};
	const auto in_mptcpd = [&] { return stopped.child_called("mptcpd") != 0; };
	// During its second run through mptcpd, so that there is something to keep.
	ASSERT_TRUE(await(30, in_mptcpd));
	ASSERT_TRUE(await(30, [&] { return !in_mptcpd(); }));
	ASSERT_TRUE(await(30, in_mptcpd));
	stopped.signal_group(SIGINT);
	const outcome done = stopped.wait(20);
	EXPECT_EQ(done.status, 130);
	EXPECT_TRUE(done.err.starts_with("pathlab: interrupted")) << done.err;
	EXPECT_EQ(lines_of(done.err).size(), 1u) << done.err;
	expect_no_orphans();

	EXPECT_EQ(read_file(path("new/results.json")), done.out);
	const json results = json::parse(done.out, nullptr, false);
	ASSERT_TRUE(results.is_object()) << done.out;
	EXPECT_EQ(results.at("complete"), false);
	EXPECT_GE(results.at("replay").size(), 1u);
	for (const json &run : results.at("replay"))
		expect_adds_up(run);
	for (const std::string &file : files())
		EXPECT_EQ(file.find(".part"), std::string::npos) << file;
}

TEST_F(stopped_comparison, leaves_no_process_when_it_is_killed)
{
	process killed{{program(), "compare", "--quick", "--only", "replay", "-o", "new"}, folder()};
	ASSERT_TRUE(await(30, [&] { return killed.child_called("mptcpd") != 0; }));
	killed.signal(SIGKILL);
	EXPECT_EQ(killed.wait(20).status, 128 + SIGKILL);
	expect_no_orphans(5); // those that the kernel ends with it
}

TEST_F(stopped_comparison, has_its_results_also_when_it_is_killed)
{
	process killed{{program(), "compare", "--quick", "--only", "replay", "-o", "new"}, folder()};
	const auto kept = [&] {
		return std::filesystem::exists(path("new/results.json"))
			       ? json::parse(read_file(path("new/results.json")), nullptr, false)
			       : json{};
	};
	ASSERT_TRUE(await(60, [&] {
		const json results = kept();
		return results.is_object() && !results.at("replay").empty();
	}));
	killed.signal(SIGKILL);
	EXPECT_EQ(killed.wait(20).status, 128 + SIGKILL);
	expect_no_orphans(5);
	const json results = kept();
	ASSERT_TRUE(results.is_object());
	EXPECT_EQ(results.at("complete"), false);
	EXPECT_TRUE(results.at("failure").is_null());
	EXPECT_GE(results.at("replay").size(), 1u);
}

TEST_F(stopped_comparison, fails_where_nothing_of_it_can_run)
{
	const manner nobody{.as_nobody = true, .out = "", .mounts = ""};
	std::filesystem::permissions(folder(), std::filesystem::perms::all);
	const outcome done = pathlab({"compare", "--quick", "--only", "stress", "--host-only", "-o", "new"}, nobody);
	EXPECT_EQ(done.status, 1);
	ASSERT_EQ(lines_of(done.err).size(), 1u) << done.err;
	EXPECT_NE(done.err.find("nothing of this can be run here: "), std::string::npos) << done.err;
	EXPECT_TRUE(files().empty()) << "no results of nothing";
}

TEST_F(stopped_comparison, heeds_ctrl_c_while_it_records)
{
	process stopped{{program(), "compare", "--quick", "--only", "replay", "-o", "new"}, folder()};
	ASSERT_TRUE(await(30, [&] { return std::filesystem::exists(path("new/recorded.pcap.part")); }));
	stopped.signal_group(SIGTERM);
	const outcome done = stopped.wait(20);
	EXPECT_EQ(done.status, 130);
	EXPECT_TRUE(done.err.starts_with("pathlab: interrupted")) << done.err;
}

} // namespace

} // namespace pm::e2e
