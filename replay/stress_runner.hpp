// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// One run: a path manager through one plan, in namespaces of its own, and everything counted.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "replay/histogram.hpp"
#include "replay/load.hpp"
#include "replay/stress_contender.hpp"
#include "replay/stress_scenario.hpp"

namespace pm::replay {

struct stress_run {
	stress_plan plan;
	std::string backend, policy;
	std::vector<std::string> assignments; // the policy's settings, as they were given
	unsigned repetition = 1;
	double seconds = 0;
	std::optional<std::string> excluded; // why it does not count
	load_report load; // without its connections
	std::optional<event_account> events; // nothing: it gets none, or the sums do not close
	std::optional<commands_told> commands;
	std::uint64_t came_up_client = 0, came_up_server = 0; // subflows beyond the first
	path_watch::result paths;
	std::optional<histogram> join_latency; // ns
	std::string not_timed; // why there is none
	std::optional<std::uint64_t> manager_cpu_ns;
	std::uint64_t machine_cpu_ns = 0, machine_cpu_step_ns = 0; // as finely as it can be told
	std::optional<std::uint64_t> memory_kib;
	std::optional<double> recovery_ms, moving_ms;

	[[nodiscard]] nlohmann::json to_json() const; // of schema pathlab-results/2
};

struct stress_run_options {
	const stress_plan *plan = nullptr;
	const contender_info *backend = nullptr;
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::vector<std::string> assignments;
	unsigned repetition = 1;
	bool probes = true; // false: nothing is counted but the connections
	std::function<void(contender &)> started, loaded; // for tests: before the load, and behind it
};

[[nodiscard]] contender_options options_for(const stress_run_options &options);
// How many subflows beyond the first the policy plans for a connection, with all of its addresses and those announced.
[[nodiscard]] unsigned planned_subflows(const stress_run_options &options, bool ipv6, unsigned client_paths);

// A run that could not be made is an error; one that was made and does not count says so.
[[nodiscard]] expected<stress_run> run_stress(const stress_run_options &options);

// Connections per second, with everything counted and with nothing counted but the connections.
struct probe_pair {
	double with = 0, without = 0;
};
// The plan again and again, in turn with and without, in the same namespaces and beside the same path manager, so that what
// is different each time that these are made anew is in neither. A pair of which one could not be measured is left out; without
// any it fails.
[[nodiscard]] expected<std::vector<probe_pair>> run_with_and_without_probes(const stress_run_options &options,
									     unsigned pairs);

} // namespace pm::replay
