// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a path manager is put through: phases of offered load, then actions, each of which waits for what it needs. A
// scenario makes one or more plans of the load that was asked for; whoever runs a plan knows nothing of scenarios.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pm-netlink/error.hpp"
#include "replay/load_schedule.hpp"

namespace pm::replay {

enum class priority : std::uint8_t { equal, lower };

struct stress_load {
	std::uint64_t connections = 2000;
	double rate = 2000; // a second; full_rate: no schedule
	unsigned paths = 2; // links between the namespaces
	bool ipv4 = true, ipv6 = false;
	unsigned hold_ms = 30;
	std::uint32_t buffer_bytes = 8u << 20; // of the event socket, where it can be set
	unsigned announced = 0; // addresses of the server beyond the first that it announces
	unsigned contention = 0; // busy threads
	priority contenders_priority = priority::equal; // of those threads
	unsigned delay_us = 0; // each way
	unsigned megabits = 0; // a second, of each link; 0: as fast as it goes
};

// What is done while the connections are open, in this order.
enum class action : std::uint8_t {
	await_open, // all of them
	await_paths, // each has the paths that it should have, and no others: how long that took is the recovery time
	remove_address, // of the client's last path; the time until none uses it is the moving time
	add_address,
	close_all,
};

struct stress_plan {
	std::string scenario;
	stress_load load;
	std::vector<load_step> steps;
	std::vector<action> actions; // none: each connection is held for its time
	bool needs_loss = false; // it is about what follows an overrun
};

struct scenario {
	std::string_view name, help;
	std::vector<stress_plan> (*plans)(const stress_load &);
};
[[nodiscard]] std::span<const scenario> scenarios() noexcept;
[[nodiscard]] expected<const scenario *> find_scenario(std::string_view name); // the error names those that exist
// The plans of a scenario, or why that load makes no sense for it.
[[nodiscard]] expected<std::vector<stress_plan>> make_plans(const scenario &what, const stress_load &load);

} // namespace pm::replay
