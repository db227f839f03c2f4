// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Path managers through plans, over and over, interleaved. Keeps every run, also those that do not count; what this machine
// cannot run is left out with its reason.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "replay/stress_runner.hpp"

namespace pm::replay {

struct stress_options {
	std::vector<const contender_info *> through;
	std::vector<stress_plan> plans;
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::vector<std::string> assignments; // what the settings were made of
	unsigned repetitions = 1;
	unsigned probe_repetitions = 0; // of measuring what the probes cost; 0: that is not measured
};

// What counting costs: how many connections can be made in a second with and without it.
struct probe_cost {
	summary with, without;
	summary ratio; // with / without of two loads directly one after the other: what drifts is the same in both
	std::optional<interval> median_within; // of the ratio
	std::string backend; // that was running
};

inline constexpr const char *what_counting_costs = "what counting costs";

struct stress_results {
	struct absent {
		std::string backend, reason;
		std::string part{}; // what of it, if it is not all
		[[nodiscard]] std::string why() const { return part.empty() ? reason : part + ": " + reason; }
	};
	// In a sentence: why there is no run at all.
	[[nodiscard]] static std::string why_nothing_ran(const std::vector<absent> &all);

	std::vector<stress_run> runs;
	std::vector<absent> left_out;
	std::optional<probe_cost> probes;
	std::string started; // UTC, as in ISO 8601
	bool complete = false;
	std::string failure; // why not, if it was not an interruption

	// {schema, machine, versions, command, started, complete, failure, left_out, probes, stress, summary}
	[[nodiscard]] nlohmann::json to_json(const std::string &command) const;
	// Each figure of runs that have everything but the repetition in common, excluded ones left out: n, median, min, max.
	[[nodiscard]] nlohmann::json summarize() const;
};

// Called with a share from 0 to 1, and what comes next.
using stress_progress = std::function<void(double, const std::string &)>;
// Called after every run; where it fails, nothing more is measured.
using stress_keeper = std::function<expected<void>(const stress_results &)>;

// What was measured, also where it ends early: see complete and failure.
[[nodiscard]] stress_results stress(const stress_options &options, const stress_progress &progress,
				    const stress_keeper &keep = {});

} // namespace pm::replay
