// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What was decided, and what should have been: the commands of a run are logged to an anonymous file, and afterwards held
// against those of the oracle, which is the engine called directly with every event of the same stream.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"

namespace pm::replay {

struct decision_counts {
	std::uint64_t expected = 0; // commands of the oracle
	std::uint64_t made = 0;
	std::uint64_t missing = 0; // expected, not made while the connection lived
	std::uint64_t wrong = 0; // made, not expected, or not yet
};

// One command: of which event, about which connection, and a digest of all that it says.
struct decision {
	std::uint32_t seq;
	std::uint32_t token;
	std::uint64_t digest;
};
[[nodiscard]] decision digest(const pm_command &command, std::uint32_t seq) noexcept;

class decision_log {
public:
	[[nodiscard]] static expected<decision_log> create();

	void add(const pm_result &result) noexcept
	{
		for (unsigned i = 0; i < result.commands; ++i)
			add(digest(result.command[i], result.seq));
	}
	[[nodiscard]] expected<void> rewind();
	[[nodiscard]] expected<bool> next(decision &out); // false: at the end

private:
	struct closer {
		void operator()(std::FILE *file) const noexcept { std::fclose(file); }
	};
	explicit decision_log(std::FILE *file) : file_(file) {}
	void add(const decision &one) noexcept;

	std::unique_ptr<std::FILE, closer> file_;
	bool full_ = false;
};

// Compares two logs, both in the order of events. A command counts as made if it was made when it was expected or later in
// its connection's life. Memory grows with the connections that are open at a time.
class decision_comparison {
public:
	explicit decision_comparison(decision_log &made);
	// Event by event, in order: first the oracle's results (several, if the event reached several connections), then the
	// event itself.
	void expect(const pm_result &result);
	[[nodiscard]] expected<void> pass(const pm_event &event);
	[[nodiscard]] expected<decision_counts> finish();

private:
	struct state;
	std::shared_ptr<state> state_;
};

} // namespace pm::replay
