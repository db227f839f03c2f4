// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Four questions to the kernel, one after the other: the MPTCP sockets, then the TCP sockets, of IPv4 and of IPv6. (Both
// families at once has no handler.) The kernel writes the next part of an answer while the one before is being received,
// so the socket is never empty before the end, and how much one proceed() reads is all that bounds it.
//
// The kernel finds its place in the list of MPTCP sockets again by counting, and so leaves one out when another one closes
// meanwhile. An open connection has subflows, so those whose connection is missing are asked for by token.
#include "pm-netlink/snapshot.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <tuple>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/mptcp.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "pm-core/address.hpp"
#include "pm-netlink/wire.hpp"

namespace pm::netlink {
namespace {

constexpr const char *asked = "listing the open MPTCP connections";

// The kernel fills at most 32 KiB at once, and only as much as the read before had room for.
constexpr std::size_t buffer_bytes = 64u << 10;
constexpr unsigned most_datagrams = 16; // in one proceed(): about 1000 subflows
constexpr unsigned most_restarts = 3;
constexpr std::size_t most_look_ups = 64; // at once
// An answer that finds the receive buffer full is lost, and the question with it. Those of a batch of look-ups, which wait
// there all at once, are charged with less than 160 KiB; libnl asks for 32.
constexpr int receive_buffer_bytes = 512 << 10;

constexpr std::uint32_t connected = 1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT;

struct question {
	std::uint8_t family;
	std::uint16_t protocol;
	std::uint32_t states;
};
// Connections before subflows: one that was missed is then found by its subflows.
constexpr std::array<question, 4> questions = {{
	{AF_INET, IPPROTO_MPTCP, connected},
	{AF_INET6, IPPROTO_MPTCP, connected},
	{AF_INET, IPPROTO_TCP, connected | 1u << TCP_SYN_SENT},
	{AF_INET6, IPPROTO_TCP, connected | 1u << TCP_SYN_SENT},
}};

using wire::any_length;
using wire::unknown;

constexpr auto socket_lengths = [] {
	std::array<std::uint8_t, INET_DIAG_ULP_INFO + 1> lengths{};
	lengths[INET_DIAG_INFO] = any_length;
	lengths[INET_DIAG_MARK] = 4;
	lengths[INET_DIAG_ULP_INFO] = any_length;
	return lengths;
}();
constexpr auto protocol_lengths = [] { // "ULP": the protocol above TCP
	std::array<std::uint8_t, INET_ULP_INFO_MPTCP + 1> lengths{};
	lengths[INET_ULP_INFO_MPTCP] = any_length;
	return lengths;
}();
constexpr auto subflow_lengths = [] {
	std::array<std::uint8_t, MPTCP_SUBFLOW_ATTR_ID_LOC + 1> lengths{};
	lengths[MPTCP_SUBFLOW_ATTR_TOKEN_LOC] = 4;
	lengths[MPTCP_SUBFLOW_ATTR_FLAGS] = 4;
	lengths[MPTCP_SUBFLOW_ATTR_ID_REM] = 1;
	lengths[MPTCP_SUBFLOW_ATTR_ID_LOC] = 1;
	return lengths;
}();
using socket_attributes = wire::attribute_table<socket_lengths.size()>;

pm_addr address_of(std::uint8_t family, const void *from) noexcept
{
	pm_addr address = family == AF_INET ? ipv4(0, 0, 0, 0) : pm_addr{};
	if (family == AF_INET)
		std::memcpy(address.bytes + 12, from, 4);
	else
		std::memcpy(address.bytes, from, 16);
	return address;
}

template <class T>
void set_ends(T &of, const inet_diag_msg &socket) noexcept
{
	of.local_port = ntohs(socket.id.idiag_sport);
	of.remote_port = ntohs(socket.id.idiag_dport);
	of.local = address_of(socket.idiag_family, socket.id.idiag_src);
	of.remote = address_of(socket.idiag_family, socket.id.idiag_dst);
}

void add_connection(snapshot &to, const inet_diag_msg &socket, const socket_attributes &attributes)
{
	// The kernel's structure grows; these fields have been in it from the beginning.
	const bytes info = attributes.payload(INET_DIAG_INFO);
	if (info.size() < offsetof(mptcp_info, mptcpi_token) + sizeof(mptcp_info::mptcpi_token))
		return;
	if (wire::load<__u32>(info.data() + offsetof(mptcp_info, mptcpi_flags)) & MPTCP_INFO_FLAG_FALLBACK)
		return;
	snapshot_connection connection;
	connection.token = wire::load<__u32>(info.data() + offsetof(mptcp_info, mptcpi_token));
	set_ends(connection, socket);
	connection.ipv4_socket = socket.idiag_family == AF_INET;
	if (connection.token != 0)
		to.connections.push_back(connection);
}

std::optional<refusal> add_subflow(snapshot &to, const inet_diag_msg &socket, const socket_attributes &attributes)
{
	wire::attribute_table<protocol_lengths.size()> protocol;
	if (const auto failed = protocol.read(attributes.payload(INET_DIAG_ULP_INFO), protocol_lengths))
		return failed;
	if (!protocol.has(INET_ULP_INFO_MPTCP))
		return std::nullopt; // plain TCP, or TLS, say
	wire::attribute_table<subflow_lengths.size()> its;
	if (const auto failed = its.read(protocol.payload(INET_ULP_INFO_MPTCP), subflow_lengths))
		return failed;
	const auto flags = its.value<std::uint32_t>(MPTCP_SUBFLOW_ATTR_FLAGS);
	const auto has = [flags](std::uint32_t any_of) { return (flags & any_of) != 0; };

	snapshot_subflow subflow;
	subflow.token = its.value<std::uint32_t>(MPTCP_SUBFLOW_ATTR_TOKEN_LOC);
	set_ends(subflow, socket);
	subflow.ifindex = socket.id.idiag_if;
	subflow.local_id = its.value<std::uint8_t>(MPTCP_SUBFLOW_ATTR_ID_LOC);
	subflow.remote_id = its.value<std::uint8_t>(MPTCP_SUBFLOW_ATTR_ID_REM);
	// "LOC" flags: what our SYN said; "REM" flags: what the peer's did. A join has no MP_CAPABLE.
	subflow.initial = has(MPTCP_SUBFLOW_FLAG_MCAP_LOC | MPTCP_SUBFLOW_FLAG_MCAP_REM);
	subflow.opened_here = has(MPTCP_SUBFLOW_FLAG_MCAP_LOC | MPTCP_SUBFLOW_FLAG_JOIN_LOC);
	subflow.opening = socket.idiag_state == TCP_SYN_SENT;
	subflow.ipv4_socket = socket.idiag_family == AF_INET;
	subflow.backup = has(MPTCP_SUBFLOW_FLAG_BKUP_REM);
	subflow.asked_backup = has(MPTCP_SUBFLOW_FLAG_BKUP_LOC);
	subflow.fully_established = has(MPTCP_SUBFLOW_FLAG_FULLY_ESTABLISHED);
	// Answered without MPTCP, the only subflow of a connection has fallen back to TCP.
	const bool fallen_back = !subflow.opening && !has(MPTCP_SUBFLOW_FLAG_MCAP_REM | MPTCP_SUBFLOW_FLAG_JOIN_REM);
	if (subflow.token != 0 && !fallen_back)
		to.subflows.push_back(subflow);
	return std::nullopt;
}

// Sorts by token. An end of a list that changes while it is read may be told twice, and is listed once.
template <class T>
void sort_out(std::vector<T> &all)
{
	const auto key = [](const T &e) {
		return std::tuple(e.token, e.local_port, e.remote_port, e.local.half[0], e.local.half[1],
				  e.remote.half[0], e.remote.half[1]);
	};
	std::sort(all.begin(), all.end(), [&](const T &a, const T &b) { return key(a) < key(b); });
	all.erase(std::unique(all.begin(), all.end(), [&](const T &a, const T &b) { return key(a) == key(b); }),
		  all.end());
}

// Asks for a list with NLM_F_DUMP, for the one socket of a token without. Yields the length.
std::size_t write_request(std::span<std::byte> out, const question &what, std::uint16_t flags, std::uint32_t token,
			  std::uint32_t seq) noexcept
{
	inet_diag_req_v2 request{};
	request.sdiag_family = what.family;
	// The field has 8 bits, MPTCP's number 9: the attribute takes its place.
	request.sdiag_protocol = what.protocol == IPPROTO_TCP ? IPPROTO_TCP : IPPROTO_RAW;
	request.idiag_ext = 1 << (INET_DIAG_INFO - 1); // also for INET_DIAG_ULP_INFO, which has no bit of its own
	request.idiag_states = what.states;
	request.id.idiag_cookie[0] = token;
	wire::message_writer to(out, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | flags, seq);
	to.append(&request, sizeof request);
	to.put(INET_DIAG_REQ_PROTOCOL, std::uint32_t{what.protocol});
	return to.finish();
}

// Tokens of subflows whose connection is not listed. Both lists are sorted.
std::vector<std::uint32_t> missing_connections(const snapshot &from)
{
	std::vector<std::uint32_t> missing;
	auto connection = from.connections.begin();
	for (const snapshot_subflow &subflow : from.subflows) {
		while (connection != from.connections.end() && connection->token < subflow.token)
			++connection;
		const bool listed = connection != from.connections.end() && connection->token == subflow.token;
		if (!listed && (missing.empty() || missing.back() != subflow.token))
			missing.push_back(subflow.token);
	}
	return missing;
}

} // namespace

expected<snapshot_reader> snapshot_reader::open()
{
	auto socket = connect_netlink(NETLINK_SOCK_DIAG);
	if (!socket)
		return fail(fmt::format("{}: {}", asked, socket.error().text));
	const int own = nl_socket_get_fd(socket->get());
	if (setsockopt(own, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer_bytes, sizeof receive_buffer_bytes) != 0 &&
	    setsockopt(own, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes) != 0)
		return fail_errno(
			fmt::format("{}: cannot set a receive buffer of {} bytes", asked, receive_buffer_bytes));
	return snapshot_reader(std::move(*socket), std::make_unique<std::byte[]>(buffer_bytes));
}

expected<void> snapshot_reader::begin()
{
	restarts_ = 0;
	return ask_first();
}

expected<void> snapshot_reader::ask_first()
{
	question_ = 0;
	unsure_.clear();
	result_ = {};
	return ask();
}

expected<void> snapshot_reader::ask()
{
	std::array<std::byte, 128> message;
	first_seq_ = ++seq_;
	return send({message.data(), write_request(message, questions[question_], NLM_F_DUMP, 0, seq_)});
}

// The last of the tokens that are not sure, and no longer among them then.
expected<void> snapshot_reader::look_up()
{
	std::array<std::byte, 128 * most_look_ups> messages;
	std::size_t used = 0;
	unanswered_ = std::min(unsure_.size(), most_look_ups);
	first_seq_ = seq_ + 1;
	for (std::size_t i = 0; i < unanswered_; ++i) {
		used += write_request(std::span(messages).subspan(used), questions[0], 0, unsure_.back(), ++seq_);
		unsure_.pop_back();
	}
	return send({messages.data(), used});
}

expected<void> snapshot_reader::send(bytes message)
{
	state_ = state::idle;
	busy_ = false;
	sockaddr_nl kernel{};
	kernel.nl_family = AF_NETLINK;
	while (sendto(fd(), message.data(), message.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr *>(&kernel),
		      sizeof kernel) < 0)
		if (errno != EINTR)
			return fail_errno(fmt::format("{}: cannot ask the kernel", asked));
	state_ = state::asking;
	return {};
}

expected<void> snapshot_reader::start_over(const std::string &why)
{
	if (++restarts_ > most_restarts) {
		state_ = state::idle;
		return fail(fmt::format("{}: {}, in each of {} attempts; try again later", asked, why, restarts_));
	}
	return ask_first();
}

expected<bool> snapshot_reader::proceed()
{
	for (unsigned i = 0; state_ == state::asking && i < most_datagrams; ++i) {
		bool empty = false;
		const auto datagram = receive(empty);
		if (!datagram)
			return tl::unexpected(datagram.error());
		if (empty)
			break;
		if (const auto taken = take_in(*datagram); !taken) {
			state_ = state::idle;
			return tl::unexpected(taken.error());
		}
	}
	return state_ == state::complete;
}

void snapshot_reader::drop_rest() noexcept
{
	state_ = state::idle;
	for (unsigned i = 0; i < most_datagrams; ++i)
		if (recv(fd(), buffer_.get(), buffer_bytes, MSG_DONTWAIT) < 0 &&
		    (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
}

// One datagram; no bytes if it is to be left alone, and `empty` if there is none.
expected<bytes> snapshot_reader::receive(bool &empty)
{
	sockaddr_nl sender{};
	iovec vector{buffer_.get(), buffer_bytes};
	msghdr header{};
	header.msg_name = &sender;
	header.msg_namelen = sizeof sender;
	header.msg_iov = &vector;
	header.msg_iovlen = 1;
	const ssize_t size = recvmsg(fd(), &header, MSG_DONTWAIT);
	if (size < 0) {
		empty = errno == EAGAIN || errno == EWOULDBLOCK;
		if (empty || errno == EINTR)
			return bytes{};
		// Out of memory, or of room: part of the answer is gone, and the kernel goes on only when asked again.
		if (errno == ENOBUFS || errno == ENOMEM)
			return start_over("the kernel had no room for its answer").map([] { return bytes{}; });
		state_ = state::idle;
		return fail_errno(fmt::format("{}: cannot receive from the netlink socket", asked));
	}
	if (header.msg_namelen != sizeof sender || sender.nl_pid != 0)
		return bytes{}; // anyone may send us anything, and only the kernel knows
	if (header.msg_flags & MSG_TRUNC)
		return start_over(fmt::format("an answer was longer than {} bytes", buffer_bytes)).map([] {
			return bytes{};
		});
	return bytes(buffer_.get(), static_cast<std::size_t>(size));
}

expected<void> snapshot_reader::take_in(bytes datagram)
{
	while (const auto length = wire::first_message(datagram)) {
		const bytes message = datagram.first(*length);
		datagram = datagram.subspan(std::min(wire::align(*length), datagram.size()));
		const auto header = wire::load<nlmsghdr>(message.data());
		if (header.nlmsg_seq - first_seq_ > seq_ - first_seq_) { // of a question that was given up
			if (header.nlmsg_type == NLMSG_DONE && busy_)
				return ask();
			continue;
		}
		const bool looking_up = question_ == questions.size();
		if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
			// Both begin with a negative errno or 0.
			const bool whole = message.size() >= NLMSG_HDRLEN + sizeof(int);
			const int code = whole ? -wire::load<int>(message.data() + NLMSG_HDRLEN) : 0;
			if (looking_up && code == ENOENT) { // it has closed
				if (const auto next = looked_up(); !next)
					return next;
				continue;
			}
			return answered(code);
		}
		if (header.nlmsg_flags & NLM_F_DUMP_INTR)
			return start_over("the list changed while it was read");
		if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
			continue;
		if (const auto added = add(message.subspan(NLMSG_HDRLEN)); !added)
			return added;
		if (looking_up)
			if (const auto next = looked_up(); !next)
				return next;
	}
	return {};
}

expected<void> snapshot_reader::answered(int error)
{
	switch (error) {
	case 0: break;
	case EBUSY: // an earlier question, given up before its end, is still being answered
		busy_ = true;
		return {};
	case ENOENT: {
		const bool tcp = questions[question_].protocol == IPPROTO_TCP;
		return fail(fmt::format(
			"{}: this kernel cannot list {} sockets; load its module {}_diag, or build it with {}", asked,
			tcp ? "TCP" : "MPTCP", tcp ? "tcp" : "mptcp",
			tcp ? "CONFIG_INET_TCP_DIAG" : "CONFIG_INET_MPTCP_DIAG"));
	}
	default: errno = error; return fail_errno(fmt::format("{}: the kernel refused to", asked));
	}
	if (++question_ < questions.size())
		return ask();
	sort_out(result_.connections);
	sort_out(result_.subflows);
	unsure_ = missing_connections(result_);
	unanswered_ = 1;
	return looked_up();
}

// One more answer is in.
expected<void> snapshot_reader::looked_up()
{
	if (--unanswered_ > 0)
		return {};
	if (!unsure_.empty())
		return look_up();
	sort_out(result_.connections); // those that were looked up are at the end
	state_ = state::complete;
	return {};
}

expected<void> snapshot_reader::add(bytes answer)
{
	if (answer.size() < sizeof(inet_diag_msg))
		return fail(fmt::format("{}: the kernel's answer is truncated", asked));
	const auto socket = wire::load<inet_diag_msg>(answer.data());
	const question &now = questions[question_ % questions.size()]; // what is looked up is as the first asks for
	// A state may have changed since the kernel chose the socket.
	if ((socket.idiag_family != AF_INET && socket.idiag_family != AF_INET6) ||
	    !(now.states >> socket.idiag_state & 1))
		return {};
	socket_attributes attributes;
	auto failed = attributes.read(answer.subspan(sizeof socket), socket_lengths);
	// The kernel tells a socket's mark to whom it tells about subflows.
	if (!failed && !attributes.has(INET_DIAG_MARK))
		return fail(fmt::format("{}: root, or CAP_NET_ADMIN in the network namespace, is needed", asked));
	if (!failed && now.protocol == IPPROTO_TCP)
		failed = add_subflow(result_, socket, attributes);
	else if (!failed)
		add_connection(result_, socket, attributes);
	if (failed)
		return fail(fmt::format("{}: cannot read the kernel's answer ({})", asked, to_string(*failed)));
	return {};
}

} // namespace pm::netlink
