// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// libFuzzer target for every decoder of the codec: no input crashes one, and what one takes is written in a form that it
// takes as the same. The first byte of the input says whether its header is put right, so that the fuzzer reaches the
// attributes without having to guess a length and a family.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <linux/genetlink.h>
#include <linux/rtnetlink.h>

#include "pm-netlink/announced_list.hpp"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/family.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

constexpr std::uint16_t family_id = 0x1c;

void require(bool holds, const char *what)
{
	if (holds)
		return;
	std::fprintf(stderr, "decode_fuzz: %s\n", what);
	std::abort();
}

template <class T>
void require_same(const T &a, const tl::expected<T, refusal> &b, const char *what)
{
	require(b.has_value() && std::memcmp(&a, &*b, sizeof(T)) == 0, what);
}

void put_header_right(std::vector<std::byte> &message, unsigned choice)
{
	constexpr std::array<std::uint16_t, 4> types = {family_id, GENL_ID_CTRL, RTM_NEWADDR, RTM_DELADDR};
	message.resize(std::max<std::size_t>(message.size(), 20));
	const auto length = static_cast<std::uint32_t>(message.size());
	const std::uint16_t type = types[choice % types.size()];
	std::memcpy(message.data(), &length, sizeof length);
	std::memcpy(message.data() + 4, &type, sizeof type);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	if (size == 0)
		return 0;
	const auto input = std::as_bytes(std::span(data + 1, size - 1));
	std::vector<std::byte> message(input.begin(), input.end());
	if (data[0] & 1)
		put_header_right(message, data[0] >> 1);
	message.shrink_to_fit(); // so that a read beyond the end is one beyond the allocation

	std::array<std::byte, max_message> out;
	const bytes written(out);
	if (const auto event = decode_event(message, family_id))
		require_same(*event, decode_event(written.first(encode_event(*event, family_id, out)), family_id),
			     "event");
	if (const auto command = decode_command(message, family_id))
		require_same(*command,
			     decode_command(written.first(encode_command(*command, family_id, 1, out)), family_id),
			     "command");
	if (const auto address = decode_address(message))
		require_same(*address, decode_address(written.first(encode_address(*address, out))), "address");
	(void)decode_announcement(message, family_id); // is never written here
	if (const auto family = decode_family(message)) {
		const auto again = decode_family(encode_family(family->id, family->events_group));
		require(again && again->id == family->id && again->events_group == family->events_group, "family");
		require(decode_family(family->description).has_value(), "description");
	}
	return 0;
}
