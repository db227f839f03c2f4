// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-bpf/netns_handle.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fmt/format.h>

namespace pm::bpf {

namespace {

constexpr int nsfs_root = -10003; // FD_NSFS_ROOT

struct handle_buffer {
	alignas(file_handle) unsigned char bytes[sizeof(file_handle) + sizeof pm_attachment::handle];
	file_handle *get() noexcept { return reinterpret_cast<file_handle *>(bytes); }
};

expected<std::uint64_t> cookie_of(const netns &where)
{
	return in_namespace(where, []() -> expected<std::uint64_t> {
		const descriptor any(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		std::uint64_t cookie = 0;
		socklen_t size = sizeof cookie;
		if (!any || ::getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0)
			return fail_errno("cannot read the cookie of the network namespace");
		return cookie;
	});
}

} // namespace

expected<void> write_down(const netns &where, pm_attachment &to)
{
	const auto cookie = cookie_of(where);
	if (!cookie)
		return tl::unexpected(cookie.error());
	struct stat of{};
	handle_buffer buffer{};
	int mount = 0;
	buffer.get()->handle_bytes = sizeof to.handle;
	if (::fstat(where.fd(), &of) != 0 ||
	    ::name_to_handle_at(where.fd(), "", buffer.get(), &mount, AT_EMPTY_PATH) != 0)
		return fail_errno("cannot take the file handle of the network namespace (nsfs)");
	to.netns_cookie = *cookie;
	to.netns_inode = static_cast<pm_u32>(of.st_ino);
	to.handle_type = static_cast<pm_u32>(buffer.get()->handle_type);
	to.handle_size = buffer.get()->handle_bytes;
	std::memcpy(to.handle, buffer.get()->f_handle, to.handle_size);
	return {};
}

expected<std::optional<netns>> find_netns(const pm_attachment &of)
{
	handle_buffer buffer{};
	buffer.get()->handle_bytes = std::min<pm_u32>(of.handle_size, sizeof of.handle);
	buffer.get()->handle_type = static_cast<int>(of.handle_type);
	std::memcpy(buffer.get()->f_handle, of.handle, buffer.get()->handle_bytes);
	descriptor fd(::open_by_handle_at(nsfs_root, buffer.get(), O_RDONLY | O_CLOEXEC));
	if (fd)
		return std::optional(netns::of(std::move(fd)));
	if (errno == ESTALE || errno == ENOENT)
		return std::nullopt;
	return fail_errno(fmt::format("cannot find the network namespace of '{}' by its file handle", of.name));
}

bool is_netns_of(const pm_attachment &of, const pm_attachment &other) noexcept
{
	return of.netns_cookie == other.netns_cookie && of.netns_inode == other.netns_inode;
}

} // namespace pm::bpf
