// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A program that runs beside us for a while: started in the calling thread's network namespace, gone when this object,
// the thread or the process is, however they end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "pm-netlink/netns.hpp"

namespace pm::replay {

class child {
public:
	// Standard output and error go to /dev/null. With `cpu`, as in stay_on_cpu(), it stays on that one, and the calling
	// thread on the sending one.
	[[nodiscard]] static expected<child> start(const std::vector<std::string> &command,
						   std::optional<unsigned> cpu = std::nullopt);
	child(child &&other) noexcept;
	child &operator=(child &&) = delete;
	~child(); // kills it and waits

	[[nodiscard]] pid_t pid() const noexcept { return pid_; }
	[[nodiscard]] bool alive() const noexcept;
	void pause() const noexcept; // SIGSTOP
	void resume() const noexcept; // SIGCONT
	[[nodiscard]] std::uint64_t cpu_ns() const noexcept; // that it has used so far (/proc/PID/schedstat)
	[[nodiscard]] std::uint64_t memory_kib() const; // resident

	// Our copies of its generic netlink sockets that are members of a multicast group. Each time it is asked for anew.
	[[nodiscard]] expected<descriptor> socket_in_group(std::uint32_t group) const; // none yet: an empty descriptor

private:
	child(pid_t pid, descriptor handle) noexcept : pid_(pid), handle_(std::move(handle)) {}

	pid_t pid_ = -1;
	descriptor handle_; // pidfd
};

} // namespace pm::replay
