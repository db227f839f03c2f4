// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The codec on single messages: bytes that Linux 6.18 really sent, and each way in which a message can be wrong. Random
// messages are in codec_property_test.cpp; the kernel itself in tests/live.
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/mptcp.h>
#include <linux/rtnetlink.h>

#include "pm-core/address.hpp"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/family.hpp"
#include "pm-netlink/wire.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

constexpr std::uint16_t family_id = 0x1c;

std::vector<std::byte> from_hex(std::string_view hex)
{
	std::vector<std::byte> out;
	for (std::size_t at = 0; at + 1 < hex.size(); at += 2)
		out.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(at, 2)), nullptr, 16)));
	return out;
}

struct attribute {
	unsigned type;
	std::vector<std::byte> payload;
};

std::vector<std::byte> message(std::uint8_t command, const std::vector<attribute> &attributes,
			       std::uint16_t type = family_id)
{
	std::vector<std::byte> out(1024);
	wire::message_writer to(out, type, 0, 0);
	to.generic(command, MPTCP_PM_VER);
	for (const auto &each : attributes)
		to.put(each.type, each.payload.data(), each.payload.size());
	out.resize(to.finish());
	return out;
}

std::vector<attribute> without(std::vector<attribute> from, unsigned type)
{
	std::erase_if(from, [=](const attribute &each) { return each.type == type; });
	return from;
}

std::vector<attribute> with(std::vector<attribute> from, unsigned type, std::string_view hex)
{
	from = without(std::move(from), type);
	from.push_back({type, from_hex(hex)});
	return from;
}

// As Linux writes it, an IPv4 connection seen from the server.
const std::vector<attribute> created = {
	{MPTCP_ATTR_TOKEN, from_hex("dc089ba5")},  {MPTCP_ATTR_SERVER_SIDE, from_hex("01")},
	{MPTCP_ATTR_FLAGS, from_hex("0300")},      {MPTCP_ATTR_FAMILY, from_hex("0200")},
	{MPTCP_ATTR_SADDR4, from_hex("0a000001")}, {MPTCP_ATTR_DADDR4, from_hex("0a000002")},
	{MPTCP_ATTR_SPORT, from_hex("c6c9")},      {MPTCP_ATTR_DPORT, from_hex("8b3c")},
	{MPTCP_ATTR_LOC_ID, from_hex("00")},       {MPTCP_ATTR_REM_ID, from_hex("00")},
};
const std::vector<attribute> announced = {
	{MPTCP_ATTR_TOKEN, from_hex("03f84ae2")},
	{MPTCP_ATTR_REM_ID, from_hex("01")},
	{MPTCP_ATTR_DPORT, from_hex("1e61")},
	{MPTCP_ATTR_DADDR4, from_hex("0a090001")},
};
const std::vector<attribute> listener = {
	{MPTCP_ATTR_FAMILY, from_hex("0200")},
	{MPTCP_ATTR_SPORT, from_hex("1e61")},
	{MPTCP_ATTR_SADDR4, from_hex("0a090001")},
};

testing::AssertionResult refuses(const tl::expected<pm_event, refusal> &got, refusal why)
{
	if (got)
		return testing::AssertionFailure() << "decoded";
	if (got.error() != why)
		return testing::AssertionFailure() << to_string(got.error());
	return testing::AssertionSuccess();
}

std::vector<std::byte> encoded(const pm_event &event)
{
	std::vector<std::byte> out(max_message);
	out.resize(encode_event(event, family_id, out));
	return out;
}

TEST(codec, reads_a_connection_as_the_kernel_describes_it)
{
	const auto event = decode_event(message(PM_CREATED, created), family_id);
	ASSERT_TRUE(event) << to_string(event.error());
	EXPECT_EQ(event->type, PM_CREATED);
	EXPECT_EQ(event->token, 0xa59b08dcu);
	EXPECT_EQ(event->flags, PM_SERVER_SIDE | PM_DENY_JOIN_ID0 | PM_IPV4_SOCKET);
	EXPECT_TRUE(event->has_local && event->has_remote);
	EXPECT_TRUE(same(event->local, ipv4(10, 0, 0, 1)));
	EXPECT_TRUE(same(event->remote, ipv4(10, 0, 0, 2)));
	EXPECT_EQ(event->local_port, 0xc6c9);
	EXPECT_EQ(event->remote_port, 0x8b3c);
}

TEST(codec, writes_the_bytes_that_the_kernel_sent)
{
	const std::vector<attribute> subflow = {
		{MPTCP_ATTR_TOKEN, from_hex("b346428d")},  {MPTCP_ATTR_FAMILY, from_hex("0200")},
		{MPTCP_ATTR_SADDR4, from_hex("0a090001")}, {MPTCP_ATTR_DADDR4, from_hex("7f000001")},
		{MPTCP_ATTR_SPORT, from_hex("94cb")},      {MPTCP_ATTR_DPORT, from_hex("a064")},
		{MPTCP_ATTR_LOC_ID, from_hex("02")},       {MPTCP_ATTR_REM_ID, from_hex("00")},
		{MPTCP_ATTR_BACKUP, from_hex("00")},       {MPTCP_ATTR_IF_IDX, from_hex("01000000")},
		{MPTCP_ATTR_ERROR, from_hex("6f")},
	};
	const std::vector<attribute> removed = {{MPTCP_ATTR_TOKEN, from_hex("03f84ae2")},
						{MPTCP_ATTR_REM_ID, from_hex("01")}};
	for (const auto &sent :
	     {message(PM_CREATED, created), message(PM_ANNOUNCED, announced), message(PM_LISTENER_CREATED, listener),
	      message(PM_SUB_CLOSED, subflow), message(PM_REMOVED, removed), message(PM_CLOSED, {announced.front()})}) {
		const auto event = decode_event(sent, family_id);
		ASSERT_TRUE(event) << to_string(event.error());
		EXPECT_EQ(encoded(*event), sent) << "type " << int{event->type};
	}
}

TEST(codec, takes_both_ways_of_saying_server_side)
{
	for (const unsigned left_out : {MPTCP_ATTR_SERVER_SIDE, MPTCP_ATTR_FLAGS}) {
		const auto event = decode_event(message(PM_ESTABLISHED, without(created, left_out)), family_id);
		ASSERT_TRUE(event);
		EXPECT_TRUE(event->flags & PM_SERVER_SIDE) << "without attribute " << left_out;
	}
	const auto client = decode_event(message(PM_ESTABLISHED, with(without(created, MPTCP_ATTR_FLAGS),
								      MPTCP_ATTR_SERVER_SIDE, "00")),
					 family_id);
	ASSERT_TRUE(client);
	EXPECT_FALSE(client->flags & PM_SERVER_SIDE);
}

TEST(codec, takes_ipv4_mapped_addresses_of_an_ipv6_socket_as_ipv4)
{
	auto mapped = with(without(without(created, MPTCP_ATTR_SADDR4), MPTCP_ATTR_DADDR4), MPTCP_ATTR_FAMILY, "0a00");
	mapped = with(mapped, MPTCP_ATTR_SADDR6, "00000000000000000000ffff0a000001");
	mapped = with(mapped, MPTCP_ATTR_DADDR6, "00000000000000000000ffff0a000002");
	const auto event = decode_event(message(PM_CREATED, mapped), family_id);
	ASSERT_TRUE(event) << to_string(event.error());
	EXPECT_TRUE(same(event->local, ipv4(10, 0, 0, 1)));
	EXPECT_FALSE(event->flags & PM_IPV4_SOCKET) << "it may have IPv6 paths too";
	EXPECT_TRUE(same(decode_event(encoded(*event), family_id)->local, event->local));
	EXPECT_EQ(decode_event(encoded(*event), family_id)->flags, event->flags);
}

TEST(codec, skips_attributes_that_it_does_not_know)
{
	const auto event = decode_event(message(PM_CREATED, with(created, 40, "0102030405")), family_id);
	ASSERT_TRUE(event);
	EXPECT_EQ(encoded(*event), message(PM_CREATED, created));
}

TEST(codec, refuses_an_event_without_an_attribute_that_its_type_needs)
{
	struct {
		std::uint8_t type;
		const std::vector<attribute> &whole;
		std::vector<unsigned> needs;
	} const cases[] = {
		{PM_CREATED, created, {1, 2, 5, 7, 9, 10}},
		{PM_ESTABLISHED, created, {1, 2, 5, 7, 9, 10}},
		{PM_SUB_ESTABLISHED, created, {1, 2, 5, 7, 9, 10}},
		{PM_SUB_CLOSED, created, {1, 2, 5, 7, 9, 10}},
		{PM_SUB_PRIORITY, created, {1, 2, 5, 7, 9, 10}},
		{PM_CLOSED, created, {1}},
		{PM_ANNOUNCED, announced, {1, 4, 7}},
		{PM_REMOVED, announced, {1, 4}},
		{PM_LISTENER_CREATED, listener, {2, 5, 9}},
		{PM_LISTENER_CLOSED, listener, {2, 5, 9}},
	};
	for (const auto &each : cases) {
		EXPECT_TRUE(decode_event(message(each.type, each.whole), family_id)) << "type " << int{each.type};
		for (const unsigned attribute : each.needs)
			EXPECT_TRUE(refuses(decode_event(message(each.type, without(each.whole, attribute)), family_id),
					    refusal::missing_attribute))
				<< "type " << int{each.type} << " without " << attribute;
	}
}

TEST(codec, refuses_attributes_that_do_not_fit)
{
	struct {
		const char *what;
		unsigned attribute;
		const char *value;
	} const cases[] = {
		{"a token of 0", MPTCP_ATTR_TOKEN, "00000000"},
		{"a short token", MPTCP_ATTR_TOKEN, "010203"},
		{"a long token", MPTCP_ATTR_TOKEN, "0102030405060708"},
		{"an empty token", MPTCP_ATTR_TOKEN, ""},
		{"a short port", MPTCP_ATTR_SPORT, "01"},
		{"a short address", MPTCP_ATTR_SADDR4, "0a0000"},
		{"a family that is none", MPTCP_ATTR_FAMILY, "0300"},
		{"a family other than the addresses'", MPTCP_ATTR_FAMILY, "0a00"},
		{"a second address, of the other family", MPTCP_ATTR_SADDR6, "20010db8000000000000000000000001"},
	};
	for (const auto &each : cases)
		EXPECT_TRUE(
			refuses(decode_event(message(PM_CREATED, with(created, each.attribute, each.value)), family_id),
				refusal::bad_attribute))
			<< each.what;
}

TEST(codec, refuses_a_message_cut_anywhere)
{
	const auto whole = message(PM_CREATED, created);
	for (std::size_t length = 0; length < whole.size(); ++length)
		EXPECT_TRUE(refuses(decode_event(bytes(whole).first(length), family_id), refusal::truncated)) << length;
	// Cut, and the header corrected: in the middle of an attribute still truncated, between two of them incomplete.
	for (std::uint32_t length = 0; length < whole.size() - 24; ++length) {
		auto cut = whole;
		std::memcpy(cut.data(), &length, sizeof length);
		EXPECT_FALSE(decode_event(cut, family_id)) << length;
	}
}

TEST(codec, refuses_other_families_control_messages_and_unknown_numbers)
{
	EXPECT_TRUE(refuses(decode_event(message(PM_CREATED, created, family_id + 1), family_id), refusal::foreign));
	for (const std::uint16_t control : {NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN})
		EXPECT_TRUE(refuses(decode_event(message(PM_CREATED, created, control), family_id), refusal::foreign));
	for (const int number : {0, 4, 5, 8, 9, 12, 14, 17, int{PM_LOCAL_ADDED}, int{PM_RESYNC_END}, 255})
		EXPECT_TRUE(refuses(decode_event(message(static_cast<std::uint8_t>(number), created), family_id),
				    refusal::unknown_type))
			<< number;
}

TEST(codec, writes_no_event_that_has_no_form_on_the_wire)
{
	auto event = *decode_event(message(PM_CREATED, created), family_id);
	std::array<std::byte, max_message> out;
	const std::size_t length = encode_event(event, family_id, out);
	ASSERT_GT(length, 0u);
	for (std::size_t room = 0; room < length; ++room)
		EXPECT_EQ(encode_event(event, family_id, std::span(out).first(room)), 0u) << room;
	auto changed = [&](auto change) {
		auto copy = event;
		change(copy);
		return encode_event(copy, family_id, out);
	};
	EXPECT_EQ(changed([](pm_event &e) { e.type = PM_LOCAL_ADDED; }), 0u);
	EXPECT_EQ(changed([](pm_event &e) { e.type = PM_EVENT_NONE; }), 0u);
	EXPECT_EQ(changed([](pm_event &e) { e.token = 0; }), 0u);
	EXPECT_EQ(changed([](pm_event &e) { e.has_remote = 0; }), 0u);
}

TEST(codec, refuses_a_command_whose_address_is_incomplete)
{
	pm_command command{};
	command.type = PM_OPEN_SUBFLOW;
	command.token = 7;
	command.local = ipv4(10, 0, 0, 1);
	command.remote = ipv4(10, 0, 0, 2);
	std::vector<std::byte> out(max_message);
	out.resize(encode_command(command, family_id, 3, out));
	ASSERT_TRUE(decode_command(out, family_id));

	const attribute token{MPTCP_PM_ATTR_TOKEN, from_hex("07000000")};
	const attribute whole{MPTCP_PM_ATTR_ADDR, from_hex("0600010002000000080003000a000001")};
	auto refused = [&](const char *remote) {
		const auto got = decode_command(message(PM_OPEN_SUBFLOW,
							{token, whole, {MPTCP_PM_ATTR_ADDR_REMOTE, from_hex(remote)}}),
						family_id);
		return got ? std::string("decoded") : std::string(to_string(got.error()));
	};
	EXPECT_EQ(refused("0600010002000000080003000a000002"), "decoded");
	EXPECT_EQ(refused(""), "missing attribute");
	EXPECT_EQ(refused("080003000a000002"), "missing attribute");
	EXPECT_EQ(refused("0600010002000000"), "missing attribute");
	EXPECT_EQ(refused("060001000a000000080003000a000002"), "bad attribute");
	EXPECT_EQ(refused("0600010002000000080003000a00"), "truncated");
	EXPECT_FALSE(decode_command(message(PM_OPEN_SUBFLOW, {token, whole}), family_id));
	EXPECT_FALSE(decode_command(message(MPTCP_PM_CMD_FLUSH_ADDRS, {token, whole}), family_id));
}

struct local_address {
	std::uint8_t family;
	const char *address;
	std::uint8_t scope = RT_SCOPE_UNIVERSE;
	std::uint32_t flags = IFA_F_PERMANENT;
	const char *local = nullptr; // IFA_LOCAL, where IFA_ADDRESS is the peer's
};

tl::expected<pm_event, refusal> decoded(const local_address &from, std::uint16_t type = RTM_NEWADDR)
{
	std::array<std::byte, max_message> out;
	wire::message_writer to(out, type, 0, 0);
	ifaddrmsg about{};
	about.ifa_family = from.family;
	about.ifa_scope = from.scope;
	about.ifa_index = 5;
	to.append(&about, sizeof about);
	const auto address = from_hex(from.address), local = from_hex(from.local ? from.local : "");
	to.put(IFA_ADDRESS, address.data(), address.size());
	if (!local.empty())
		to.put(IFA_LOCAL, local.data(), local.size());
	to.put(IFA_FLAGS, from.flags);
	return decode_address(bytes(out).first(to.finish()));
}

TEST(codec, takes_addresses_that_a_path_can_start_from)
{
	const auto four = decoded({AF_INET, "0a000001"});
	ASSERT_TRUE(four);
	EXPECT_EQ(four->type, PM_LOCAL_ADDED);
	EXPECT_EQ(four->token, 0u);
	EXPECT_EQ(four->ifindex, 5u);
	EXPECT_TRUE(same(four->local, ipv4(10, 0, 0, 1)));
	const auto peer = decoded({AF_INET, "0a0000fe", RT_SCOPE_UNIVERSE, 0, "0a000001"});
	ASSERT_TRUE(peer);
	EXPECT_TRUE(same(peer->local, ipv4(10, 0, 0, 1))) << "IFA_ADDRESS is the peer's";
	const auto peer6 = decoded({AF_INET6, "20010db80000000000000000000000fe", RT_SCOPE_UNIVERSE, 0,
				    "20010db8000000000000000000000001"});
	ASSERT_TRUE(peer6);
	EXPECT_EQ(peer6->local.bytes[15], 1);
}

TEST(codec, leaves_out_addresses_that_no_path_starts_from)
{
	const local_address cases[] = {
		{AF_INET, "7f000001"},
		{AF_INET, "7f102030"},
		{AF_INET, "a9fe0102"},
		{AF_INET, "0a000001", RT_SCOPE_HOST},
		{AF_INET, "0a000001", RT_SCOPE_LINK},
		{AF_INET6, "00000000000000000000000000000001"},
		{AF_INET6, "fe800000000000000000000000000001"},
		{AF_INET6, "febf0000000000000000000000000001"},
		{AF_INET6, "20010db8000000000000000000000001", RT_SCOPE_UNIVERSE, IFA_F_TENTATIVE},
		{AF_INET6, "20010db8000000000000000000000001", RT_SCOPE_UNIVERSE, IFA_F_DEPRECATED},
		{AF_UNIX, "0a000001"},
	};
	for (const auto &each : cases)
		EXPECT_TRUE(refuses(decoded(each), refusal::foreign)) << each.address;
	EXPECT_TRUE(refuses(decoded({AF_INET, "0a000001"}, RTM_NEWROUTE), refusal::foreign));
	EXPECT_TRUE(refuses(decoded({AF_INET6, "0a000001"}), refusal::bad_attribute));
}

TEST(codec, tells_of_the_removal_of_a_deprecated_address)
{
	const auto event = decoded({AF_INET6, "20010db8000000000000000000000001", RT_SCOPE_UNIVERSE, IFA_F_DEPRECATED},
				   RTM_DELADDR);
	ASSERT_TRUE(event);
	EXPECT_EQ(event->type, PM_LOCAL_REMOVED);
}

TEST(codec, has_a_word_for_every_refusal)
{
	for (std::size_t why = 0; why < refusal_count; ++why)
		EXPECT_NE(to_string(static_cast<refusal>(why)), "unknown reason");
	EXPECT_EQ(to_string(static_cast<refusal>(refusal_count)), "unknown reason");
}

TEST(family, reads_the_description_that_it_writes)
{
	const auto description = encode_family(28, 9);
	const auto found = decode_family(description);
	ASSERT_TRUE(found) << to_string(found.error());
	EXPECT_EQ(found->id, 28);
	EXPECT_EQ(found->events_group, 9u);
	EXPECT_EQ(found->description, description);
	for (std::size_t length = 0; length < description.size(); ++length)
		EXPECT_FALSE(decode_family(bytes(description).first(length))) << length;
	auto other = description;
	other[24] = std::byte{'x'}; // in the family's name
	ASSERT_FALSE(decode_family(other));
	EXPECT_EQ(decode_family(other).error(), refusal::foreign);
	EXPECT_FALSE(decode_family(encode_family(GENL_ID_CTRL, 9)));
	EXPECT_FALSE(decode_family(encode_family(28, 0)));
}

} // namespace
