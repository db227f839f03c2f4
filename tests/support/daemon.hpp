// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The real pm-netlinkd, as a process in a network namespace: started, asked for its status, told things by signals. What
// a test leaves running dies with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/types.h>

#include "pm-netlink/error.hpp"
#include "pm-netlink/mib.hpp"
#include "pm-netlink/netns.hpp"
#include "tests/support/must.hpp"

namespace pm::test {

using words = std::vector<std::string>;

// Yields whether `condition` became true within so many seconds.
template <class Condition>
[[nodiscard]] bool await(double seconds, Condition &&condition)
{
	const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
	for (unsigned tries = 0; !condition(); ++tries) {
		if (std::chrono::steady_clock::now() > until)
			return false;
		std::this_thread::sleep_for(std::chrono::milliseconds(tries < 10 ? 1 : 20));
	}
	return true;
}

// An empty folder, removed with all that is in it.
class temporary_folder {
public:
	temporary_folder();
	temporary_folder(const temporary_folder &) = delete;
	temporary_folder &operator=(const temporary_folder &) = delete;
	~temporary_folder();
	[[nodiscard]] const std::string &path() const noexcept { return path_; }
	[[nodiscard]] std::string path(const std::string &name) const { return path_ + '/' + name; }
	void write(const std::string &name, const std::string &content) const;

private:
	std::string path_;
};

[[nodiscard]] std::string content_of(const std::string &path);

// In a network namespace; throws unless it succeeds.
void run_in(const netns &where, const std::string &shell_command);
// One of the counters of a network namespace.
[[nodiscard]] netlink::mib counter_in(const netns &where, const std::string &name);

// On the thread that starts it: it dies when that thread ends.
class daemon_process {
public:
	enum class privileges { root, only_net_admin }; // the latter as nobody, like a careful service manager

	// `arguments` without --run-dir, which is `folder`; what it says goes to a file there. Does not wait.
	daemon_process(const netns &where, const temporary_folder &folder, const words &arguments,
		       privileges allowed = privileges::root);
	daemon_process(const daemon_process &) = delete;
	daemon_process &operator=(const daemon_process &) = delete;
	~daemon_process(); // kills it

	// Throws, with what it said, unless it answers and has read the state back within 20 s.
	void await_ready();

	[[nodiscard]] pid_t pid() const noexcept { return pid_; }
	[[nodiscard]] bool runs() const noexcept;
	void signal(int number) const noexcept;
	// Waits up to 20 s for its end. Its exit code, or 128 + the signal that ended it, or -1 if it still runs.
	int wait();
	void kill_at_once(); // kill -9, and waits
	void stop(); // an orderly end; throws if it is none

	[[nodiscard]] nlohmann::json status() const;
	// One number of the status, say "/events/lost".
	[[nodiscard]] std::uint64_t figure(const std::string &name) const;
	[[nodiscard]] std::string said() const { return content_of(log_); }
	[[nodiscard]] std::string process_status(const std::string &field) const; // of /proc/PID/status
	[[nodiscard]] std::uint64_t memory_kib() const; // resident

	// Reads the state back once more, and waits until that is done.
	void resync();

private:
	const netns &where_;
	std::string folder_, log_;
	pid_t pid_ = -1;
};

} // namespace pm::test
