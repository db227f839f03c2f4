// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// One run: a stream replayed through one backend, open loop, in a network namespace of its own that is gone afterwards.
// Everything must add up, or the run is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "replay/backend.hpp"

namespace pm::replay {

// When events are due: at the trace's own times, `speed` times as fast; evenly, at a rate; or as fast as they can be sent.
struct at_own_times {
	double speed = 1;
};
struct at_rate {
	double events_per_s = 1000;
};
struct at_full_rate {};
using pacing = std::variant<at_own_times, at_rate, at_full_rate>;

struct run_options {
	event_stream::options stream;
	pacing pace;
	const backend_info *through = nullptr;
	backend_options backend;
	std::vector<std::string> assignments; // what the policy's settings were made of
};

struct run_report {
	std::string backend, policy, trace;
	std::vector<std::string> assignments;
	std::optional<std::string> excluded; // why it does not count
	pacing pace;
	std::uint64_t emitted = 0, tail_emitted = 0;
	double load_seconds = 0; // from the first event of the load to its last
	double scheduled_seconds = 0; // as it should have been; at the full rate nothing should
	histogram sent_late; // sent - due, of the load
	backend_report result;
	decision_counts decisions;

	[[nodiscard]] std::uint64_t lost() const;
	[[nodiscard]] double offered_per_s() const; // of the load, as it was really sent
	[[nodiscard]] std::uint64_t load_delivered() const { return result.delivered - result.tail_delivered; }
	[[nodiscard]] double cpu_ns_per_event() const; // of the load; 0 if none was delivered
	[[nodiscard]] nlohmann::json to_json() const;
};

// Fails if anything of the run could not be done, or if its sums do not close.
[[nodiscard]] expected<run_report> run(const run_options &options);

} // namespace pm::replay
