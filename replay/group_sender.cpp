// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/group_sender.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace pm::replay {

group_sender::group_sender(descriptor socket, netlink::family family)
	: socket_(std::move(socket)), family_(std::move(family)), data_(most_at_once), headers_(most_at_once)
{
	group_.nl_family = AF_NETLINK;
	group_.nl_groups = 1u << (family_.events_group - 1);
}

expected<group_sender> group_sender::open()
{
	auto family = netlink::ask_family();
	if (!family)
		return tl::unexpected(family.error());
	if (family->events_group > 32)
		return fail(fmt::format(
			"this kernel numbered the group mptcp_pm_events {}, and a message can only be sent to groups "
			"up to 32: replay after a reboot",
			family->events_group));
	descriptor socket{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC)};
	if (!socket)
		return fail_errno("cannot open a generic netlink socket to replay through");
	return group_sender{std::move(socket), std::move(*family)};
}

expected<void> group_sender::send(std::span<due_event> events)
{
	for (std::size_t i = 0; i < events.size(); ++i) {
		due_event &each = events[i];
		nlmsghdr header;
		std::memcpy(&header, each.message.data(), sizeof header);
		header.nlmsg_type = family_.id;
		header.nlmsg_flags = 0; // not a request: the kernel, which gets a copy, passes over it
		header.nlmsg_seq = each.event.seq;
		header.nlmsg_pid = 0;
		std::memcpy(each.message.data(), &header, sizeof header);
		data_[i] = {each.message.data(), each.length};
		headers_[i].msg_hdr = {&group_, sizeof group_, &data_[i], 1, nullptr, 0, 0};
	}
	for (std::size_t sent = 0; sent < events.size();) {
		const int n = sendmmsg(socket_.get(), headers_.data() + sent,
				       static_cast<unsigned>(events.size() - sent), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPERM)
			return fail("this process may not send to the path manager's group: run as root, or with "
				    "CAP_NET_ADMIN");
		if (n < 0)
			return fail_errno("cannot send an event to the path manager's group");
		sent += static_cast<std::size_t>(n);
	}
	return {};
}

} // namespace pm::replay
