// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab replay through every backend: that it adds up, that all decide the same, and who still hears after a loss.
#include "tests/e2e/program.hpp"
#include "tests/e2e/runs.hpp"

namespace pm::e2e {

namespace {

// Far more events than any buffer here holds, and faster than mptcpd reads.
constexpr unsigned many_connections = 40'000, many_events = 7 * many_connections;

class replay : public command {
protected:
	// The runs of a replay of the file `trace`.
	json run(words arguments) const
	{
		arguments.insert(arguments.begin(), {"replay", "trace", "-j"});
		const json results = json::parse(succeed(arguments), nullptr, false);
		EXPECT_FALSE(results.is_discarded());
		if (results.is_discarded())
			return json::array();
		expect_says_where(results);
		for (const json &each : results.at("replay")) {
			expect_adds_up(each);
			EXPECT_EQ(each.at("trace"), "trace");
		}
		return results.at("replay");
	}
};

TEST_F(replay, every_backend_decides_the_same_in_every_shape)
{
	// A buffer of 8 MiB holds more events than these traces have: nothing can be lost.
	for (const char *shape : {"poisson", "burst", "flash-crowd", "flapping", "mobility"}) {
		generate("trace", 100, shape);
		for (const words &policy : {words{"fullmesh"}, {"ndiffports", "--set", "subflows=4"}}) {
			words arguments{"--through", "netlink,bpf,native", "--rate", "max", "--tail", "20", "--policy"};
			arguments.insert(arguments.end(), policy.begin(), policy.end());
			SCOPED_TRACE(std::string{shape} + ' ' + policy[0]);
			const json runs = run(arguments);
			ASSERT_EQ(runs.size(), 3u);
			for (const json &each : runs) {
				EXPECT_EQ(each.at("policy"), policy[0]);
				EXPECT_EQ(each.at("tail_delivered"), 1);
				EXPECT_EQ(each.at("decisions").at("expected"), runs[0].at("decisions").at("expected"));
				expect_all_decided(each);
			}
		}
	}
}

// Also on the kernels that Debian ships: tests/on-other-kernel.
TEST_F(replay, takes_its_trace_also_behind_an_option_that_may_be_given_several_times)
{
	succeed({"generate", "--shape", "poisson", "--connections", "5", "--rate", "1000", "-o", "trace"});
	for (const words &arguments :
	     {words{"replay", "-j", "--policy", "ndiffports", "--through", "native", "trace"},
	      words{"replay", "-j", "--through", "native", "--policy", "ndiffports", "--set", "subflows=2", "trace"}})
		EXPECT_EQ(json::parse(succeed(arguments)).at("replay").size(), 1u);
}

TEST_F(replay, every_policy_decides_in_the_kernel_as_here)
{
	generate("trace", 60, "mobility");
	const json policies = json::parse(succeed({"policies", "-j"})).at("policies");
	for (const json &policy : policies) {
		if (policy.at("only_attached"))
			continue;
		SCOPED_TRACE(policy.at("name"));
		const json runs = run({"--through", "bpf,native", "--rate", "max", "--policy", policy.at("name")});
		ASSERT_EQ(runs.size(), 2u);
		for (const json &each : runs)
			expect_all_decided(each);
	}
}

TEST_F(replay, a_calm_load_is_lost_by_no_backend)
{
	generate("trace", 60);
	const json runs = run(
		{"--through", "mptcpd-stock,mptcpd,netlink,bpf,native", "--policy", "fullmesh", "--rate", "500"});
	ASSERT_EQ(runs.size(), 5u);
	for (const json &each : runs) {
		EXPECT_EQ(each.at("pace"), (json{{"rate", 500}}));
		EXPECT_EQ(lost(each), 0u) << each.at("backend");
		EXPECT_EQ(each.at("tail_delivered"), 1) << each.at("backend");
		if (!each.at("backend").get<std::string>().starts_with("mptcpd"))
			expect_all_decided(each);
	}
}

// When an event was read, not when somebody next looked: long before the one after it was due.
TEST_F(replay, latency_has_nothing_of_the_pause_between_two_events)
{
	constexpr double rate = 20, pause_ns = 1e9 / rate;
	generate("trace", 4);
	const json runs = run({"--through", "mptcpd-stock,mptcpd,netlink,bpf,native", "--policy", "fullmesh", "--rate",
			       std::to_string(rate), "--tail", "0"});
	ASSERT_EQ(runs.size(), 5u);
	for (const json &each : runs)
		EXPECT_LT(each.at("latency_ns").at("p50").get<double>(), pause_ns / 4) << each.at("backend");
}

TEST_F(replay, stock_mptcpd_is_deaf_after_an_overrun)
{
	generate("trace", many_connections, "burst");
	const json runs = run({"--through", "mptcpd-stock", "--policy", "fullmesh", "--rate", "max"});
	EXPECT_GE(runs.at(0).at("emitted"), many_events);
	EXPECT_GT(runs.at(0).at("lost").at("socket"), 0);
	EXPECT_EQ(runs.at(0).at("tail_delivered"), 0);
}

TEST_F(replay, mptcpd_with_our_plugin_hears_again_after_an_overrun)
{
	generate("trace", many_connections, "burst");
	const json run_of_it =
		run({"--through", "mptcpd", "--policy", "fullmesh", "--rate", "max", "--buffer", "65536"}).at(0);
	EXPECT_GT(run_of_it.at("lost").at("overrun"), 0);
	EXPECT_EQ(run_of_it.at("tail_delivered"), 1);
	expect_adds_up(run_of_it);
}

TEST_F(replay, our_reader_with_too_small_a_buffer_loses_and_still_hears)
{
	generate("trace", many_connections, "burst");
	const json runs = run({"--through", "netlink", "--policy", "fullmesh", "--rate", "max", "--buffer", "8192"});
	EXPECT_GE(runs.at(0).at("emitted"), many_events);
	EXPECT_GT(runs.at(0).at("lost").at("socket"), 0);
	EXPECT_EQ(runs.at(0).at("lost").at("refused"), 0);
	EXPECT_GT(runs.at(0).at("decisions").at("missing"), 0);
	EXPECT_EQ(runs.at(0).at("tail_delivered"), 1);
}

TEST_F(replay, repetitions_are_interleaved)
{
	generate("trace", 20);
	words order;
	for (const json &each : run({"--through", "bpf,netlink,native", "--policy", "fullmesh", "--speed", "10",
				     "--repeat", "3", "--tail", "0"})) {
		order.push_back(each.at("backend"));
		EXPECT_EQ(each.at("pace"), (json{{"speed", 10}}));
		EXPECT_TRUE(each.at("tail_delivered").is_null()) << "there was none";
		EXPECT_EQ(each.at("emitted"), 140);
	}
	EXPECT_EQ(order, (words{"bpf", "netlink", "native", "bpf", "netlink", "native", "bpf", "netlink", "native"}));
}

TEST_F(replay, the_table_has_a_line_for_each_backend)
{
	generate("trace", 20);
	const std::string table = succeed({"replay", "trace", "--through", "netlink,bpf", "--through", "native",
					   "--policy", "ndiffports", "--rate", "max"});
	const words lines = lines_of(table);
	ASSERT_GE(lines.size(), 4u) << table;
	for (const char *column : {"backend", "lost", "latency", "CPU"})
		EXPECT_NE(lines[0].find(column), std::string::npos) << lines[0];
	for (const char *backend : {"netlink", "bpf", "native"})
		EXPECT_NE(table.find(backend), std::string::npos) << table;
	EXPECT_EQ(files(), words{"trace"});
}

TEST_F(replay, a_rate_near_zero_is_slow_and_ctrl_c_ends_it)
{
	generate("trace", 20);
	for (const words &pace : {words{"--rate", "1e-300"}, {"--speed", "1e-300"}, {"--rate", "1e-9"}}) {
		words all{program(), "replay", "trace", "--through", "mptcpd-stock", "--policy", "fullmesh"};
		all.insert(all.end(), pace.begin(), pace.end());
		process slow{all, folder()};
		EXPECT_TRUE(await(10, [&] { return slow.child_called("mptcpd") != 0; }));
		sleep_ms(300);
		EXPECT_TRUE(slow.runs()) << pace[0] << ' ' << pace[1];
		slow.signal_group(SIGINT);
		const outcome done = slow.wait(20);
		EXPECT_EQ(done.status, 130);
		EXPECT_EQ(done.err, "pathlab: interrupted\n");
		EXPECT_EQ(done.out, "");
		expect_no_orphans();
	}
}

} // namespace

} // namespace pm::e2e
