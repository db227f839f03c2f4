// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The server's end of the load: accepts, echoes, and closes when the client does.
#include "load_ends.hpp"

#include <cerrno>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include "pm-netlink/mptcp_info.hpp"

namespace pm::replay::load_ends {

expected<descriptor> make_epoll()
{
	descriptor fd(::epoll_create1(EPOLL_CLOEXEC));
	if (!fd)
		return fail_errno("cannot open an epoll descriptor for the load");
	return fd;
}

bool watch(int epoll, int fd, std::uint32_t events, std::uint64_t data)
{
	epoll_event e{};
	e.events = events;
	e.data.u64 = data;
	return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

namespace {
constexpr std::uint64_t listener_key = UINT64_MAX, stop_key = UINT64_MAX - 1;
} // namespace

// One IPv6 socket for both families: IPv4 connections show their addresses mapped on the server's side.
expected<echo_server> echo_server::listen(number connections, std::size_t most_open)
{
	echo_server server;
	auto epoll = make_epoll();
	if (!epoll)
		return tl::unexpected(epoll.error());
	server.epoll_ = std::move(*epoll);
	server.stop_ = descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	server.listener_ = descriptor(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_MPTCP));
	const int on = 1, off = 0, fd = server.listener_.get();
	sockaddr_in6 any{};
	any.sin6_family = AF_INET6;
	any.sin6_port = htons(load_port);
	if (fd < 0 || ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
	    ::bind(fd, reinterpret_cast<sockaddr *>(&any), sizeof any) != 0 || ::listen(fd, 65535) != 0)
		return fail_errno(
			fmt::format("cannot listen for MPTCP connections on port {} of the server's namespace",
				    load_port));
	if (!server.stop_ || !watch(server.epoll_.get(), fd, EPOLLIN | EPOLLET, listener_key) ||
	    !watch(server.epoll_.get(), server.stop_.get(), EPOLLIN | EPOLLET, stop_key))
		return fail_errno("cannot watch the server's sockets");
	server.accounts.resize(connections);
	server.open_.resize(2 * most_open + 256);
	server.number_of_.resize(server.open_.size());
	return server;
}

void echo_server::finish(clock::time_point until)
{
	until_ = until; // read only after the eventfd has been seen
	const std::uint64_t one = 1;
	[[maybe_unused]] const auto written = ::write(stop_.get(), &one,
						      sizeof one); // cannot fail: the counter is at 0
}

void echo_server::serve()
{
	epoll_event events[256];
	bool stopping = false;
	while (!stopping || (*count_ > 0 && clock::now() < until_)) {
		const int n = ::epoll_wait(epoll_.get(), events, 256, stopping ? 10 : -1);
		for (int i = 0; i < n; ++i) {
			const std::uint64_t key = events[i].data.u64;
			if (key == stop_key)
				stopping = true;
			else if (key != listener_key)
				answer(static_cast<int>(key));
		}
		// In every round, not only when the listener says so: what found no file descriptor may find one now.
		accept_all();
	}
	listener_ = {};
	open_.clear();
}

void echo_server::accept_all()
{
	for (;;) {
		descriptor fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
		if (!fd && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (!fd)
			return;
		const auto place = static_cast<std::size_t>(fd.get());
		if (place >= open_.size() || !watch(epoll_.get(), fd.get(), EPOLLIN, place))
			continue; // closed: its client waits in vain, and counts it as failed
		number_of_[place] = UINT64_MAX;
		open_[place] = std::move(fd);
		++*count_;
	}
}

void echo_server::answer(int fd)
{
	const auto place = static_cast<std::size_t>(fd);
	number received = 0;
	const ssize_t n = ::recv(fd, &received, sizeof received, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == sizeof received && received < accounts.size() && number_of_[place] == UINT64_MAX &&
	    ::send(fd, &received, sizeof received, MSG_NOSIGNAL) == sizeof received) {
		number_of_[place] = received;
		return;
	}
	// The end (0), or nothing that one of our clients sends.
	if (const auto info = n == 0 && number_of_[place] != UINT64_MAX ? read_mptcp_info(fd) : std::nullopt)
		accounts[number_of_[place]] = {info->mptcpi_token, info->mptcpi_add_addr_signal};
	// epoll forgets a descriptor by itself only when its last copy closes. A child that has not yet executed its program has
	// one, so this number, which soon is another's, would still be reported.
	(void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
	open_[place] = {};
	--*count_;
}

} // namespace pm::replay::load_ends
