// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/tenure.hpp"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pm::netlink {

namespace {

// Linux 6.15 has path managers by name; before, there are two, by number.
struct path_manager_sysctl {
	const char *name;
	const char *userspace, *kernel; // its values for the userspace path manager, and for the kernel's own
};

expected<path_manager_sysctl> find_sysctl()
{
	for (const path_manager_sysctl &each : {path_manager_sysctl{"net.mptcp.path_manager", "userspace", "kernel"},
						path_manager_sysctl{"net.mptcp.pm_type", "1", "0"}})
		if (read_sysctl(each.name))
			return each;
	return fail("this kernel has no userspace path manager (there is no sysctl net.mptcp.pm_type): Linux 5.19 or "
		    "newer, "
		    "built with CONFIG_MPTCP, is needed");
}

std::string read_all(int fd)
{
	char text[256];
	const ssize_t size = ::pread(fd, text, sizeof text, 0);
	return std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0);
}

} // namespace

expected<std::string> namespace_file(const std::string &run_folder, const std::string &suffix)
{
	const descriptor any(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	std::uint64_t cookie = 0;
	socklen_t size = sizeof cookie;
	if (!any || ::getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0)
		return fail_errno("cannot read the cookie of the network namespace (SO_NETNS_COOKIE, Linux 5.14)");
	return fmt::format("{}/netns-{}{}", run_folder, cookie, suffix);
}

expected<tenure> tenure::begin(const std::string &run_folder)
{
	if (::mkdir(run_folder.c_str(), 0755) != 0 && errno != EEXIST)
		return fail_errno(
			fmt::format("cannot make the folder {} for the lock of the network namespace", run_folder));
	auto path = namespace_file(run_folder, ".lock");
	if (!path)
		return tl::unexpected(path.error());
	for (;;) {
		descriptor lock(::open(path->c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
		if (!lock)
			return fail_errno(fmt::format("cannot open the lock of the network namespace, {}", *path));
		if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
			return fail(fmt::format(
				"another path manager of pathlab serves this network namespace (it holds {}): "
				"stop it first",
				*path));
		// One that just ended may have removed the file after it was opened here: then this lock is nobody's.
		struct stat held{}, named{};
		if (::fstat(lock.get(), &held) != 0 || ::stat(path->c_str(), &named) != 0 ||
		    held.st_ino != named.st_ino)
			continue;
		tenure made(std::move(lock), std::move(*path));
		const bool is_new = read_all(made.lock_.get()).empty();
		if (auto done = made.switch_over(); !done) {
			if (is_new) // otherwise a killed one still has something to be restored
				::unlink(made.path_.c_str());
			return tl::unexpected(done.error());
		}
		return made;
	}
}

expected<void> tenure::switch_over()
{
	const auto sysctl = find_sysctl();
	if (!sysctl)
		return tl::unexpected(sysctl.error());
	before_ = read_all(lock_.get());
	if (before_.empty()) {
		const auto now = read_sysctl(sysctl->name);
		if (!now)
			return tl::unexpected(now.error());
		if (::pwrite(lock_.get(), now->data(), now->size(), 0) != static_cast<ssize_t>(now->size()))
			return fail_errno(fmt::format("cannot write down in {} what path manager was set", path_));
		before_ = *now;
	}
	if (auto set = write_sysctl(sysctl->name, sysctl->userspace); !set)
		return fail(set.error().text +
			    ": switching to the userspace path manager takes root, or CAP_NET_ADMIN in "
			    "the network namespace");
	return {};
}

expected<std::string> tenure::end()
{
	const auto sysctl = find_sysctl();
	if (!sysctl)
		return tl::unexpected(sysctl.error());
	std::string now = before_;
	if (!write_sysctl(sysctl->name, now)) {
		now = sysctl->kernel;
		if (auto set = write_sysctl(sysctl->name, now); !set)
			return tl::unexpected(set.error());
	}
	// Nothing is left to restore, even where the file must stay because the folder is not ours to write in.
	[[maybe_unused]] const int emptied = ::ftruncate(lock_.get(), 0);
	::unlink(path_.c_str());
	return now;
}

} // namespace pm::netlink
