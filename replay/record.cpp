// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The recorder: two sockets, one for the path manager's events and one (libnl) for the namespace's addresses, into
// one trace in the order of arrival. Netlink keeps no order between sockets; addresses are read first, because what
// uses one follows its arrival.
#include "replay/record.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <iterator>
#include <numeric>
#include <poll.h>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/rtnl.h>
#include <netlink/socket.h>

#include "pm-core/address.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/socket_memory.hpp"
#include "replay/clock.hpp"
#include "replay/trace.hpp"

namespace pm::replay {

namespace {

// Events that are read before addresses, and whether it is time to stop, are looked at again.
constexpr std::size_t events_at_a_time = 4096;
// The least that the kernel charges a socket for a datagram (the size of struct sk_buff), so that a socket's buffer
// divided by it is more than can be in it.
constexpr std::uint64_t least_charge = 200;
constexpr int address_buffer_bytes = 4 << 20;

struct nl_socket_deleter {
	void operator()(nl_sock *s) const { nl_socket_free(s); }
};

} // namespace

struct recorder::impl {
	std::string path;
	netlink::event_source events;
	trace_writer trace;
	std::unique_ptr<nl_sock, nl_socket_deleter> route;
	bool dumped = false;                // the kernel has listed all addresses
	std::vector<pm_event> addresses{};  // those that there are
	record_counters counters{};
	std::uint64_t last_time = 0;
	expected<void> written{};           // the first failure to write

	[[nodiscard]] expected<void> open_route();
	[[nodiscard]] expected<void> dump_addresses();
	[[nodiscard]] expected<void> read_addresses();
	[[nodiscard]] expected<void> read_events(std::size_t most);
	[[nodiscard]] tl::unexpected<error> failed(const char *what, int code) const
	{
		return fail(fmt::format("cannot record the addresses of the network namespace: {}: {}", what,
					nl_geterror(code)));
	}
	void take_address(nl_msg *message);
	void write(pm_event event);
};

// Times are of the wall clock, which may be set back; those of a trace do not decrease.
void recorder::impl::write(pm_event event)
{
	if (!written)
		return;
	event.time_ns = last_time = std::max(last_time, nanoseconds(CLOCK_REALTIME));
	written = trace.write(event);
	if (written)
		++(event.type == PM_LOCAL_ADDED || event.type == PM_LOCAL_REMOVED ? counters.addresses
										  : counters.recorded);
}

// Only what changes: the kernel also tells of an address whose lifetime is renewed, and a dump repeats what was told.
void recorder::impl::take_address(nl_msg *message)
{
	const nlmsghdr *header = nlmsg_hdr(message);
	if (nlmsg_get_src(message)->nl_pid != 0) {
		++counters.refused;
		return;
	}
	const auto event = netlink::decode_address(
		std::as_bytes(std::span(reinterpret_cast<const char *>(header), header->nlmsg_len)));
	if (!event) {
		counters.refused += event.error() != netlink::refusal::foreign;
		return;
	}
	const auto known = std::find_if(addresses.begin(), addresses.end(), [&](const pm_event &a) {
		return a.ifindex == event->ifindex && same(a.local, event->local);
	});
	if ((event->type == PM_LOCAL_ADDED) == (known != addresses.end()))
		return;
	if (event->type == PM_LOCAL_ADDED)
		addresses.push_back(*event);
	else
		addresses.erase(known);
	write(*event);
}

expected<void> recorder::impl::open_route()
{
	route.reset(nl_socket_alloc());
	if (!route)
		return failed("cannot make a socket", -NLE_NOMEM);
	nl_socket_disable_seq_check(route.get()); // notifications have no number of ours
	const auto take = [](nl_msg *message, void *self) {
		static_cast<impl *>(self)->take_address(message);
		return static_cast<int>(NL_OK);
	};
	nl_socket_modify_cb(route.get(), NL_CB_VALID, NL_CB_CUSTOM, take, this);
	const auto finished = [](nl_msg *, void *self) {
		static_cast<impl *>(self)->dumped = true;
		return static_cast<int>(NL_OK);
	};
	nl_socket_modify_cb(route.get(), NL_CB_FINISH, NL_CB_CUSTOM, finished, this);
	if (const int code = nl_connect(route.get(), NETLINK_ROUTE); code < 0)
		return failed("cannot open a route netlink socket", code);
	const int fd = nl_socket_get_fd(route.get()), size = address_buffer_bytes, on = 1;
	// A refused size leaves the default, and what it loses is counted.
	if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
		::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	if (::setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) != 0)
		return fail_errno(
			"cannot record the addresses of the network namespace: cannot set NETLINK_NO_ENOBUFS");
	if (const int code = nl_socket_add_memberships(route.get(), RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, 0);
	    code < 0)
		return failed("cannot subscribe to them", code);
	return dump_addresses();
}

// What is told meanwhile comes in between, and what is told twice is written once.
expected<void> recorder::impl::dump_addresses()
{
	int code = 0;
	do {
		dumped = false;
		code = nl_rtgen_request(route.get(), RTM_GETADDR, AF_UNSPEC, NLM_F_DUMP);
		while (code >= 0 && !dumped)
			code = nl_recvmsgs_default(route.get());
	} while (code == -NLE_DUMP_INTR); // they changed: the list may lack one that was there all the time
	if (code < 0)
		return failed("cannot read them", code);
	if (nl_socket_set_nonblocking(route.get()) < 0)
		return fail_errno(
			"cannot record the addresses of the network namespace: cannot make the socket non-blocking");
	return written;
}

expected<void> recorder::impl::read_addresses()
{
	int code = 0;
	while (code >= 0 && written)
		code = nl_recvmsgs_default(route.get());
	if (!written)
		return written;
	if (code != -NLE_AGAIN && code != -NLE_INTR)
		return failed("cannot read what became of them", code);
	return {};
}

expected<void> recorder::impl::read_events(std::size_t most)
{
	const auto read = events.drain([this](const pm_event &event) { write(event); }, most);
	if (!read)
		return tl::unexpected(read.error());
	return written;
}

recorder::recorder(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
recorder::recorder(recorder &&) noexcept = default;
recorder &recorder::operator=(recorder &&) noexcept = default;
recorder::~recorder() = default;

expected<recorder> recorder::start(const std::string &path, std::uint32_t buffer_bytes)
{
	auto events = netlink::event_source::open({.buffer_bytes = buffer_bytes});
	if (!events)
		return tl::unexpected(std::move(events.error()));
	auto trace = trace_writer::create(path, events->family());
	if (!trace)
		return tl::unexpected(std::move(trace.error()));
	std::unique_ptr<impl> made(
		new impl{.path = path, .events = std::move(*events), .trace = std::move(*trace), .route = {}});
	if (auto opened = made->open_route(); !opened)
		return tl::unexpected(std::move(opened.error()));
	return recorder(std::move(made));
}

expected<void> recorder::run(int stop_fd, double seconds)
{
	impl &r = *impl_;
	if (!std::isfinite(seconds) || seconds < 0)
		return fail_usage(
			fmt::format("cannot record for {} seconds: give a number that is not below 0", seconds));
	const std::uint64_t begun = now_ns();
	for (;;) {
		const double left = seconds - static_cast<double>(now_ns() - begun) / 1e9;
		if (seconds > 0 && left <= 0)
			break;
		const int timeout = seconds > 0 ? static_cast<int>(std::min(left * 1e3 + 1, 1e9)) : -1;
		pollfd fds[] = {{stop_fd, POLLIN, 0},
				{nl_socket_get_fd(r.route.get()), POLLIN, 0},
				{r.events.fd(), POLLIN, 0}};
		const int ready = ::poll(fds, std::size(fds), timeout);
		if (ready < 0 && errno != EINTR)
			return fail_errno(fmt::format("cannot record '{}': cannot wait for events", r.path));
		if (ready <= 0)
			continue;
		if (fds[0].revents)
			break;
		if (auto read = r.read_addresses(); !read)
			return read;
		if (auto read = r.read_events(events_at_a_time); !read)
			return read;
	}
	// What has come so far, not what goes on coming.
	if (auto read = r.read_addresses(); !read)
		return read;
	return r.read_events(r.events.counters().buffer_bytes / least_charge);
}

expected<record_counters> recorder::finish()
{
	impl &r = *impl_;
	if (auto closed = r.trace.close(); !closed)
		return tl::unexpected(std::move(closed.error()));
	const auto &events = r.events.counters();
	record_counters counters = r.counters;
	counters.refused += std::accumulate(events.refused.begin(), events.refused.end(), events.foreign_sender);
	counters.lost = events.lost + memory_of(nl_socket_get_fd(r.route.get())).drops;
	if (counters.lost > 0)
		return fail(fmt::format(
			"recording '{}' lost {} of {} events for want of buffer (what was recorded is kept); "
			"record again with a larger --buffer, or with fewer connections",
			r.path, counters.lost,
			counters.lost + counters.recorded + counters.addresses + counters.refused));
	return counters;
}

} // namespace pm::replay
