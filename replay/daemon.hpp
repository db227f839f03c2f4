// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pm-netlinkd in the calling thread's network namespace, for as long as this object and that thread live. And where any
// daemon that we start and we leave files for each other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "replay/child.hpp"

namespace pm::replay {

// A file system that is mounted nowhere: gone when this object and the daemons that were started meanwhile are, also when we
// are killed. Takes CAP_SYS_ADMIN, as making a network namespace does.
class daemon_folder {
public:
	[[nodiscard]] static expected<daemon_folder> make();
	[[nodiscard]] const std::string &path() const noexcept { return path_; } // for us and for those daemons alone

private:
	explicit daemon_folder(descriptor root);
	descriptor root_;
	std::string path_;
};

// Of the build that this program is part of, or where it was installed.
[[nodiscard]] std::string daemon_program();

class running_daemon {
public:
	// `arguments` without --run-dir. Returns when it serves.
	[[nodiscard]] static expected<running_daemon> start(const std::vector<std::string> &arguments,
							    const std::string &program = daemon_program());
	[[nodiscard]] const child &process() const noexcept { return *process_; }
	[[nodiscard]] std::uint64_t startup_ns() const noexcept { return startup_ns_; }
	[[nodiscard]] expected<nlohmann::json> status() const; // fails if it does not answer within 5 seconds
	void resync() const noexcept; // reads the state back, soon

private:
	explicit running_daemon(daemon_folder folder) : folder_(std::move(folder)) {}
	daemon_folder folder_;
	std::unique_ptr<child> process_;
	std::uint64_t startup_ns_ = 0;
};

} // namespace pm::replay
