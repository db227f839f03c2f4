// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the plugin needs of ELL, whose main loop mptcpd runs: a repeating timer and a watch on a file descriptor, both owned
// as objects; the log. No exception crosses into ELL, which is C.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <ell/io.h>
#include <ell/log.h>
#include <ell/timeout.h>
#include <sys/epoll.h>

#include "pm-netlink/netns.hpp"

namespace pm::plugin {

// A line in mptcpd's log. Not by ELL's macros, which need a header of ELL's that is no C++.
enum class severity { error = L_LOG_ERR, warning = L_LOG_WARNING, info = L_LOG_INFO };
inline void log(severity how_bad, std::string_view name, std::string_view text) noexcept
{
	l_log_with_location(static_cast<int>(how_bad), "pathlab", "0", "log", "%.*s: %.*s\n",
			    static_cast<int>(name.size()), name.data(), static_cast<int>(text.size()), text.data());
}

// Runs `work`, which C code has called for. An exception becomes a line in mptcpd's log, the first one only: what made it
// will make it again.
template <class Work>
void guarded(Work &&work) noexcept
{
	try {
		work();
	} catch (const std::exception &error) {
		static bool said = false;
		if (!std::exchange(said, true))
			log(severity::error, "pathlab", error.what());
	} catch (...) {
	}
}

// Calls `tick` again and again.
class timer {
public:
	timer(std::uint64_t milliseconds, std::function<void()> tick)
		: milliseconds_(milliseconds), tick_(std::move(tick)),
		  timeout_(l_timeout_create_ms(milliseconds, expired, this, nullptr))
	{
		if (!timeout_)
			throw std::runtime_error("mptcpd's main loop has no room for a timer");
	}
	timer(const timer &) = delete;
	timer &operator=(const timer &) = delete;
	~timer() { l_timeout_remove(timeout_); }

private:
	static void expired(l_timeout *timeout, void *self) noexcept
	{
		auto *t = static_cast<timer *>(self);
		l_timeout_modify_ms(timeout, t->milliseconds_); // before tick(), which may throw
		guarded(t->tick_);
	}

	std::uint64_t milliseconds_;
	std::function<void()> tick_;
	l_timeout *timeout_;
};

// Calls `ready` while `fd` is readable. Not to be destroyed by `ready`.
//
// ELL drops a file descriptor for ever once it reports an error (EPOLLERR), which a netlink socket does when it has overrun:
// that is how mptcpd goes deaf. So ELL is given an epoll instance with `fd` in it, which is only ever readable.
class watch {
public:
	watch(int fd, std::function<void()> ready) : ready_(std::move(ready)), epoll_(epoll_create1(EPOLL_CLOEXEC))
	{
		epoll_event event{};
		event.events = EPOLLIN;
		if (!epoll_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0 ||
		    !(io_ = l_io_new(epoll_.get())) || !l_io_set_read_handler(io_, readable, this, nullptr)) {
			l_io_destroy(io_);
			throw std::runtime_error("mptcpd's main loop has no room for one more file");
		}
	}
	watch(const watch &) = delete;
	watch &operator=(const watch &) = delete;
	~watch() { l_io_destroy(io_); }

private:
	static bool readable(l_io *, void *self) noexcept
	{
		guarded(static_cast<watch *>(self)->ready_);
		return true;
	}

	std::function<void()> ready_;
	descriptor epoll_;
	l_io *io_ = nullptr;
};

} // namespace pm::plugin
