// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Entries of the kernel's list of announced addresses, from bytes. The list itself is read in tests/vm.
#include "pm-netlink/announced_list.hpp"

#include <array>

#include <gtest/gtest.h>

#include "pm-core/address.hpp"
#include "pm-netlink/wire.hpp"
#include "tests/support/events.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

constexpr std::uint16_t family = 0x1c;
constexpr std::uint8_t get_remote_addr = 12;

struct entry {
	std::uint8_t command = get_remote_addr;
	bool id = true, ipv4 = true, ipv6 = false;
	std::uint16_t port = 0;
};

struct encoded {
	explicit encoded(const entry &what)
	{
		wire::message_writer to(memory, family, NLM_F_MULTI, 1);
		to.generic(what.command, MPTCP_PM_VER);
		const auto nest = to.open_nest(MPTCP_PM_ATTR_ADDR);
		if (what.id)
			to.put(MPTCP_PM_ADDR_ATTR_ID, std::uint8_t{7});
		if (what.ipv4)
			to.put(MPTCP_PM_ADDR_ATTR_ADDR4, test::remote4(2).bytes + 12, 4);
		if (what.ipv6)
			to.put(MPTCP_PM_ADDR_ATTR_ADDR6, test::remote6(2).bytes, 16);
		if (what.port)
			to.put(MPTCP_PM_ADDR_ATTR_PORT, what.port);
		to.close_nest(nest);
		length = to.finish();
	}
	std::optional<peers::announcement> decoded(std::size_t of) const
	{
		return decode_announcement(bytes(memory).first(of), family);
	}
	std::array<std::byte, 256> memory{};
	std::size_t length = 0;
};

TEST(announced_list, has_addresses_of_both_families_with_their_ids_and_ports)
{
	const encoded four(entry{}), six({.ipv4 = false, .ipv6 = true, .port = 444});
	const auto first = four.decoded(four.length), second = six.decoded(six.length);
	ASSERT_TRUE(first);
	EXPECT_TRUE(same(first->address, test::remote4(2)));
	EXPECT_EQ(first->id, 7);
	EXPECT_EQ(first->port, 0);
	ASSERT_TRUE(second);
	EXPECT_TRUE(same(second->address, test::remote6(2)));
	EXPECT_EQ(second->port, 444);
}

TEST(announced_list, has_no_entry_in_anything_else)
{
	for (const entry &wrong : {entry{.command = 3}, entry{.id = false}, entry{.ipv4 = false}, entry{.ipv6 = true}}) {
		const encoded message(wrong);
		EXPECT_FALSE(message.decoded(message.length));
	}
	const encoded right(entry{});
	for (std::size_t length = 0; length < right.length; ++length)
		EXPECT_FALSE(right.decoded(length)) << length;
	EXPECT_FALSE(decode_announcement(bytes(right.memory).first(right.length), family + 1));
}

} // namespace
