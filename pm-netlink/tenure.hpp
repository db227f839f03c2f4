// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A network namespace in the hands of one path manager of ours: a lock against a second one, the switch of the kernel to
// its userspace path manager, and the way back. What was set before is written down beside the lock, so that a path manager
// that was killed (kill -9) is followed by one that still knows what to restore.
#pragma once

#include <cstdint>
#include <string>

#include "pm-netlink/error.hpp"
#include "pm-netlink/netns.hpp"

namespace pm::netlink {

inline constexpr const char *default_run_folder = "/run/pathlab";

// RUN-FOLDER/netns-COOKIE, for the files about the calling thread's network namespace. A cookie names one namespace until
// the machine is booted again (SO_NETNS_COOKIE, Linux 5.14).
[[nodiscard]] expected<std::string> namespace_file(const std::string &run_folder, const std::string &suffix);

class tenure {
public:
	// Of the calling thread's network namespace; makes `run_folder` if there is none. Fails, with nothing changed, if
	// another path manager of ours serves the namespace, or the kernel has no userspace path manager.
	[[nodiscard]] static expected<tenure> begin(const std::string &run_folder);
	tenure(tenure &&) noexcept = default;
	tenure &operator=(tenure &&) = delete;
	~tenure() = default; // as if killed: nothing is restored

	// Restores what was set before and gives the namespace up. Connections keep the path manager that they began with.
	// Yields what is set now: the kernel's own path manager where the one from before() is gone, as one in BPF may be.
	[[nodiscard]] expected<std::string> end();
	[[nodiscard]] const std::string &before() const noexcept { return before_; }

private:
	tenure(descriptor lock, std::string path) noexcept : lock_(std::move(lock)), path_(std::move(path)) {}
	[[nodiscard]] expected<void> switch_over();

	descriptor lock_;
	std::string path_;
	std::string before_; // the value of the sysctl
};

} // namespace pm::netlink
