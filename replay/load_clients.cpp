// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The clients' end of the load: opens each connection when it is due, asks, hears the echo, holds, closes.
#include "load_ends.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "pm-netlink/mptcp_info.hpp"
#include "replay/interrupt.hpp"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

namespace pm::replay::load_ends {
namespace {

// Of IPv4, and of IPv6, where both are used, as IP_LOCAL_PORT_RANGE wants them: the highest above the lowest 16 bits.
constexpr std::uint32_t middle_port = first_client_port + (last_client_port - first_client_port) / 2;
constexpr std::uint32_t port_ranges[] = {middle_port << 16 | first_client_port,
					 std::uint32_t{last_client_port} << 16 | (middle_port + 1)};

} // namespace

// However slow the machine: an emulated one makes some hundred a second.
constexpr std::chrono::milliseconds slowest_pace{10};

expected<void> client_side::run(std::size_t most_open)
{
	auto epoll = make_epoll();
	if (!epoll)
		return tl::unexpected(epoll.error());
	epoll_ = std::move(*epoll);
	most_open_ = most_open;
	start_ = clock::now();
	const auto slowest = std::max<clock::duration>(schedule_.length(), slots_.size() * slowest_pace);
	const auto end = start_ + slowest + hold_ + patience_;
	if (options_.watch)
		options_.watch->begin(slots_.size(), start_);
	epoll_event events[256];
	for (;;) {
		const auto now = clock::now();
		open_due(now);
		close_held(now);
		give_up(now);
		if (options_.watch)
			options_.watch->look(now);
		if (done_ == slots_.size() || now >= end || interrupted())
			break;
		const auto wait = std::max(clock::duration::zero(), std::min(next_deadline(), end) - clock::now());
		const timespec timeout{std::chrono::duration_cast<std::chrono::seconds>(wait).count(),
				       (wait % std::chrono::seconds(1)).count()};
		const int n = ::epoll_pwait2(epoll_.get(), events, 256, &timeout, nullptr);
		for (int i = 0; i < n; ++i)
			proceed(events[i].data.u64, events[i].events);
	}
	report_.seconds = std::chrono::duration<double>(clock::now() - start_).count();
	if (interrupted())
		return fail_interrupted();
	for (number i = 0; i < slots_.size(); ++i)
		if (slots_[i].at != stage::over)
			failed(i, "the time for the whole load was over before its turn or its answer came");
	return {};
}

std::vector<std::pair<number, made_connection>> &client_side::made()
{
	std::sort(made_.begin(), made_.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
	return made_;
}

constexpr std::size_t most_unanswered = 256, most_unclosed = 2048;

// Without a schedule, the server's pace is what bounds those that wait for an answer, and for it to close them.
bool client_side::waits_for_server() const
{
	return (open_count_ - held_.size() >= most_unanswered || served_.load() > open_count_ + most_unclosed) &&
	       schedule_.at_full_rate(opened_);
}

// A few at a time: answers are heard in between, also when opening has fallen behind.
void client_side::open_due(clock::time_point now)
{
	for (int n = 0; n < 32 && opened_ < slots_.size() && due(opened_) <= now; ++n) {
		if (waits_for_server())
			return;
		const auto late = clock::now() - due(opened_);
		report_.sent_late.record(static_cast<std::uint64_t>(std::chrono::nanoseconds(late).count()));
		open(opened_++, now);
		if (opened_ == slots_.size())
			report_.opening_seconds = std::chrono::duration<double>(clock::now() - start_).count();
	}
}

void client_side::open(number i, clock::time_point now)
{
	slot &s = slots_[i];
	if (open_count_ >= most_open_)
		return failed(
			i, fmt::format(
				   "more than {} connections are open at once, all that the limit of open files allows "
				   "(RLIMIT_NOFILE); raise it, or hold them for less time",
				   most_open_));
	const bool v6 = ipv6(i);
	s.fd = descriptor(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_MPTCP));
	if (!s.fd)
		return failed(i, fmt::format("cannot open an MPTCP socket: {}", std::strerror(errno)));
	s.opened = now;
	++open_count_;
	const int on = 1, fd = s.fd.get();
	// The port is then chosen by connect(), for the address pair, not kept from all others. Older kernels refuse.
	(void)::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	// TCP gives a connection the 4-tuple of one that is bound to an interface, as further subflows are, and one of the two
	// is refused. So each family has ports of its own, also for its subflows of the other one. Older kernels refuse.
	if (options_.ipv4 && options_.ipv6)
		(void)::setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &port_ranges[v6], sizeof port_ranges[v6]);
	const auto local = to_sockaddr(lab::client_address(0, v6), 0);
	const auto remote = to_sockaddr(lab::server_address(0, v6), load_port);
	if (::bind(fd, local.get(), local.length) != 0 ||
	    !watch(epoll_.get(), fd, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, i) ||
	    (::connect(fd, remote.get(), remote.length) != 0 && errno != EINPROGRESS))
		return failed(i, fmt::format("cannot connect: {}", std::strerror(errno)));
	s.at = stage::connecting;
}

void client_side::proceed(number i, std::uint32_t events)
{
	slot &s = slots_[i];
	if (s.at == stage::connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		ask(i);
	if (s.at == stage::asking && (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)))
		hear(i);
}

void client_side::ask(number i)
{
	slot &s = slots_[i];
	int why = 0;
	socklen_t length = sizeof why;
	(void)::getsockopt(s.fd.get(), SOL_SOCKET, SO_ERROR, &why, &length);
	if (why != 0)
		return failed(i, fmt::format("cannot connect: {}", std::strerror(why)));
	s.at = stage::asking;
	if (::send(s.fd.get(), &i, sizeof i, MSG_NOSIGNAL) != sizeof i)
		failed(i, fmt::format("cannot send: {}", std::strerror(errno)));
}

void client_side::hear(number i)
{
	number echo = 0;
	const ssize_t n = ::recv(slots_[i].fd.get(), &echo, sizeof echo, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		return failed(i, fmt::format("cannot receive: {}", std::strerror(errno)));
	if (n != sizeof echo || echo != i)
		return failed(i, "the server did not echo what was sent");
	slots_[i].at = stage::holding;
	if (options_.watch)
		options_.watch->answered(i, slots_[i].fd.get(), ipv6(i));
	if (options_.hold_ms == 0)
		close(i);
	else
		held_.emplace_back(clock::now() + hold_, i);
}

void client_side::close_held(clock::time_point now)
{
	const bool all = options_.watch && options_.watch->closes_all();
	// A few at a time where all are told at once: what comes of it is heard in between.
	for (int n = 0; n < 64 && !held_.empty() && (all || held_.front().first <= now); held_.pop_front(), ++n)
		close(held_.front().second);
}

// Failed ones are found in the order in which they were opened, so no answer is waited for twice as long as another.
void client_side::give_up(clock::time_point now)
{
	for (; oldest_ < opened_; ++oldest_) {
		const slot &s = slots_[oldest_];
		if (s.at == stage::over || s.at == stage::holding)
			continue;
		if (s.opened + patience_ > now)
			return;
		failed(oldest_, fmt::format("no answer from the server within {} ms", options_.patience_ms));
	}
}

// With everything received, so that close() says goodbye (DATA_FIN) instead of resetting.
void client_side::close(number i)
{
	slot &s = slots_[i];
	const auto info = read_mptcp_info(s.fd.get());
	sockaddr_in6 name{}; // the port is at the same place in both families
	socklen_t length = sizeof name;
	if (!info || ::getsockname(s.fd.get(), reinterpret_cast<sockaddr *>(&name), &length) != 0)
		return failed(i, "the connection fell back to TCP");
	if (options_.watch)
		options_.watch->closing(i, ipv6(i), info->mptcpi_subflows);
	made_connection made;
	made.local = lab::client_address(0, ipv6(i));
	made.remote = lab::server_address(0, ipv6(i));
	made.local_port = ntohs(name.sin6_port);
	made.remote_port = load_port;
	made.token = info->mptcpi_token;
	made.subflows = info->mptcpi_subflows;
	made.accepted = info->mptcpi_add_addr_accepted;
	made_.emplace_back(i, made);
	++report_.made;
	over(i);
}

void client_side::failed(number i, const std::string &why)
{
	if (report_.failed++ == 0)
		report_.first_failure = why;
	if (options_.watch)
		options_.watch->forget(i);
	over(i);
}

void client_side::over(number i)
{
	slot &s = slots_[i];
	if (s.fd)
		--open_count_;
	s.fd = {};
	s.at = stage::over;
	++done_;
}

clock::time_point client_side::next_deadline() const
{
	auto next = clock::time_point::max();
	if (opened_ < slots_.size())
		next = waits_for_server() ? clock::now() + std::chrono::milliseconds(1) : due(opened_);
	if (!held_.empty())
		next = std::min(next, held_.front().first);
	if (options_.watch)
		next = std::min(next, options_.watch->closes_all() && !held_.empty() ? clock::time_point{}
										     : options_.watch->next_look());
	if (oldest_ < opened_)
		next = std::min(next, slots_[oldest_].opened + patience_);
	return next;
}

} // namespace pm::replay::load_ends
