// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "mptcpd-plugin/daemon_socket.hpp"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <linux/netlink.h>
#include <sys/socket.h>

#include "pm-netlink/family.hpp"
#include "pm-netlink/socket_memory.hpp"

namespace pm::plugin {

expected<daemon_socket> daemon_socket::find(std::uint32_t group)
{
	std::error_code failed;
	for (const auto &entry : std::filesystem::directory_iterator{"/proc/self/fd", failed}) {
		const int fd = std::atoi(entry.path().filename().c_str());
		if (netlink::is_member(fd, group))
			return daemon_socket{fd, group};
	}
	if (failed)
		return fail("cannot list the open files of mptcpd in /proc/self/fd: " + failed.message());
	return fail("mptcpd has no socket in the group of the path manager's events");
}

std::uint32_t daemon_socket::drops() const noexcept { return memory_of(fd_).drops; }

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
