// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Reads path-manager events from the kernel's multicast group, in batches until the socket is empty, and knows exactly
// how many it has lost: by the socket's drop counter, not by ENOBUFS, which the kernel reports once for any number.
//
// The socket is read by recvmmsg, not through libnl, which makes one system call and one allocation per message.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include <linux/netlink.h>
#include <sys/socket.h>

#include "pm-netlink/event_channel.hpp"
#include "pm-netlink/family.hpp"

namespace pm::netlink {

// The kernel counts a socket's drops in 32 bits, which wrap; what was added since the last look is exact as long as it is
// less than 2^32.
class drop_counter {
public:
	explicit drop_counter(std::uint32_t now = 0) noexcept : seen_(now) {}
	[[nodiscard]] std::uint32_t added(std::uint32_t now) noexcept { return now - std::exchange(seen_, now); }

private:
	std::uint32_t seen_;
};

class event_source {
public:
	struct options {
		// As SO_RCVBUFFORCE takes it; the kernel grants twice as much, and charges about 830 bytes for an event.
		std::uint32_t buffer_bytes = 8u << 20;
		bool accept_replay = false; // also take messages whose sender is not the kernel
	};

	// In the calling thread's network namespace. Without CAP_NET_ADMIN, a larger buffer than net.core.rmem_max is not
	// granted; counters().buffer_bytes tells.
	[[nodiscard]] static expected<event_source> open(const options &options);
	event_source(event_source &&) noexcept = default;
	event_source &operator=(event_source &&) noexcept = default;
	~event_source() = default;

	[[nodiscard]] int fd() const noexcept { return reader_->fd; } // to poll for reading
	[[nodiscard]] const netlink::family &family() const noexcept { return family_; }

	// Reads until the socket is empty or `most` datagrams were read, and calls `handle(const pm_event &)` for each event.
	// Yields how many datagrams were read. Never blocks. `handle` does not throw and does not call drain().
	template <class Handle>
	[[nodiscard]] expected<std::size_t> drain(Handle &&handle, std::size_t most = SIZE_MAX);

	// Brings `lost` and `buffer_used` up to date and yields all counters.
	[[nodiscard]] const event_counters &counters();

private:
	static constexpr std::size_t batch = 64;
	// Twice the longest event of today's kernels. An odd number of cache lines, so that the slots' first lines do not
	// compete for the same few cache sets.
	static constexpr std::size_t slot_bytes = 5 * 64;

	// On the heap, because recvmmsg is given addresses inside it: an event_source may move, this may not.
	struct reader {
		int fd = -1;
		std::array<mmsghdr, batch> header{};
		std::array<iovec, batch> vector{};
		std::array<sockaddr_nl, batch> sender{};
		alignas(64) std::array<std::array<std::byte, slot_bytes>, batch> slot;

		explicit reader(int socket) noexcept;
		reader(const reader &) = delete;
		reader &operator=(const reader &) = delete;
		~reader();
	};

	std::unique_ptr<reader> reader_;
	netlink::family family_;
	bool accept_replay_;
	drop_counter drops_;
	event_counters counters_;

	event_source(std::unique_ptr<reader> open_socket, netlink::family family, bool accept_replay);

	[[nodiscard]] expected<void> set_up(std::uint32_t buffer_bytes);
	[[nodiscard]] expected<std::size_t>
	receive(std::size_t most); // one batch; fewer than asked: the socket is empty
	[[nodiscard]] bytes sift(std::size_t place) noexcept; // a datagram to decode; empty if counted as refused
	[[nodiscard]] static bytes after_first_message(bytes datagram) noexcept;
	void count(refusal why) noexcept { ++counters_.refused[static_cast<std::size_t>(why)]; }
};

template <class Handle>
expected<std::size_t> event_source::drain(Handle &&handle, std::size_t most)
{
	std::size_t read = 0;
	while (read < most) {
		const std::size_t asked = std::min(most - read, batch);
		const auto received = receive(asked);
		if (!received)
			return tl::unexpected(received.error());
		for (std::size_t place = 0; place < *received; ++place) {
			for (bytes rest = sift(place); !rest.empty(); rest = after_first_message(rest)) {
				const auto event = decode_event(rest, family_.id);
				if (event) {
					++counters_.delivered;
					handle(*event);
					continue;
				}
				count(event.error());
				if (event.error() == refusal::truncated)
					break; // where the next message would begin is anyone's guess
			}
		}
		read += *received;
		if (*received < asked)
			break;
	}
	return read;
}

// The source as one of several channels.
class netlink_channel final : public event_channel {
public:
	explicit netlink_channel(event_source source) noexcept : source_(std::move(source)) {}

	[[nodiscard]] int fd() const noexcept override { return source_.fd(); }
	[[nodiscard]] expected<std::size_t> read(const handler &handle, std::size_t most) override
	{
		return source_.drain(handle, most);
	}
	[[nodiscard]] const event_counters &counters() override { return source_.counters(); }
	[[nodiscard]] std::size_t smallest_charge() const noexcept override { return 512; }

private:
	event_source source_;
};

} // namespace pm::netlink
