// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Small stress runs of each path manager that this machine can run: what they count is right, and adds up, also where a path
// manager stands still or loses a number of events that is known from elsewhere.
#include <thread>

#include <gtest/gtest.h>

#include "pm-netlink/event_source.hpp"
#include "replay/stress.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/output_of.hpp"

namespace {

using namespace pm;
using namespace pm::replay;
using pm::test::must;
using pm::test::output_of;

std::uint64_t lost(const event_account &account)
{
	std::uint64_t sum = 0;
	for (const auto &[stage, count] : account.lost)
		sum += count;
	return sum;
}

class stress_scene : public testing::Test {
protected:
	stress_run run(const char *scenario, const stress_load &load, const char *backend,
		       std::function<void(contender &)> started = {}, std::function<void(contender &)> loaded = {},
		       std::size_t which = 0)
	{
		plan = must(make_plans(*must(find_scenario(scenario)), load)).at(which);
		const auto chosen = must(choose_policy("fullmesh", {}));
		stress_run_options options;
		options.plan = &plan;
		options.backend = must(find_contender(backend));
		options.policy = chosen.policy;
		options.settings = chosen.settings;
		options.started = std::move(started);
		options.loaded = std::move(loaded);
		if (const auto possible = options.backend->check(options_for(options)); !possible) {
			skipped = possible.error().text;
			return {};
		}
		return must(run_stress(options));
	}

	stress_plan plan;
	std::string skipped;
};

// As a policy's subflows are: what is only routed goes another way, and is cheaper to open.
TEST_F(stress_scene, of_the_kernels_own_has_endpoints_on_their_interfaces)
{
	std::string said;
	(void)run("steady", {.connections = 20, .rate = 200}, "kernel",
		  [&](contender &) { said = output_of("ip mptcp endpoint"); });
	for (const char *each : {"10.0.1.1 id 1 subflow fullmesh dev p0", "10.0.2.1 id 3 subflow fullmesh dev p1"})
		EXPECT_NE(said.find(each), std::string::npos) << said;
}

class stress_run_of : public stress_scene, public testing::WithParamInterface<const char *> {};

TEST_P(stress_run_of, adds_up_at_both_ends)
{
	// Held so long that no path comes up between the last question about it and close().
	const stress_run one = run("steady", {.connections = 200, .rate = 400, .hold_ms = 1000}, GetParam());
	if (!skipped.empty())
		GTEST_SKIP() << skipped;
	const std::string backend = GetParam();
	EXPECT_EQ(one.load.made, 200u) << one.load.first_failure;
	EXPECT_EQ(one.came_up_client, one.came_up_server);
	EXPECT_EQ(one.paths.expected, backend == "none" ? 0u : 200u);
	if (backend == "none" || backend == "kernel") {
		EXPECT_FALSE(one.events);
		EXPECT_FALSE(one.manager_cpu_ns);
	} else {
		ASSERT_TRUE(one.events) << one.excluded.value_or("");
		EXPECT_EQ(one.events->emitted, one.events->delivered + lost(*one.events));
		EXPECT_GE(one.events->emitted, 600u); // CREATED, ESTABLISHED, CLOSED
		EXPECT_EQ(one.events->emitted - 600, one.came_up_client) << "SUB_ESTABLISHED";
		EXPECT_TRUE(backend != "bpf" || lost(*one.events) == 0) << "the kernel calls it for each that it sends";
		EXPECT_EQ(one.manager_cpu_ns > 0u, backend != "bpf") << "which has no process";
		EXPECT_GT(one.memory_kib, backend == "bpf" ? 100u : 1000u);
	}
	EXPECT_EQ(one.came_up_client, backend == "none" || backend == "mptcpd-stock" ? 0 : 200 - one.paths.missing);
	if (one.came_up_client > 0) {
		ASSERT_TRUE(one.join_latency) << one.not_timed;
		EXPECT_GT(one.join_latency->n(), one.came_up_client / 2);
		EXPECT_GT(one.join_latency->percentile(0.5), 1000u);
	}
	if (const auto &told = one.commands) {
		EXPECT_EQ(told->sent, told->accepted + told->refused);
		EXPECT_GE(told->accepted, one.came_up_client);
	}
}

TEST_P(stress_run_of, tells_how_long_it_took_after_an_overrun)
{
	// Overrun for certain: the path manager stands still while they come.
	std::thread going_on;
	const stress_run one = run("overrun", {.connections = 300}, GetParam(), [&](contender &manager) {
		if (const child *process = manager.process()) {
			process->pause();
			going_on = std::thread{[process] {
				std::this_thread::sleep_for(std::chrono::seconds{1});
				process->resume();
			}};
		}
	});
	if (going_on.joinable())
		going_on.join();
	if (!skipped.empty())
		GTEST_SKIP() << skipped;
	const std::string backend = GetParam();
	ASSERT_EQ(one.load.made, 300u) << one.load.first_failure;
	if (one.plan.load.buffer_bytes < 100'000 && (backend == "netlink" || backend == "mptcpd")) {
		EXPECT_GT(lost(*one.events), 0u);
	}
	if (backend == "mptcpd-stock") {
		EXPECT_FALSE(one.recovery_ms) << "its plugin opens no paths";
		EXPECT_EQ(one.paths.missing, 300u);
		return;
	}
	ASSERT_TRUE(one.recovery_ms);
	EXPECT_EQ(one.paths.missing, 0u);
	EXPECT_EQ(one.came_up_server, one.paths.expected);
	EXPECT_FALSE(one.excluded) << *one.excluded;
}

TEST_P(stress_run_of, tells_when_all_have_moved)
{
	const std::string backend = GetParam();
	if (backend == "mptcpd-stock")
		GTEST_SKIP() << "its plugin opens no paths, so nothing moves";
	const stress_run one = run("mobility", {.connections = 50, .rate = full_rate}, GetParam()); // none to keep
	if (!skipped.empty())
		GTEST_SKIP() << skipped;
	EXPECT_TRUE(one.moving_ms);
	EXPECT_TRUE(one.recovery_ms);
	EXPECT_EQ(one.paths.missing, 0u);
	EXPECT_EQ(one.came_up_client, 2 * one.paths.expected) << "once before, once after";
	EXPECT_FALSE(one.excluded) << *one.excluded;
}

INSTANTIATE_TEST_SUITE_P(each, stress_run_of,
			 testing::Values("none", "kernel", "mptcpd-stock", "mptcpd", "netlink", "ringbuf", "bpf"),
			 [](const auto &tested) {
				 std::string name = tested.param;
				 std::replace(name.begin(), name.end(), '-', '_');
				 return name;
			 });

class stress_scenario_of : public stress_scene, public testing::WithParamInterface<const char *> {};

TEST_P(stress_scenario_of, adds_up_in_each_of_its_plans)
{
	const stress_load load{.connections = 140, .rate = 200, .hold_ms = 50};
	const std::size_t plans = must(make_plans(*must(find_scenario(GetParam())), load)).size();
	for (std::size_t which = 0; which < plans; ++which) {
		SCOPED_TRACE(which);
		const stress_run one = run(GetParam(), load, "netlink", {}, {}, which);
		EXPECT_EQ(one.load.made, 140u) << one.load.first_failure;
		EXPECT_EQ(one.paths.expected, 140u);
		EXPECT_LE(one.paths.missing, 140u);
		EXPECT_EQ(one.came_up_client, one.came_up_server);
		ASSERT_TRUE(one.events) << one.excluded.value_or("");
		EXPECT_EQ(one.events->emitted, 3 * 140 + one.came_up_client);
		EXPECT_EQ(one.events->emitted, one.events->delivered + lost(*one.events));
		const bool small = one.plan.load.buffer_bytes < 100'000;
		EXPECT_TRUE(small || lost(*one.events) == 0) << "there is room for all of them";
	}
}

INSTANTIATE_TEST_SUITE_P(each, stress_scenario_of, testing::Values("step", "flash-crowd", "contention", "buffer"),
			 [](const auto &tested) {
				 std::string name = tested.param;
				 std::replace(name.begin(), name.end(), '-', '_');
				 return name;
			 });

// Not the path manager but the kernel says what became of them, for it does not answer.
TEST_F(stress_scene, of_a_path_manager_that_stands_still_adds_up)
{
	const auto one = run("steady", {.connections = 200, .rate = 400, .buffer_bytes = 4096}, "netlink",
			     [](contender &manager) { manager.process()->pause(); });
	ASSERT_TRUE(one.events) << one.excluded.value_or("");
	EXPECT_EQ(one.events->delivered, 0u);
	EXPECT_EQ(one.events->emitted, 600u);
	EXPECT_GT(one.events->lost.at("socket"), 0u);
	EXPECT_GT(one.events->lost.at("unread"), 0u);
	EXPECT_EQ(lost(*one.events), 600u);
	EXPECT_EQ(one.paths.missing, 200u);
	EXPECT_EQ(one.came_up_client, 0u);
	EXPECT_FALSE(one.commands);
}

// A second socket with the same small buffer, which nobody reads either, loses the same events.
TEST_F(stress_scene, finds_a_loss_that_is_known_exactly)
{
	std::optional<netlink::event_source> other;
	std::uint64_t lost_there = 0;
	const auto one = run(
		"steady", {.connections = 300, .rate = 600, .buffer_bytes = 16'384}, "netlink",
		[&](contender &manager) {
			manager.process()->pause();
			other.emplace(must(netlink::event_source::open({.buffer_bytes = 16'384})));
		},
		[&](contender &manager) {
			lost_there = other->counters().lost;
			manager.process()->resume();
		});
	ASSERT_TRUE(one.events) << one.excluded.value_or("");
	EXPECT_GT(lost_there, 0u);
	EXPECT_EQ(one.events->lost.at("socket"), lost_there);
	EXPECT_EQ(lost(*one.events), lost_there);
	EXPECT_EQ(one.events->emitted, 900u);
	EXPECT_EQ(one.events->delivered, 900 - lost_there);
}

TEST(stress, measures_interleaved_and_leaves_out_what_this_machine_cannot_run)
{
	stress_options options;
	const auto chosen = must(choose_policy("ndiffports", {}));
	options.policy = chosen.policy;
	options.settings = chosen.settings;
	options.repetitions = 2;
	options.plans = must(make_plans(*must(find_scenario("steady")), {.connections = 50, .rate = 500}));
	for (const char *name : {"none", "kernel", "netlink"})
		options.through.push_back(must(find_contender(name)));
	std::size_t kept = 0;
	const auto results = stress(
		options, [](double, const std::string &) {},
		[&](const stress_results &so_far) -> expected<void> {
			EXPECT_EQ(so_far.runs.size(), ++kept);
			return {};
		});
	EXPECT_TRUE(results.complete) << results.failure;
	EXPECT_EQ(kept, 4u);
	ASSERT_EQ(results.left_out.size(), 1u);
	EXPECT_EQ(results.left_out[0].backend, "kernel");
	EXPECT_NE(results.left_out[0].reason.find("ndiffports"), std::string::npos) << results.left_out[0].reason;
	ASSERT_EQ(results.runs.size(), 4u);
	EXPECT_EQ(results.runs[0].backend, "none");
	EXPECT_EQ(results.runs[2].backend, "netlink") << "the second repetition begins with another one";
	EXPECT_EQ(results.summarize().size(), 2u);
}

TEST(stress, pairs_runs_with_and_without_counting)
{
	stress_options options;
	options.policy = must(choose_policy("fullmesh", {})).policy;
	options.repetitions = 0;
	options.probe_repetitions = 2;
	options.plans = must(make_plans(*must(find_scenario("steady")), {.connections = 20, .rate = 500}));
	options.through.push_back(must(find_contender("none")));
	const auto results = stress(options, [](double, const std::string &) {});
	EXPECT_TRUE(results.complete) << results.failure;
	ASSERT_TRUE(results.probes);
	EXPECT_EQ(results.probes->ratio.n, 2u);
	EXPECT_GT(results.probes->ratio.least, 0);
	const auto probes = results.to_json("").at("probes");
	EXPECT_EQ(probes.at("ratio").at("n"), 2u);
	EXPECT_EQ(probes.at("cost_share"), 1 - results.probes->ratio.median);
}

// What cannot be kept ends the measuring.
TEST(stress, keeps_what_was_measured_when_it_cannot_go_on)
{
	stress_options options;
	const auto chosen = must(choose_policy("fullmesh", {}));
	options.policy = chosen.policy;
	options.repetitions = 3;
	options.plans = must(make_plans(*must(find_scenario("steady")), {.connections = 20, .rate = 500}));
	options.through.push_back(must(find_contender("none")));
	const auto results = stress(
		options, [](double, const std::string &) {},
		[](const stress_results &) -> expected<void> { return fail("the disk is full"); });
	EXPECT_FALSE(results.complete);
	EXPECT_EQ(results.failure, "the disk is full");
	EXPECT_EQ(results.runs.size(), 1u);
}

} // namespace
