// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/waiting.hpp"

#include <algorithm>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace pm::netlink {

namespace {

constexpr std::uint64_t second = 1'000'000'000;

void clear(int fd) noexcept
{
	std::uint64_t count = 0;
	[[maybe_unused]] const ssize_t size = ::read(fd, &count, sizeof count);
}

} // namespace

expected<waiting> waiting::create()
{
	waiting made;
	made.poll_ = descriptor{epoll_create1(EPOLL_CLOEXEC)};
	made.timer_ = descriptor{timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
	made.more_ = descriptor{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
	if (!made.poll_ || !made.timer_ || !made.more_)
		return fail_errno("cannot create what the path manager waits with (epoll, timerfd, eventfd)");
	for (const int fd : {made.timer_.get(), made.more_.get()})
		if (auto watched = made.watch(fd); !watched)
			return tl::unexpected(watched.error());
	return made;
}

expected<void> waiting::watch(int fd)
{
	epoll_event event{};
	event.events = EPOLLIN;
	event.data.fd = fd;
	if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
		return fail_errno("cannot wait for a netlink socket (epoll)");
	return {};
}

void waiting::wake_up() noexcept { eventfd_write(more_.get(), 1); }

void waiting::wake_up_at(std::optional<std::uint64_t> due) noexcept
{
	if (due == due_)
		return;
	due_ = due;
	itimerspec at{};
	if (due) {
		const std::uint64_t when = std::max<std::uint64_t>(*due, 1); // 0 would switch it off
		at.it_value.tv_sec = static_cast<time_t>(when / second);
		at.it_value.tv_nsec = static_cast<long>(when % second);
	}
	timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr);
}

void waiting::woke_up() noexcept
{
	clear(timer_.get());
	due_.reset();
	clear(more_.get());
}

} // namespace pm::netlink
