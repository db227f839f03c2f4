// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The socket of event_source: how it is set up and read. Decoding is in codec.cpp; the loop is in the header.
#include "pm-netlink/event_source.hpp"

#include <cerrno>
#include <climits>

#include <fmt/format.h>
#include <linux/sock_diag.h>
#include <unistd.h>

#include "pm-netlink/wire.hpp"

namespace pm::netlink {
namespace {

constexpr const char *asked = "listening for path-manager events";

using memory_info = std::array<std::uint32_t, SK_MEMINFO_VARS>;

bool read_memory_info(int fd, memory_info &info) noexcept
{
	socklen_t size = sizeof info;
	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info.data(), &size) == 0 && size == sizeof info;
}

} // namespace

event_source::reader::reader(int socket) noexcept : fd(socket)
{
	for (std::size_t place = 0; place < batch; ++place) {
		vector[place] = {slot[place].data(), slot_bytes};
		header[place].msg_hdr.msg_name = &sender[place];
		header[place].msg_hdr.msg_iov = &vector[place];
		header[place].msg_hdr.msg_iovlen = 1;
	}
}

event_source::reader::~reader() { close(fd); }

event_source::event_source(std::unique_ptr<reader> open_socket, netlink::family family, bool accept_replay)
	: reader_(std::move(open_socket)), family_(std::move(family)), accept_replay_(accept_replay)
{
}

expected<event_source> event_source::open(const options &options)
{
	auto family = ask_family();
	if (!family)
		return tl::unexpected(family.error());
	const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);
	if (fd < 0)
		return fail_errno(fmt::format("{}: cannot open a generic netlink socket", asked));
	event_source source(std::make_unique<reader>(fd), std::move(*family), options.accept_replay);
	if (auto done = source.set_up(options.buffer_bytes); !done)
		return tl::unexpected(done.error());
	return source;
}

expected<void> event_source::set_up(std::uint32_t buffer_bytes)
{
	const int fd = reader_->fd, on = 1;
	const int size = static_cast<int>(std::min<std::uint32_t>(buffer_bytes, INT_MAX));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0)
		return fail_errno(fmt::format("{}: cannot set a receive buffer of {} bytes", asked, buffer_bytes));
	// Otherwise the kernel, having dropped one event, drops all others until the socket has been read empty.
	if (setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) != 0)
		return fail_errno(fmt::format("{}: cannot set NETLINK_NO_ENOBUFS", asked));
	// Bound before it joins: the kernel's multicast leaves out sockets whose port is the sender's, and 0 is the kernel's.
	sockaddr_nl address{};
	address.nl_family = AF_NETLINK;
	if (bind(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0)
		return fail_errno(fmt::format("{}: cannot bind the socket", asked));
	const auto group = static_cast<int>(family_.events_group);
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
		return fail_errno(
			fmt::format("{}: cannot join the multicast group {} (root, or CAP_NET_ADMIN in the network "
				    "namespace, is needed)",
				    asked, MPTCP_PM_EV_GRP_NAME));
	memory_info info{};
	if (!read_memory_info(fd, info))
		return fail_errno(fmt::format("{}: cannot read the socket's drop counter (SO_MEMINFO)", asked));
	counters_.buffer_bytes = info[SK_MEMINFO_RCVBUF];
	return {}; // drops_ is at 0: every drop since the group was joined counts
}

expected<std::size_t> event_source::receive(std::size_t most)
{
	for (std::size_t place = 0; place < most; ++place) // the kernel wrote to it
		reader_->header[place].msg_hdr.msg_namelen = sizeof(sockaddr_nl);
	for (;;) {
		const int count = recvmmsg(reader_->fd, reader_->header.data(), static_cast<unsigned>(most),
					   MSG_DONTWAIT, nullptr);
		if (count >= 0)
			return static_cast<std::size_t>(count);
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return std::size_t{0};
		if (errno != EINTR)
			return fail_errno("reading path-manager events: cannot receive from the netlink socket");
	}
}

bytes event_source::sift(std::size_t place) noexcept
{
	const mmsghdr &header = reader_->header[place];
	const bool from_kernel = header.msg_hdr.msg_namelen == sizeof(sockaddr_nl) &&
				 reader_->sender[place].nl_pid == 0;
	if (!from_kernel && !accept_replay_) {
		++counters_.foreign_sender;
		return {};
	}
	if (header.msg_hdr.msg_flags & MSG_TRUNC || header.msg_len == 0) {
		count(refusal::truncated);
		return {};
	}
	return bytes(reader_->slot[place]).first(header.msg_len);
}

// Whatever is left over is looked at, however short, so that nothing goes uncounted.
bytes event_source::after_first_message(bytes datagram) noexcept
{
	const auto length = wire::first_message(datagram);
	return length ? datagram.subspan(std::min(wire::align(*length), datagram.size())) : bytes{};
}

const event_counters &event_source::counters()
{
	memory_info info{};
	if (read_memory_info(reader_->fd, info)) { // it could when the socket was opened, so it can now
		counters_.lost += drops_.added(info[SK_MEMINFO_DROPS]);
		counters_.buffer_used = info[SK_MEMINFO_RMEM_ALLOC];
	}
	return counters_;
}

} // namespace pm::netlink
