// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The text of a system error. Nothing is decided here.
#include "pm-netlink/error.hpp"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace pm {

tl::unexpected<error> fail_errno(std::string text)
{
	const int number = errno;
	return fail(fmt::format("{}: {}", text, std::system_category().message(number)));
}

} // namespace pm
