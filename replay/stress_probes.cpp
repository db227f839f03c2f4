// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/stress_probes.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <utility>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-netlink/clock.hpp"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/family.hpp"
#include "pm-netlink/socket_memory.hpp"
#include "replay/clock.hpp"

namespace pm::replay {

// ---- events ----

expected<event_observer> event_observer::open(const child *process)
{
	const auto family = netlink::ask_family();
	if (!family)
		return tl::unexpected(family.error());
	event_observer made(process, family->events_group);
	made.family_ = family->id;
	auto witness = bpf::event_witness::listen();
	if (witness && (!process || witness->watch(process->pid())))
		made.witness_.emplace(std::move(*witness));
	return made;
}

expected<void> event_observer::begin()
{
	if (auto found = look_for_socket(); !found)
		return found;
	if (witness_) {
		sent_before_ = witness_->sent();
		read_before_ = witness_->read();
		not_looked_at_before_ = witness_->not_looked_at();
	}
	for (watched_socket &each : sockets_)
		each.drops_before = memory_of(each.copy.get()).drops;
	return {};
}

// The one that it has now, if that is another one than before.
expected<void> event_observer::look_for_socket()
{
	if (!process_)
		return {};
	auto found = process_->socket_in_group(group_);
	if (!found)
		return tl::unexpected(found.error());
	if (!*found)
		return {};
	watched_socket one;
	socklen_t length = sizeof one.cookie;
	if (::getsockopt(found->get(), SOL_SOCKET, SO_COOKIE, &one.cookie, &length) != 0)
		return fail_errno("cannot tell the path manager's sockets apart");
	const auto known = std::find_if(sockets_.begin(), sockets_.end(),
					[&](const watched_socket &each) { return each.cookie == one.cookie; });
	if (known != sockets_.end())
		return {};
	one.copy = std::move(*found);
	sockets_.push_back(std::move(one));
	return {};
}

std::pair<std::uint64_t, std::uint64_t> event_observer::movement() const
{
	if (witness_)
		return {witness_->sent(), witness_->read()};
	return {process_ ? process_->cpu_ns() : 0, 0};
}

void event_observer::settle()
{
	constexpr std::uint64_t patience = 5'000'000'000, quiet = quiet_ms * 1'000'000, stuck = 300'000'000;
	std::uint64_t moved = now_ns();
	auto before = movement();
	for (const std::uint64_t begun = moved; now_ns() - begun < patience; usleep(5000)) {
		(void)look_for_socket(); // a plugin of ours may be about to take over
		const std::uint64_t now = now_ns();
		if (const auto moving = movement(); moving != std::exchange(before, moving))
			moved = now;
		const bool empty = sockets_.empty() || memory_of(sockets_.back().copy.get()).queued_bytes == 0;
		if (now - moved > (empty ? quiet : stuck))
			return;
	}
}

std::uint64_t event_observer::count_unread(int socket) const
{
	std::uint64_t events = 0;
	std::array<std::byte, 4096> message;
	for (;;) {
		const ssize_t size = ::recv(socket, message.data(), message.size(), MSG_DONTWAIT);
		if (size < 0 && (errno == ENOBUFS || errno == EINTR))
			continue; // said once, before what is in the queue
		if (size < 0)
			return events;
		const netlink::bytes whole{message.data(), static_cast<std::size_t>(size)};
		events += netlink::decode_event(whole, family_).has_value();
	}
}

expected<events_seen> event_observer::end(std::uint64_t implied)
{
	if (auto found = look_for_socket(); !found)
		return tl::unexpected(found.error());
	if (process_) {
		process_->pause();
		usleep(2000); // it may still be inside its last system call
	}
	events_seen seen;
	seen.implied = !witness_;
	seen.sent = implied;
	if (witness_) {
		seen.sent = witness_->sent() - sent_before_;
		seen.read = witness_->read() - read_before_;
		seen.not_looked_at = witness_->not_looked_at() - not_looked_at_before_;
	}
	for (const watched_socket &each : sockets_)
		seen.sockets.push_back(
			{memory_of(each.copy.get()).drops - each.drops_before, count_unread(each.copy.get())});
	return seen;
}

// ---- what the kernel counts ----

namespace {
std::uint64_t tick_ns() { return 1'000'000'000 / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK)); }
std::uint64_t processors() { return static_cast<std::uint64_t>(sysconf(_SC_NPROCESSORS_ONLN)); }
} // namespace

std::uint64_t machine_cpu_step_ns() { return tick_ns() * processors(); }

// Not the sum of what was used: the kernel counts that by looking at each tick, which a load of a steady rate may always, or
// never, fall between. Idle time it measures.
std::uint64_t machine_cpu_ns()
{
	// user nice system idle iowait irq softirq steal ...; in ticks
	std::ifstream file("/proc/stat");
	std::string name;
	std::array<std::uint64_t, 8> ticks{};
	file >> name;
	for (std::uint64_t &each : ticks)
		file >> each;
	const std::uint64_t unused = ticks[3] + ticks[4] + ticks[7];
	return now_ns() * processors() - unused * tick_ns();
}

// ---- clocks ----

namespace {
std::int64_t against_monotonic(clockid_t other) noexcept
{
	return static_cast<std::int64_t>(nanoseconds(other)) - static_cast<std::int64_t>(now_ns());
}
} // namespace

clock_check::clock_check() noexcept : wall_(against_monotonic(CLOCK_REALTIME)), boot_(against_monotonic(CLOCK_BOOTTIME))
{
}

double clock_check::jump_ms() const noexcept
{
	const auto wall = against_monotonic(CLOCK_REALTIME) - wall_, boot = against_monotonic(CLOCK_BOOTTIME) - boot_;
	return static_cast<double>(std::abs(wall) > std::abs(boot) ? wall : boot) / 1e6;
}

// ---- contention ----

busy_threads::busy_threads(unsigned number, priority theirs)
{
	for (unsigned i = 0; i < number; ++i)
		threads_.emplace_back([this, theirs] {
			if (theirs == priority::lower)
				::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
			while (!stop_.load(std::memory_order_relaxed))
				;
			used_.fetch_add(thread_cpu_ns());
		});
}

busy_threads::~busy_threads() { stop(); }

std::uint64_t busy_threads::stop()
{
	stop_.store(true);
	for (std::thread &each : threads_)
		each.join();
	threads_.clear();
	return used_.load();
}

} // namespace pm::replay
