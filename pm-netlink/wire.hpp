// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Netlink messages as bytes, for the codec: what linux/mptcp.h may lack, a bounds-checked reader of attributes and a
// writer into memory that the caller has. libnl has both, but its reader wants aligned memory (a trace has none) and its
// writer allocates for each message. Knows no message of the path manager; see codec.cpp for those.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include <linux/genetlink.h>
#include <linux/mptcp.h>
#include <linux/netlink.h>

#include "pm-netlink/codec.hpp"

namespace pm::netlink::wire {

// MPTCP_PM_EV_FLAG_SERVER_SIDE: Linux 6.18 sends it beside MPTCP_ATTR_SERVER_SIDE, older kernels only the latter.
inline constexpr std::uint16_t event_flag_server_side = 1 << 1;

inline constexpr std::size_t align(std::size_t size) noexcept { return (size + 3) & ~std::size_t{3}; }

template <class T>
[[nodiscard]] inline T load(const std::byte *from) noexcept
{
	T value;
	std::memcpy(&value, from, sizeof value);
	return value;
}

// The length that the first message in `input` claims, if it is possible.
[[nodiscard]] inline std::optional<std::size_t> first_message(bytes input) noexcept
{
	if (input.size() < sizeof(nlmsghdr))
		return std::nullopt;
	const std::size_t length = load<nlmsghdr>(input.data()).nlmsg_len;
	if (length < sizeof(nlmsghdr) || length > input.size())
		return std::nullopt;
	return length;
}

// A generic netlink message, its headers taken off.
struct generic_message {
	std::uint32_t seq;
	std::uint8_t command;
	bytes attributes;
};

[[nodiscard]] inline tl::expected<generic_message, refusal> open_generic(bytes message, std::uint16_t family) noexcept
{
	const auto length = first_message(message);
	if (!length)
		return tl::unexpected(refusal::truncated);
	const auto header = load<nlmsghdr>(message.data());
	if (header.nlmsg_type != family)
		return tl::unexpected(refusal::foreign);
	if (*length < NLMSG_HDRLEN + GENL_HDRLEN)
		return tl::unexpected(refusal::truncated);
	return generic_message{header.nlmsg_seq, load<genlmsghdr>(message.data() + NLMSG_HDRLEN).cmd,
			       message.subspan(NLMSG_HDRLEN + GENL_HDRLEN, *length - NLMSG_HDRLEN - GENL_HDRLEN)};
}

// Walks attributes:  while (reader.next()) use(reader.type(), reader.payload());  if (!reader.ended()) it was truncated.
class attribute_reader {
public:
	explicit attribute_reader(bytes attributes) noexcept : rest_(attributes) {}

	bool next() noexcept
	{
		if (rest_.size() < sizeof(nlattr))
			return false;
		const auto header = load<nlattr>(rest_.data());
		if (header.nla_len < sizeof header || header.nla_len > rest_.size())
			return false;
		type_ = header.nla_type & NLA_TYPE_MASK;
		payload_ = rest_.subspan(sizeof header, header.nla_len - sizeof header);
		rest_ = rest_.subspan(std::min(align(header.nla_len), rest_.size()));
		return true;
	}
	[[nodiscard]] bool ended() const noexcept { return rest_.empty(); }
	[[nodiscard]] unsigned type() const noexcept { return type_; }
	[[nodiscard]] bytes payload() const noexcept { return payload_; }

private:
	bytes rest_, payload_;
	unsigned type_ = 0;
};

// Lengths that an attribute may have, for attribute_table.
inline constexpr std::uint8_t unknown = 0; // skipped, as netlink demands
inline constexpr std::uint8_t any_length = 0xff;

// The attributes numbered below N. Of several with one number the last counts, as in the kernel.
template <std::size_t N>
class attribute_table {
public:
	[[nodiscard]] std::optional<refusal> read(bytes attributes, const std::array<std::uint8_t, N> &lengths) noexcept
	{
		attribute_reader reader(attributes);
		while (reader.next()) {
			if (reader.type() >= N || lengths[reader.type()] == unknown)
				continue;
			if (lengths[reader.type()] != any_length && lengths[reader.type()] != reader.payload().size())
				return refusal::bad_attribute;
			present_ |= 1u << reader.type();
			payload_[reader.type()] = reader.payload();
		}
		if (!reader.ended())
			return refusal::truncated;
		return std::nullopt;
	}
	[[nodiscard]] bool has(unsigned type) const noexcept { return present_ >> type & 1; }
	[[nodiscard]] bool has_all(std::uint32_t types) const noexcept { return (present_ & types) == types; }
	[[nodiscard]] bytes payload(unsigned type) const noexcept { return payload_[type]; }

	// Its value; 0 if it is not there. The length was checked by read().
	template <class T>
	[[nodiscard]] T value(unsigned type) const noexcept
	{
		return has(type) ? load<T>(payload_[type].data()) : T{};
	}

private:
	static_assert(N <= 32);
	std::uint32_t present_ = 0;
	std::array<bytes, N> payload_{};
};

// Writes one message. What does not fit is remembered and told by finish().
class message_writer {
public:
	message_writer(std::span<std::byte> out, std::uint16_t type, std::uint16_t flags, std::uint32_t seq) noexcept
		: out_(out)
	{
		const nlmsghdr header{0, type, flags, seq, 0};
		append(&header, sizeof header);
	}
	void generic(std::uint8_t command, std::uint8_t version) noexcept
	{
		const genlmsghdr header{command, version, 0};
		append(&header, sizeof header);
	}
	void append(const void *data, std::size_t size) noexcept
	{
		if (size == 0)
			return;
		if (!fits_ || out_.size() - used_ < align(size)) {
			fits_ = false;
			return;
		}
		std::memcpy(out_.data() + used_, data, size);
		std::memset(out_.data() + used_ + size, 0, align(size) - size);
		used_ += align(size);
	}
	void put(unsigned type, const void *data, std::size_t size) noexcept
	{
		const auto length = static_cast<std::uint16_t>(sizeof(nlattr) + size);
		const nlattr header{length, static_cast<std::uint16_t>(type)};
		append(&header, sizeof header);
		append(data, size);
	}
	template <class T>
	void put(unsigned type, T value) noexcept
	{
		put(type, &value, sizeof value);
	}
	// Opens a nested attribute; yields what close_nest() wants.
	[[nodiscard]] std::size_t open_nest(unsigned type) noexcept
	{
		const std::size_t start = used_;
		put(type | NLA_F_NESTED, nullptr, 0);
		return start;
	}
	void close_nest(std::size_t start) noexcept
	{
		const auto length = static_cast<std::uint16_t>(used_ - start);
		if (fits_)
			std::memcpy(out_.data() + start, &length, sizeof length);
	}
	// The length of the message; 0 if it did not fit.
	[[nodiscard]] std::size_t finish() noexcept
	{
		const auto length = static_cast<std::uint32_t>(used_);
		if (!fits_)
			return 0;
		std::memcpy(out_.data(), &length, sizeof length);
		return used_;
	}

private:
	std::span<std::byte> out_;
	std::size_t used_ = 0;
	bool fits_ = true;
};

} // namespace pm::netlink::wire
