// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "mptcpd-plugin/daemon_socket.hpp"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

namespace pm::plugin {

namespace {

int option_of(int fd, int option)
{
	int value = -1;
	socklen_t size = sizeof value;
	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

bool is_member(int fd, std::uint32_t group)
{
	if (option_of(fd, SO_DOMAIN) != AF_NETLINK || option_of(fd, SO_PROTOCOL) != NETLINK_GENERIC)
		return false;
	std::array<std::uint32_t, 32> groups{}; // a bit for each, counted from 1
	socklen_t size = sizeof groups;
	if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups.data(), &size) != 0)
		return false;
	const std::uint32_t bit = group - 1;
	return bit / 32 < groups.size() && (groups[bit / 32] >> bit % 32 & 1);
}

} // namespace

expected<daemon_socket> daemon_socket::find(std::uint32_t group)
{
	std::error_code failed;
	for (const auto &entry : std::filesystem::directory_iterator{"/proc/self/fd", failed}) {
		const int fd = std::atoi(entry.path().filename().c_str());
		if (is_member(fd, group))
			return daemon_socket{fd, group};
	}
	if (failed)
		return fail("cannot list the open files of mptcpd in /proc/self/fd: " + failed.message());
	return fail("mptcpd has no socket in the group of the path manager's events");
}

std::uint32_t daemon_socket::drops() const noexcept
{
	std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
	socklen_t size = sizeof memory;
	if (getsockopt(fd_, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0)
		return 0;
	return memory[SK_MEMINFO_DROPS];
}

void daemon_socket::enlarge(std::uint32_t bytes) const noexcept
{
	const int size = static_cast<int>(bytes);
	if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
		setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &size, sizeof size); // up to net.core.rmem_max
}

void daemon_socket::leave_group() const noexcept
{
	setsockopt(fd_, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, &group_, sizeof group_);
}

} // namespace pm::plugin
