// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pm-netlinkd in the calling thread's network namespace, for as long as this object and that thread live.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "replay/child.hpp"

namespace pm::replay {

// Of the build that this program is part of, or where it was installed.
[[nodiscard]] std::string daemon_program();

class running_daemon {
public:
	// `arguments` without --run-dir. Returns when it serves.
	[[nodiscard]] static expected<running_daemon> start(const std::vector<std::string> &arguments,
							    const std::string &program = daemon_program());
	running_daemon(running_daemon &&other) noexcept
		: folder_(std::exchange(other.folder_, {})), process_(std::move(other.process_)),
		  startup_ns_(other.startup_ns_)
	{
	}
	running_daemon &operator=(running_daemon &&) = delete;
	~running_daemon();

	[[nodiscard]] const child &process() const noexcept { return *process_; }
	[[nodiscard]] std::uint64_t startup_ns() const noexcept { return startup_ns_; }
	[[nodiscard]] expected<nlohmann::json> status() const; // fails if it does not answer within 5 seconds
	void resync() const noexcept; // reads the state back, soon

private:
	explicit running_daemon(std::string folder) : folder_(std::move(folder)) {}
	std::string folder_;
	std::unique_ptr<child> process_;
	std::uint64_t startup_ns_ = 0;
};

} // namespace pm::replay
