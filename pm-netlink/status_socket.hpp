// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Where a path manager says what it does: a Unix socket, one for each network namespace, that answers whoever connects
// with its status as JSON and hangs up. It takes nothing in.
#pragma once

#include <functional>
#include <string>

#include "pm-netlink/error.hpp"
#include "pm-netlink/netns.hpp"
#include "pm-netlink/status.hpp"

namespace pm::netlink {

class status_socket {
public:
	// For the calling thread's network namespace, which is this process's alone to serve: a socket that another one left
	// is removed.
	[[nodiscard]] static expected<status_socket> listen(const std::string &run_folder);
	status_socket(status_socket &&) noexcept = default;
	status_socket &operator=(status_socket &&) = delete;
	~status_socket(); // removes the socket

	[[nodiscard]] int fd() const noexcept { return listener_.get(); } // readable: somebody asks
	void answer(const std::function<service_status()> &status) const; // one who asks; never blocks

private:
	status_socket(descriptor listener, std::string path) noexcept
		: listener_(std::move(listener)), path_(std::move(path))
	{
	}
	descriptor listener_;
	std::string path_;
};

// What the path manager of the calling thread's network namespace says of itself.
[[nodiscard]] expected<nlohmann::json> ask_status(const std::string &run_folder);

} // namespace pm::netlink
