// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Addresses as 16 bytes: comparing, and telling the families apart. Text is made elsewhere.
#pragma once

#include "platform.hpp"

namespace pm {

PM_INLINE bool same(const pm_addr &a, const pm_addr &b) { return a.half[0] == b.half[0] && a.half[1] == b.half[1]; }

// An IPv4 address is ::ffff:a.b.c.d, whichever family the socket has that reported it (RFC 4291, 2.5.5.2).
PM_INLINE bool is_ipv4(const pm_addr &a)
{
	return a.half[0] == 0 && a.bytes[8] == 0 && a.bytes[9] == 0 && a.bytes[10] == 0xff && a.bytes[11] == 0xff;
}

PM_INLINE pm_addr ipv4(u8 a, u8 b, u8 c, u8 d)
{
	pm_addr address{};
	address.bytes[10] = address.bytes[11] = 0xff;
	address.bytes[12] = a;
	address.bytes[13] = b;
	address.bytes[14] = c;
	address.bytes[15] = d;
	return address;
}

} // namespace pm
