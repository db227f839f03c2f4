// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/libnl.hpp"

#include <fmt/format.h>
#include <netlink/errno.h>

namespace pm {

tl::unexpected<error> fail_nl(const std::string &what, int code)
{
	return fail(fmt::format("{}: {}", what, nl_geterror(code)));
}

expected<nl_socket> connect_netlink(int protocol)
{
	nl_socket socket(nl_socket_alloc());
	if (!socket)
		return fail("cannot allocate a netlink socket: out of memory");
	if (const int rc = nl_connect(socket.get(), protocol); rc < 0)
		return fail_nl("cannot open a netlink socket", rc);
	return socket;
}

} // namespace pm
