// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The comparison: recorded connections and bursts replayed through every backend at rising rates; real connections while
// each path manager runs; and both again in the virtual machine whose kernel carries them all. Backends interleaved,
// several repetitions, every finished run kept in a file of its own.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "replay/machine.hpp"
#include "replay/runner.hpp"
#include "replay/stress.hpp"
#include "replay/stress_runner.hpp"

namespace pm::replay {

enum class extent { quick, usual, full };

struct compare_options {
	std::string folder; // made if it does not exist; gets the traces and the runs
	const policy_info *policy = nullptr;
	pm_settings settings{};
	std::vector<std::string> assignments; // what the settings were made of
	std::uint32_t buffer_bytes = 8u << 20;
	bool replays = true, stresses = true, in_machine = true; // what is done
	bool resume = false; // go on with what is in the folder

	extent how_much = extent::usual;
	std::vector<double> rates; // events/s that are replayed; the full rate comes on top
	unsigned repetitions = 3;
	std::uint64_t connections = 4000; // that are recorded
	double seconds = 2; // of load in a replay, at most
	std::uint64_t tail_events = 300;
	std::vector<stress_plan> plans;
	std::vector<std::string> scenarios_left_out; // that the host has, and this place has not
	unsigned probe_repetitions = 0;
	unsigned machine_seconds = 3600; // in the virtual machine, at most

	// As much as that takes on the `host`, or in the virtual machine (`vm`): it is slower.
	[[nodiscard]] static compare_options of(extent how_much, std::uint32_t buffer_bytes = 8u << 20,
						std::string_view place = this_place());
};

// Is told what is being done: how far (0 to 1), and in words.
using progress = std::function<void(double share, const std::string &what)>;

// Each as docs/results.md has it.
struct comparison {
	nlohmann::json recording = nullptr; // of the real connections: how many, how many events
	nlohmann::json replays = nlohmann::json::array(), stresses = nlohmann::json::array(),
		       left_out = nlohmann::json::array();
	nlohmann::json probes = nullptr, machine = nullptr; // machine: the virtual one's description
	std::string started; // UTC, as in ISO 8601
	bool complete = false; // not yet, interrupted or failed: this is what there is
	std::string failure; // why, if it failed
};

// Is given what there is after every run; where it fails, nothing more is measured.
using comparison_keeper = std::function<expected<void>(const comparison &)>;

// Fails only where nothing was measured, and leaves nothing then.
[[nodiscard]] expected<comparison> compare(const compare_options &options, const progress &tell,
					   const comparison_keeper &keep = {});

} // namespace pm::replay
