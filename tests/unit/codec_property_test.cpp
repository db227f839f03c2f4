// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Properties of the codec: what is written is read back the same, and no bytes, random or mutated, do more than be
// refused or decoded. (Reads beyond the end show in the sanitizer build: each message is in memory of just its size.)
#include <cstring>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/rtnetlink.h>
#include <rapidcheck.h>

#include "pm-core/address.hpp"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/family.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

constexpr std::uint16_t family_id = 0x1c;

template <class T>
bool equal(const T &a, const T &b)
{
	return std::memcmp(&a, &b, sizeof(T)) == 0; // pm_event and pm_command have no padding
}

rc::Gen<pm_addr> any_address()
{
	return rc::gen::map(rc::gen::pair(rc::gen::arbitrary<bool>(),
					  rc::gen::container<std::array<pm_u8, 16>>(rc::gen::arbitrary<pm_u8>())),
			    [](const auto &from) {
				    pm_addr address = from.first ? ipv4(0, 0, 0, 0) : pm_addr{};
				    const std::size_t skip = from.first ? 12 : 0;
				    std::memcpy(address.bytes + skip, from.second.data() + skip, 16 - skip);
				    return address;
			    });
}

template <class T>
T any_nonzero()
{
	return *rc::gen::nonZero<T>();
}

// An event with all that its type carries and nothing else.
pm_event any_event()
{
	pm_event event{};
	event.type = *rc::gen::element<pm_u8>(PM_CREATED, PM_ESTABLISHED, PM_CLOSED, PM_ANNOUNCED, PM_REMOVED,
					      PM_SUB_ESTABLISHED, PM_SUB_CLOSED, PM_SUB_PRIORITY, PM_LISTENER_CREATED,
					      PM_LISTENER_CLOSED);
	event.seq = *rc::gen::arbitrary<pm_u32>();
	const bool listener = event.type == PM_LISTENER_CREATED || event.type == PM_LISTENER_CLOSED;
	const bool connection = event.type == PM_CREATED || event.type == PM_ESTABLISHED;
	const bool subflow = event.type >= PM_SUB_ESTABLISHED && event.type <= PM_SUB_PRIORITY;
	if (!listener)
		event.token = any_nonzero<pm_u32>();
	if (listener || connection || subflow) {
		event.has_local = 1;
		event.local = *any_address();
		event.local_port = *rc::gen::arbitrary<pm_u16>();
	}
	if (event.type == PM_ANNOUNCED || connection || subflow) {
		event.has_remote = 1;
		event.remote = *any_address();
		event.remote_port = *rc::gen::arbitrary<pm_u16>();
	}
	if (connection || subflow)
		event.local_id = *rc::gen::arbitrary<pm_u8>();
	if (!listener && event.type != PM_CLOSED)
		event.remote_id = *rc::gen::arbitrary<pm_u8>();
	if (connection)
		event.flags = *rc::gen::element<pm_u8>(0, PM_SERVER_SIDE, PM_DENY_JOIN_ID0,
						       PM_SERVER_SIDE | PM_DENY_JOIN_ID0);
	if (connection && is_ipv4(event.local) && is_ipv4(event.remote) && *rc::gen::arbitrary<bool>())
		event.flags |= PM_IPV4_SOCKET;
	if (subflow) {
		event.flags = *rc::gen::element<pm_u8>(0, PM_BACKUP);
		event.ifindex = *rc::gen::arbitrary<pm_u32>();
		event.error = *rc::gen::arbitrary<pm_u8>();
	}
	if (event.type == PM_SUB_ESTABLISHED && is_ipv4(event.local) && is_ipv4(event.remote) &&
	    *rc::gen::arbitrary<bool>())
		event.flags |= PM_IPV4_SOCKET;
	return event;
}

pm_command any_command()
{
	pm_command command{};
	command.type = *rc::gen::element<pm_u8>(PM_SET_BACKUP, PM_ANNOUNCE, PM_WITHDRAW, PM_OPEN_SUBFLOW,
						PM_CLOSE_SUBFLOW);
	command.token = any_nonzero<pm_u32>();
	command.local_id = *rc::gen::arbitrary<pm_u8>();
	if (command.type == PM_WITHDRAW)
		return command;
	command.flags = *rc::gen::element<pm_u8>(0, PM_BACKUP);
	command.local = *any_address();
	command.local_port = *rc::gen::arbitrary<pm_u16>();
	command.ifindex = *rc::gen::arbitrary<pm_u32>();
	if (command.type == PM_ANNOUNCE)
		return command;
	command.remote = *any_address();
	command.remote_id = *rc::gen::arbitrary<pm_u8>();
	command.remote_port = *rc::gen::arbitrary<pm_u16>();
	return command;
}

pm_event any_local_address()
{
	pm_event event{};
	event.type = *rc::gen::element<pm_u8>(PM_LOCAL_ADDED, PM_LOCAL_REMOVED);
	event.seq = *rc::gen::arbitrary<pm_u32>();
	event.ifindex = *rc::gen::arbitrary<pm_u32>();
	event.has_local = 1;
	event.local = *any_address();
	// Documentation prefixes: neither loopback nor link-local.
	constexpr pm_u8 four[] = {192, 0, 2}, six[] = {0x20, 0x01, 0x0d, 0xb8};
	if (is_ipv4(event.local))
		std::memcpy(event.local.bytes + 12, four, sizeof four);
	else
		std::memcpy(event.local.bytes, six, sizeof six);
	return event;
}

std::vector<std::byte> any_message()
{
	std::vector<std::byte> out(max_message);
	switch (*rc::gen::inRange(0, 4)) {
	case 0: out.resize(encode_event(any_event(), family_id, out)); break;
	case 1: out.resize(encode_command(any_command(), family_id, 1, out)); break;
	case 2: out.resize(encode_address(any_local_address(), out)); break;
	default: out = encode_family(family_id, 9); break;
	}
	return out;
}

// Whatever is decoded has a form on the wire that is decoded to the same.
void check_all_decoders(const std::vector<std::byte> &input)
{
	const auto exact = std::make_unique<std::byte[]>(input.size());
	std::copy(input.begin(), input.end(), exact.get());
	const bytes message(exact.get(), input.size());
	std::array<std::byte, max_message> out;
	if (const auto event = decode_event(message, family_id)) {
		const auto again = decode_event(bytes(out).first(encode_event(*event, family_id, out)), family_id);
		RC_ASSERT(again.has_value());
		RC_ASSERT(equal(*event, *again));
	}
	if (const auto command = decode_command(message, family_id)) {
		const auto again = decode_command(bytes(out).first(encode_command(*command, family_id, 1, out)),
						  family_id);
		RC_ASSERT(again.has_value());
		RC_ASSERT(equal(*command, *again));
	}
	if (const auto address = decode_address(message)) {
		const auto again = decode_address(bytes(out).first(encode_address(*address, out)));
		RC_ASSERT(again.has_value());
		RC_ASSERT(equal(*address, *again));
	}
	if (const auto family = decode_family(message)) {
		const auto again = decode_family(encode_family(family->id, family->events_group));
		RC_ASSERT(again.has_value());
		RC_ASSERT(again->id == family->id);
	}
}

TEST(codec_property, reads_back_every_event_that_it_writes)
{
	EXPECT_TRUE(rc::check([] {
		const pm_event event = any_event();
		std::array<std::byte, max_message> out;
		const std::size_t length = encode_event(event, family_id, out);
		RC_ASSERT(length > 0u);
		const auto read = decode_event(bytes(out).first(length), family_id);
		RC_ASSERT(read.has_value());
		RC_ASSERT(equal(*read, event));
	}));
}

TEST(codec_property, reads_back_every_command_that_it_writes)
{
	EXPECT_TRUE(rc::check([] {
		const pm_command command = any_command();
		std::array<std::byte, max_message> out;
		const std::size_t length = encode_command(command, family_id, 1, out);
		RC_ASSERT(length > 0u);
		const auto read = decode_command(bytes(out).first(length), family_id);
		RC_ASSERT(read.has_value());
		RC_ASSERT(equal(*read, command));
	}));
}

TEST(codec_property, reads_back_every_local_address_that_it_writes)
{
	EXPECT_TRUE(rc::check([] {
		const pm_event event = any_local_address();
		std::array<std::byte, max_message> out;
		const std::size_t length = encode_address(event, out);
		RC_ASSERT(length > 0u);
		const auto read = decode_address(bytes(out).first(length));
		RC_ASSERT(read.has_value());
		RC_ASSERT(equal(*read, event));
	}));
}

TEST(codec_property, takes_or_refuses_arbitrary_bytes)
{
	EXPECT_TRUE(rc::check([] {
		auto message = *rc::gen::container<std::vector<std::byte>>(
			rc::gen::map(rc::gen::arbitrary<std::uint8_t>(), [](std::uint8_t b) { return std::byte{b}; }));
		check_all_decoders(message);
		// With a header that is right, so that the bytes are looked at as attributes.
		if (message.size() < 20)
			message.resize(20);
		const auto length = static_cast<std::uint32_t>(message.size());
		constexpr std::array<std::uint16_t, 3> types = {family_id, GENL_ID_CTRL, RTM_NEWADDR};
		const std::uint16_t type = types[*rc::gen::inRange<std::size_t>(0, types.size())];
		std::memcpy(message.data(), &length, sizeof length);
		std::memcpy(message.data() + 4, &type, sizeof type);
		message[16] = std::byte{*rc::gen::inRange<std::uint8_t>(0, 18)};
		check_all_decoders(message);
	}));
}

TEST(codec_property, takes_or_refuses_mutated_messages)
{
	EXPECT_TRUE(rc::check([] {
		auto message = any_message();
		const int changes = *rc::gen::inRange(1, 6);
		for (int change = 0; change < changes && !message.empty(); ++change) {
			const auto at = *rc::gen::inRange<std::size_t>(0, message.size());
			switch (*rc::gen::inRange(0, 4)) {
			case 0: message[at] = std::byte{*rc::gen::arbitrary<std::uint8_t>()}; break;
			case 1: message[at] ^= std::byte{1} << *rc::gen::inRange(0, 8); break;
			case 2: message.resize(at); break;
			default: message.insert(message.begin() + static_cast<std::ptrdiff_t>(at), std::byte{4}); break;
			}
		}
		if (*rc::gen::arbitrary<bool>() && message.size() >= 4) {
			const auto length = static_cast<std::uint32_t>(message.size());
			std::memcpy(message.data(), &length, sizeof length);
		}
		check_all_decoders(message);
	}));
}

} // namespace
