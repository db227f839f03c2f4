// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Making, opening and entering network namespaces, and their sysctls.
#include "pm-netlink/netns.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

namespace pm {

namespace {

// Why a namespace call failed: want of privilege is by far the usual reason, and its remedy is known.
tl::unexpected<error> namespace_error(const std::string &what)
{
	if (errno == EPERM)
		return fail(what + ": not permitted; run as root (CAP_SYS_ADMIN)");
	return fail_errno(what);
}

expected<void> loopback_up()
{
	descriptor s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	ifreq request{};
	std::strcpy(request.ifr_name, "lo");
	if (!s || ::ioctl(s.get(), SIOCGIFFLAGS, &request) != 0)
		return fail_errno("cannot read the loopback interface of a new network namespace");
	request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
	if (::ioctl(s.get(), SIOCSIFFLAGS, &request) != 0)
		return fail_errno("cannot bring up the loopback interface of a new network namespace");
	return {};
}

// Not /proc/self: that is the first thread's.
descriptor own_namespace() { return descriptor(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

expected<descriptor> create_on_this_thread()
{
	if (::unshare(CLONE_NEWNET) != 0)
		return namespace_error("cannot create a network namespace");
	descriptor fd = own_namespace();
	if (!fd)
		return fail_errno("cannot open the network namespace that was just created (is /proc mounted?)");
	if (auto up = loopback_up(); !up)
		return tl::unexpected(std::move(up.error()));
	return fd;
}

// The path of a sysctl. Only those below net belong to a namespace; any other would be the machine's.
expected<std::string> sysctl_path(const std::string &name)
{
	std::string path = name;
	if (path.find('/') == std::string::npos)
		std::replace(path.begin(), path.end(), '.', '/');
	if (!path.starts_with("net/") || path.find("..") != std::string::npos)
		return fail(fmt::format("'{}' is not a sysctl of a network namespace; those begin with 'net.'", name));
	return "/proc/sys/" + path;
}

} // namespace

descriptor::~descriptor()
{
	if (fd_ >= 0)
		::close(fd_);
}

expected<void> on_own_thread(const std::function<void()> &work)
{
	expected<void> result;
	try {
		std::thread thread([&] {
			try {
				work();
			} catch (const std::exception &e) {
				result = fail(e.what());
			}
		});
		thread.join();
	} catch (const std::exception &e) {
		return fail(fmt::format("cannot start a thread: {}", e.what()));
	}
	return result;
}

expected<netns> netns::create()
{
	expected<descriptor> fd;
	if (auto ran = on_own_thread([&] { fd = create_on_this_thread(); }); !ran)
		return tl::unexpected(std::move(ran.error()));
	if (!fd)
		return tl::unexpected(std::move(fd.error()));
	return netns(std::move(*fd));
}

expected<netns> netns::open(const std::string &name)
{
	if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
		return fail_usage(fmt::format(
			"'{}' cannot be the name of a network namespace; `ip netns list` shows those there are", name));
	const std::string path = "/run/netns/" + name;
	descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
	if (!fd && errno == ENOENT)
		return fail(fmt::format("network namespace '{}' does not exist: there is no {}; "
					"`ip netns list` shows those that do",
					name, path));
	if (!fd)
		return fail_errno(fmt::format("cannot open network namespace '{}' ({})", name, path));
	// `ip netns add` makes a plain file and then mounts the namespace on it; a plain file is what a crash leaves.
	struct statfs fs{};
	if (::fstatfs(fd.get(), &fs) != 0 || fs.f_type != NSFS_MAGIC)
		return fail(
			fmt::format("'{}' is no network namespace: {} is a plain file; `ip netns del {}` removes it",
				    name, path, name));
	return netns(std::move(fd));
}

expected<netns> netns::current()
{
	descriptor fd = own_namespace();
	if (!fd)
		return fail_errno("cannot open the network namespace of this thread (is /proc mounted?)");
	return netns(std::move(fd));
}

expected<void> netns::enter() const
{
	if (::setns(fd(), CLONE_NEWNET) != 0)
		return namespace_error("cannot enter a network namespace");
	return {};
}

expected<void> write_sysctl(const std::string &name, const std::string &value)
{
	const auto path = sysctl_path(name);
	if (!path)
		return tl::unexpected(path.error());
	descriptor file(::open(path->c_str(), O_WRONLY | O_CLOEXEC));
	if (!file || ::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
		return fail_errno(fmt::format("cannot set sysctl {} to '{}'", name, value));
	return {};
}

expected<std::string> read_sysctl(const std::string &name)
{
	const auto path = sysctl_path(name);
	if (!path)
		return tl::unexpected(path.error());
	descriptor file(::open(path->c_str(), O_RDONLY | O_CLOEXEC));
	char text[4096];
	const ssize_t n = file ? ::read(file.get(), text, sizeof text) : -1;
	if (n < 0)
		return fail_errno(fmt::format("cannot read sysctl {}", name));
	std::string value(text, static_cast<std::size_t>(n));
	while (!value.empty() && value.back() == '\n')
		value.pop_back();
	return value;
}

expected<void> netns::set_sysctl(const std::string &name, const std::string &value) const
{
	return in_namespace(*this, [&] { return write_sysctl(name, value); });
}

expected<std::string> netns::get_sysctl(const std::string &name) const
{
	return in_namespace(*this, [&] { return read_sysctl(name); });
}

} // namespace pm
