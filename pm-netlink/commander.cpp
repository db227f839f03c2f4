// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The socket of commander: one message after the other into one buffer, one send, the answers filed by their numbers.
// Encoding is in codec.cpp; what the caller sees of an exchange is in the header.
//
// The kernel has answered everything by the time that send() returns: an answer that is not there then never comes.
#include "pm-netlink/commander.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "pm-netlink/family.hpp"
#include "pm-netlink/wire.hpp"

namespace pm::netlink {
namespace {

constexpr const char *asked = "commanding the path manager";
constexpr std::string_view no_form = "not sent: a command of an unknown type or without a token";

// The text of an extended acknowledgement; empty if there is none, or not all of it.
std::string_view explanation(bytes message) noexcept
{
	constexpr std::size_t fixed = NLMSG_HDRLEN + sizeof(nlmsgerr);
	constexpr unsigned needed = NLM_F_ACK_TLVS |
				    NLM_F_CAPPED; // what was capped is our own message, before the text
	if ((wire::load<nlmsghdr>(message.data()).nlmsg_flags & needed) != needed)
		return {};
	wire::attribute_reader each(message.subspan(fixed));
	while (each.next()) {
		if (each.type() != NLMSGERR_ATTR_MSG)
			continue;
		const std::string_view text(reinterpret_cast<const char *>(each.payload().data()),
					    each.payload().size());
		return text.substr(0, text.find('\0'));
	}
	return {};
}

} // namespace

commander::buffers::buffers() noexcept
{
	for (std::size_t place = 0; place < batch; ++place) {
		vector[place] = {slot[place].data(), slot_bytes};
		header[place].msg_hdr.msg_name = &sender[place];
		header[place].msg_hdr.msg_iov = &vector[place];
		header[place].msg_hdr.msg_iovlen = 1;
	}
}

pm_event failure_of(const pm_command &command, int error) noexcept
{
	pm_event event{};
	event.type = PM_COMMAND_FAILED;
	event.command = command.type;
	event.error = static_cast<pm_u8>(error);
	event.token = command.token;
	event.local_id = command.local_id;
	event.remote_id = command.remote_id;
	event.local_port = command.local_port;
	event.remote_port = command.remote_port;
	event.local = command.local;
	event.remote = command.remote;
	event.has_local = event.has_remote = 1;
	return event;
}

expected<commander> commander::open()
{
	const auto family = ask_family();
	if (!family)
		return tl::unexpected(family.error());
	auto socket = connect_netlink(NETLINK_GENERIC);
	if (!socket)
		return fail(fmt::format("{}: {}", asked, socket.error().text));
	commander opened(std::move(*socket), family->id);
	if (auto done = opened.set_up(); !done)
		return tl::unexpected(done.error());
	return opened;
}

// The buffers that libnl asks for are large enough: a batch is 8 KiB at most, its answers are charged less than half of
// the 64 KiB that the kernel grants.
expected<void> commander::set_up()
{
	const int fd = nl_socket_get_fd(socket_.get()), on = 1;
	struct {
		int option;
		const char *name;
	} const options[] = {
		{NETLINK_EXT_ACK, "NETLINK_EXT_ACK"}, // errors come with a text,
		{NETLINK_CAP_ACK, "NETLINK_CAP_ACK"}, // and without the command they are about
	};
	for (const auto &[option, name] : options)
		if (setsockopt(fd, SOL_NETLINK, option, &on, sizeof on) != 0)
			return fail_errno(fmt::format("{}: cannot set {}", asked, name));
	// The kernel then turns away whoever else sends to this port, so that nobody can fill the buffer.
	sockaddr_nl kernel{};
	kernel.nl_family = AF_NETLINK;
	if (connect(fd, reinterpret_cast<const sockaddr *>(&kernel), sizeof kernel) != 0)
		return fail_errno(fmt::format("{}: cannot connect the socket to the kernel", asked));
	return {};
}

expected<std::size_t> commander::send_batch()
{
	const std::size_t count = std::min(queue_.size(), batch);
	std::size_t length = 0, missing = 0;
	for (std::size_t place = 0; place < count; ++place) {
		const auto seq = static_cast<std::uint32_t>(seq_ + place);
		const std::size_t added = encode_command(queue_[place], family_, seq,
							 std::span(buffers_->out).subspan(length));
		reply &answer = buffers_->replies[place];
		answer.error = added ? outstanding : EINVAL;
		answer.text_length = added ? 0 : no_form.copy(answer.text.data(), longest_text);
		length += added;
		missing += added != 0;
	}
	if (missing > 0) {
		const auto sent = send(length);
		if (!sent)
			return tl::unexpected(sent.error());
		if (!*sent)
			return std::size_t{0};
		receive(missing, seq_, count);
	}
	seq_ += static_cast<std::uint32_t>(count);
	return count;
}

// All of it or nothing: a datagram that cannot be sent was not looked at, so it may be sent again.
expected<bool> commander::send(std::size_t length)
{
	for (;;) {
		if (::send(nl_socket_get_fd(socket_.get()), buffers_->out.data(), length, MSG_DONTWAIT) >= 0)
			return true;
		if (errno == ENOBUFS || errno == EAGAIN || errno == EWOULDBLOCK)
			return false;
		if (errno != EINTR)
			return fail_errno(fmt::format("{}: cannot send to the netlink socket", asked));
	}
}

// Whatever ends the reading, the commands were sent: those without an answer are counted, not reported as an error.
void commander::receive(std::size_t missing, std::uint32_t first, std::size_t count)
{
	while (missing > 0) {
		for (std::size_t place = 0; place < missing; ++place) // the kernel wrote to it
			buffers_->header[place].msg_hdr.msg_namelen = sizeof(sockaddr_nl);
		const int received = recvmmsg(nl_socket_get_fd(socket_.get()), buffers_->header.data(),
					      static_cast<unsigned>(missing), MSG_DONTWAIT, nullptr);
		// ENOBUFS: an answer was lost, which is told once; those that were not can be read.
		if (received < 0 && (errno == EINTR || errno == ENOBUFS))
			continue;
		if (received <= 0)
			return;
		for (std::size_t place = 0; place < static_cast<std::size_t>(received); ++place)
			missing -= file_reply(place, first, count);
	}
}

// Whether the datagram in this place answers one of `count` commands, numbered from `first`, that had no answer yet.
bool commander::file_reply(std::size_t place, std::uint32_t first, std::size_t count)
{
	const mmsghdr &header = buffers_->header[place];
	// Before the socket was connected, anybody could send to it.
	if (header.msg_hdr.msg_namelen != sizeof(sockaddr_nl) || buffers_->sender[place].nl_pid != 0)
		return false;
	const bytes message = bytes(buffers_->slot[place]).first(std::min<std::size_t>(header.msg_len, slot_bytes));
	if (message.size() < NLMSG_HDRLEN + sizeof(nlmsgerr) ||
	    wire::load<nlmsghdr>(message.data()).nlmsg_type != NLMSG_ERROR)
		return false;
	const std::uint32_t number = wire::load<nlmsghdr>(message.data()).nlmsg_seq - first; // may wrap
	if (number >= count || buffers_->replies[number].error != outstanding)
		return false;
	reply &answer = buffers_->replies[number];
	answer.error = -wire::load<nlmsgerr>(message.data() + NLMSG_HDRLEN).error;
	answer.text_length = explanation(message).copy(answer.text.data(), longest_text);
	return true;
}

command_answer commander::account(std::size_t place)
{
	const reply &answer = buffers_->replies[place];
	const std::string_view text(answer.text.data(), answer.text_length);
	++counters_.sent;
	if (answer.error == outstanding) {
		++counters_.unanswered;
		return {queue_.front(), ENOBUFS, {}};
	}
	if (answer.error == 0) {
		++counters_.accepted;
	} else {
		auto &kind = counters_.refused[answer.error];
		++kind.count;
		kind.text = text;
	}
	return {queue_.front(), answer.error, text};
}

} // namespace pm::netlink
