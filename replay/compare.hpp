// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The comparison: real connections recorded once, that recording and generated bursts replayed through every backend at
// rising rates, backends interleaved, several repetitions.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "replay/runner.hpp"

namespace pm::replay {

struct compare_options {
	std::string folder; // made if it does not exist; gets the traces
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::uint32_t buffer_bytes = 8u << 20;
	std::vector<double> rates; // events/s; the full rate comes on top
	unsigned repetitions = 5;
	std::uint64_t connections = 4000; // that are recorded
	double seconds = 2; // of load in a run, at most
	std::uint64_t tail_events = 300;

	[[nodiscard]] static compare_options quick(); // under a minute
	[[nodiscard]] static compare_options thorough(); // under ten
};

// Is told what is being done: how far (0 to 1), and in words.
using progress = std::function<void(double share, const std::string &what)>;

struct comparison {
	nlohmann::json recording; // of the real connections: how many, how many events
	std::vector<run_report> runs;
	bool complete = true; // false: interrupted or failed, this is what there was
	std::string failure; // why, if a run failed
};

[[nodiscard]] expected<comparison> compare(const compare_options &options, const progress &tell);

// Records real connections between two namespaces with two paths into `path`.
[[nodiscard]] expected<nlohmann::json> record_connections(const std::string &path, std::uint64_t connections,
							  double rate);

// Medians with their spread over the repetitions of each trace, pace and backend, in the order of the runs.
[[nodiscard]] nlohmann::json summarize_runs(const std::vector<run_report> &runs);

} // namespace pm::replay
