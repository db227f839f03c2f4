// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab stress as a user types it: its table and its JSON, what it refuses, and that nothing is lost on a full disk.
#include "tests/e2e/program.hpp"
#include "tests/e2e/runs.hpp"

namespace pm::e2e {

namespace {

const words small{"stress", "--connections", "100", "--rate", "500", "--hold", "50"};

words with(words more)
{
	words all = small;
	all.insert(all.end(), more.begin(), more.end());
	return all;
}

class stress : public command {};

void expect_whole(const json &run)
{
	SCOPED_TRACE(run.at("scenario").get<std::string>() + " through " + run.at("backend").get<std::string>());
	const json &connections = run.at("connections"), &subflows = run.at("subflows"), &events = run.at("events");
	EXPECT_EQ(connections.at("asked").get<unsigned>(),
		  connections.at("made").get<unsigned>() + connections.at("failed").get<unsigned>());
	EXPECT_LE(subflows.at("missing"), subflows.at("expected"));
	if (!events.is_null()) {
		EXPECT_EQ(events.at("emitted").get<std::uint64_t>(),
			  events.at("delivered").get<std::uint64_t>() + lost(events));
	}
	for (const char *field :
	     {"policy", "settings", "place", "load", "repetition", "seconds", "excluded", "commands", "missing",
	      "join_latency_ns", "not_timed", "rate", "cpu_ns_per_connection", "memory_kib", "recovery_ms"})
		EXPECT_TRUE(run.contains(field)) << field;
}

// ... and it counts, and whoever is told of events has an account of them.
void expect_counts(const json &run)
{
	expect_whole(run);
	EXPECT_TRUE(run.at("excluded").is_null()) << run.at("backend") << ": " << run.at("excluded");
	const bool told = run.at("backend") != "none" && run.at("backend") != "kernel";
	EXPECT_EQ(run.at("events").is_null(), !told) << run.at("backend");
}

TEST_F(stress, prints_a_row_for_each_path_manager)
{
	const std::string table = succeed(with({"--through", "none,kernel,netlink"}));
	EXPECT_NE(table.find("scenario"), std::string::npos) << table;
	for (const char *backend : {"none", "kernel", "netlink"})
		EXPECT_NE(table.find(backend), std::string::npos) << table;
	EXPECT_TRUE(files().empty());
}

// As in a container: what the kernel calls a process is not what it is called here.
TEST_F(stress, counts_in_a_pid_namespace_of_its_own)
{
	words all{"/usr/bin/unshare", "--pid", "--fork", "--mount-proc", program()};
	const words rest = with({"--through", "netlink", "-j"});
	all.insert(all.end(), rest.begin(), rest.end());
	const outcome ran = process(all, folder()).wait();
	ASSERT_EQ(ran.status, 0) << ran.err;
	const json run = json::parse(ran.out).at("stress").at(0);
	expect_counts(run);
	EXPECT_EQ(run.at("events").at("emitted_by"), "probe");
}

TEST_F(stress, says_the_same_on_stdout_and_in_a_file)
{
	const auto printed = json::parse(
		succeed(with({"--through", "none,netlink", "-n", "2", "-j", "-o", "new/folder"})));
	EXPECT_EQ(printed, json::parse(read_file(path("new/folder/results.json"))));
	EXPECT_EQ(files().size(), 1u + 2u) << "two folders and the file";
	EXPECT_EQ(printed.at("schema"), "pathlab-results/2");
	EXPECT_EQ(printed.at("complete"), true);
	EXPECT_TRUE(printed.at("failure").is_null());
	expect_says_where(printed);
	ASSERT_EQ(printed.at("stress").size(), 4u);
	for (const json &run : printed.at("stress"))
		expect_counts(run);
}

TEST_F(stress, names_what_it_leaves_out_and_why)
{
	const words arguments = with({"--through", "none,kernel", "--policy", "ndiffports"});
	const std::string table = succeed(arguments);
	EXPECT_NE(table.find("kernel: left out: "), std::string::npos) << table;
	words as_json = arguments;
	as_json.push_back("-j");
	const auto printed = json::parse(succeed(as_json));
	ASSERT_EQ(printed.at("left_out").size(), 1u);
	EXPECT_EQ(printed.at("left_out")[0].at("backend"), "kernel");
	EXPECT_FALSE(printed.at("left_out")[0].at("reason").get<std::string>().empty());
	EXPECT_EQ(printed.at("stress").size(), 1u);
}

TEST_F(stress, fails_where_nothing_of_it_can_run)
{
	const outcome done = pathlab(with({"--through", "kernel", "--policy", "ndiffports", "-o", "new"}));
	EXPECT_EQ(done.status, 1);
	EXPECT_NE(done.out.find("left out"), std::string::npos) << done.out;
	ASSERT_EQ(lines_of(done.err).size(), 1u) << done.err;
	EXPECT_NE(done.err.find("nothing of this can be run here: kernel: "), std::string::npos) << done.err;
	EXPECT_EQ(json::parse(read_file(path("new/results.json"))).at("complete"), false);
}

TEST_F(stress, goes_on_with_the_others_where_one_cannot_be_started)
{
	const manner dying{.as_nobody = false, .out = {}, .mounts = "mount --bind /bin/false /usr/libexec/mptcpd"};
	const auto printed = json::parse(succeed(with({"--through", "mptcpd-stock,netlink", "-j"}), dying));
	EXPECT_EQ(printed.at("complete"), true);
	ASSERT_EQ(printed.at("stress").size(), 2u);
	EXPECT_NE(printed.at("stress")[0].at("excluded").get<std::string>().find("could not be made"),
		  std::string::npos);
	expect_counts(printed.at("stress")[1]);
}

// Without the types of the kernel the programs that see events cannot be loaded.
TEST_F(stress, takes_what_the_connections_imply_where_events_cannot_be_seen)
{
	const manner unseen{.as_nobody = false, .out = {}, .mounts = "mount --bind /dev/null /sys/kernel/btf/vmlinux"};
	for (const char *scenario : {"steady", "mobility", "announce"}) {
		SCOPED_TRACE(scenario);
		const auto printed = json::parse(succeed(with({"--through", "netlink", "--scenario", scenario, "-j"}), unseen));
		const json &run = printed.at("stress").at(0);
		expect_counts(run);
		EXPECT_EQ(run.at("events").at("emitted_by"), "implied");
		EXPECT_GE(run.at("events").at("emitted"), 3 * 100);
	}
}

TEST_F(stress, says_how_to_measure_the_same_again)
{
	const words options{"--set",	  "subflows=2",	  "--buffer", "65536",	    "--announce",
			    "1",	  "--contention", "1",	      "--priority", "lower"};
	words arguments = with({"--through", "none", "--policy", "ndiffports", "-j"});
	arguments.insert(arguments.end(), options.begin(), options.end());
	const auto printed = json::parse(succeed(arguments));
	const std::string command = printed.at("command");
	for (std::size_t i = 0; i < options.size(); i += 2)
		EXPECT_NE(command.find(options[i] + ' ' + options[i + 1]), std::string::npos) << command;
	EXPECT_EQ(printed.at("stress").at(0).at("settings"), (words{"subflows=2"}));
}

TEST_F(stress, makes_connections_of_both_families_on_several_paths)
{
	const auto printed = json::parse(
		succeed({"stress", "--connections", "100", "--rate", "200", "--through", "netlink", "--families",
			 "both", "--paths", "2", "--hold", "500", "--scenario", "announce", "-j"}));
	const json &run = printed.at("stress").at(0);
	expect_counts(run);
	EXPECT_GT(run.at("subflows").at("expected"), 0);
	EXPECT_EQ(run.at("subflows").at("client"), run.at("subflows").at("server"));
	EXPECT_EQ(run.at("subflows").at("missing"), 0) << run.at("subflows");
}

TEST_F(stress, refuses_what_makes_no_sense)
{
	const std::vector<std::pair<words, std::string>> refused{
		{{"stress"}, "--through"},
		{with({"--through", "native"}), "there is no backend 'native'"},
		{with({"--through", "none", "--policy", "best"}), "best"},
		{with({"--through", "none", "--scenario", "calm"}), "there is no scenario 'calm'"},
		{{"stress", "--through", "none", "--rate", "fast"}, "--rate takes"},
		{{"stress", "--through", "none", "--rate", "0"}, "--rate takes"},
		{{"stress", "--through", "none", "--connections", "0"}, "--connections"},
		{with({"--through", "none", "--paths", "9"}), "--paths"},
		{with({"--through", "none", "--families", "5"}), "--families"},
		{with({"--through", "none", "--paths", "1", "--scenario", "mobility"}), "--paths 2"},
		{with({"--through", "none", "--announce", "2"}), "cannot be announced"},
	};
	for (const auto &[arguments, why] : refused) {
		const outcome done = pathlab(arguments);
		EXPECT_EQ(done.status, 2) << done.err;
		EXPECT_NE(done.err.find(why), std::string::npos) << done.err;
		EXPECT_EQ(done.out, "");
	}
	EXPECT_TRUE(files().empty());
}

TEST_F(stress, prints_what_a_full_disk_does_not_take)
{
	std::filesystem::create_directory(path("full"));
	const manner full{.as_nobody = false,
			  .out = {},
			  .mounts = "mount -t tmpfs -o size=4096 none full && head -c 4096 /dev/zero >full/rest"};
	const outcome done = pathlab(with({"--through", "none", "-n", "3", "-o", "full"}), full);
	EXPECT_EQ(done.status, 1);
	EXPECT_EQ(lines_of(done.err).size(), 1u) << done.err;
	EXPECT_NE(done.err.find("No space left on device"), std::string::npos) << done.err;
	const auto printed = json::parse(done.out, nullptr, false);
	ASSERT_TRUE(printed.is_object()) << done.out;
	EXPECT_EQ(printed.at("complete"), false);
	EXPECT_EQ(printed.at("stress").size(), 1u);
}

// What was kept after the last run has room, once; beside the one that says that it is complete it has not.
TEST_F(stress, does_not_call_complete_what_it_could_not_write_at_the_end)
{
	succeed(with({"--through", "none", "-o", "one"}));
	// Room for the file after the run, but not for the last one beside it, which takes its place.
	const auto pages = (std::filesystem::file_size(path("one/results.json")) + 4095) / 4096;
	std::filesystem::create_directory(path("full"));
	const manner full{.as_nobody = false,
			  .out = {},
			  .mounts = "mount -t tmpfs -o size=" + std::to_string((2 * pages - 1) * 4096) + " none full"};
	const outcome done = pathlab(with({"--through", "none", "-o", "full"}), full);
	EXPECT_EQ(done.status, 1);
	EXPECT_NE(done.err.find("No space left on device"), std::string::npos) << done.err;
	const auto printed = json::parse(done.out, nullptr, false);
	ASSERT_TRUE(printed.is_object()) << done.out;
	EXPECT_EQ(printed.at("complete"), false);
	EXPECT_NE(printed.at("failure").get<std::string>().find("No space left"), std::string::npos);
}

TEST_F(stress, leaves_its_runs_and_no_process_when_it_is_killed)
{
	process killed{{program(), "stress", "--through", "netlink", "--connections", "100", "--rate", "500", "-n",
			"1000", "-o", "results"},
		       folder()};
	ASSERT_TRUE(await(30, [&] { return std::filesystem::exists(path("results/results.json")); }));
	ASSERT_TRUE(await(30, [&] { return killed.child_called("pm-netlinkd") != 0; }));
	killed.signal(SIGKILL);
	EXPECT_EQ(killed.wait(20).status, 128 + SIGKILL);
	expect_no_orphans(5); // those that the kernel ends with it
	const auto kept = json::parse(read_file(path("results/results.json")));
	EXPECT_EQ(kept.at("complete"), false);
	EXPECT_GT(kept.at("stress").size(), 0u);
}

TEST_F(stress, keeps_its_runs_when_it_is_interrupted_or_its_terminal_is_closed)
{
	// A terminal that is closed and the shell in it: one SIGHUP of each.
	for (const std::vector<int> &signals : {std::vector{SIGINT}, {SIGHUP, SIGHUP}}) {
		process running{{program(), "stress", "--through", "none", "--connections", "100", "--rate", "500",
				 "-n", "1000", "-o", "results"},
				folder()};
		ASSERT_TRUE(await(30, [&] { return std::filesystem::exists(path("results/results.json")); }));
		for (const int each : signals)
			running.signal(each);
		const outcome done = running.wait();
		EXPECT_EQ(done.status, 130) << done.err;
		const auto kept = json::parse(read_file(path("results/results.json")));
		EXPECT_EQ(kept.at("complete"), false);
		EXPECT_GT(kept.at("stress").size(), 0u);
		std::filesystem::remove_all(path("results"));
	}
}

} // namespace

} // namespace pm::e2e
