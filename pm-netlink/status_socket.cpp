// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/status_socket.hpp"

#include <cerrno>
#include <cstring>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pm-netlink/tenure.hpp"

namespace pm::netlink {

namespace {

constexpr int buffer_bytes = 256 << 10; // a status has a few kilobytes, and is sent without waiting

expected<sockaddr_un> address_of(const std::string &path)
{
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	if (path.size() >= sizeof address.sun_path)
		return fail(fmt::format("the name of the status socket, {}, is too long: choose a shorter run folder",
					path));
	std::memcpy(address.sun_path, path.data(), path.size());
	return address;
}

} // namespace

expected<status_socket> status_socket::listen(const std::string &run_folder)
{
	auto path = namespace_file(run_folder, ".status");
	if (!path)
		return tl::unexpected(path.error());
	const auto address = address_of(*path);
	if (!address)
		return tl::unexpected(address.error());
	descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	::unlink(path->c_str());
	if (!listener || ::bind(listener.get(), reinterpret_cast<const sockaddr *>(&*address), sizeof *address) != 0 ||
	    ::chmod(path->c_str(), 0660) != 0 || ::listen(listener.get(), 8) != 0)
		return fail_errno(fmt::format("cannot open the status socket {}", *path));
	return status_socket(std::move(listener), std::move(*path));
}

status_socket::~status_socket()
{
	if (listener_)
		::unlink(path_.c_str());
}

void status_socket::answer(const std::function<service_status()> &status) const
{
	const descriptor asking(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
	if (!asking)
		return;
	::setsockopt(asking.get(), SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
	const std::string text = to_json(status()).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
	[[maybe_unused]] const ssize_t sent = ::send(asking.get(), text.data(), text.size(),
						     MSG_NOSIGNAL | MSG_DONTWAIT);
}

expected<nlohmann::json> ask_status(const std::string &run_folder)
{
	const auto path = namespace_file(run_folder, ".status");
	if (!path)
		return tl::unexpected(path.error());
	const auto address = address_of(*path);
	if (!address)
		return tl::unexpected(address.error());
	const descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	const timeval patience{5, 0};
	for (const int direction : {SO_RCVTIMEO, SO_SNDTIMEO}) // the second one also bounds connect()
		::setsockopt(socket.get(), SOL_SOCKET, direction, &patience, sizeof patience);
	if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr *>(&*address), sizeof *address) != 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return fail(
				"no path manager of pathlab serves this network namespace: start pm-netlinkd, or name "
				"another namespace with -n");
		return fail_errno(fmt::format("cannot ask the path manager at {}", *path));
	}
	std::string text;
	char part[4096];
	ssize_t size = 0;
	while ((size = ::recv(socket.get(), part, sizeof part, 0)) > 0)
		text.append(part, static_cast<std::size_t>(size));
	if (size < 0)
		return fail_errno("the path manager did not answer within 5 seconds");
	auto status = nlohmann::json::parse(text, nullptr, false);
	if (status.is_discarded() || !status.is_object())
		return fail("the path manager's answer cannot be read: does it come from another version?");
	return status;
}

} // namespace pm::netlink
