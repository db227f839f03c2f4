// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Commands to the kernel's userspace path manager: queued, sent many at a time, every answer matched to its command.
//
// The kernel carries a command out inside the system call that sends it, so what takes time is the sending: a batch is
// bounded, and between batches the caller reads events. Decides nothing about a refusal; the engine does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <linux/netlink.h>
#include <sys/socket.h>

#include "pm-netlink/codec.hpp"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"

namespace pm::netlink {

// sent = accepted + sum of refused + unanswered, whenever one looks. A command that has no form on the wire counts as
// sent and refused with EINVAL, although no byte of it was sent.
struct command_counters {
	struct refusal_kind {
		std::uint64_t count = 0;
		std::string text; // the kernel's words (extended ack), the latest; empty if it gave none
	};
	std::uint64_t sent = 0;
	std::uint64_t accepted = 0;
	std::uint64_t unanswered = 0; // their answers were lost; carried out or not, nobody knows
	std::map<int, refusal_kind> refused; // by errno
};

struct command_answer {
	const pm_command &command;
	int error; // 0: carried out; otherwise an errno; ENOBUFS with an empty text: the answer was lost
	std::string_view text; // the kernel's explanation, or empty; good until the handler returns
};

// What the engine is told of a command that was not carried out.
[[nodiscard]] pm_event failure_of(const pm_command &command, int error = 0) noexcept;

class commander {
public:
	static constexpr std::size_t batch = 32;

	// In the calling thread's network namespace. The kernel refuses every command without CAP_NET_ADMIN there.
	[[nodiscard]] static expected<commander> open();

	void queue(const pm_command &command) { queue_.push_back(command); }
	[[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }
	[[nodiscard]] const command_counters &counters() const noexcept { return counters_; }

	// Sends up to a batch of what is queued with one system call and reads all the answers; calls
	// `handle(const command_answer &)` for each command sent, in order. Yields how many there were: 0 although some
	// are queued means that the kernel has no memory for them now, and they wait for a later call. After an error,
	// too, they are still queued. Waits for nothing, but the kernel carries the commands out meanwhile. Commands
	// that `handle` queues wait for the next call; `handle` does not throw and does not call exchange().
	template <class Handle>
	[[nodiscard]] expected<std::size_t> exchange(Handle &&handle);

private:
	static constexpr std::size_t slot_bytes = 7 *
						  64; // an answer has 36 bytes and a sentence; odd as in event_source
	static constexpr std::size_t longest_text = 160;
	static constexpr int outstanding = -1;

	struct reply {
		int error = outstanding; // or an errno, or 0
		std::size_t text_length = 0;
		std::array<char, longest_text> text;
	};

	// On the heap, because recvmmsg is given addresses inside it: a commander may move, this may not.
	struct buffers {
		std::array<std::byte, batch * max_message> out;
		std::array<reply, batch> replies; // by the command's place in the batch
		std::array<mmsghdr, batch> header{};
		std::array<iovec, batch> vector{};
		std::array<sockaddr_nl, batch> sender{};
		alignas(64) std::array<std::array<std::byte, slot_bytes>, batch> slot;

		buffers() noexcept;
		buffers(const buffers &) = delete;
		buffers &operator=(const buffers &) = delete;
	};

	nl_socket socket_;
	std::uint16_t family_;
	std::unique_ptr<buffers> buffers_ = std::make_unique<buffers>();
	// Of the next command. Wraps amid a first full batch, so that a mistake about wrapping shows at once.
	std::uint32_t seq_ = static_cast<std::uint32_t>(0 - batch / 2);
	std::deque<pm_command> queue_;
	command_counters counters_;

	commander(nl_socket socket, std::uint16_t family) noexcept : socket_(std::move(socket)), family_(family) {}

	[[nodiscard]] expected<void> set_up();
	[[nodiscard]] expected<std::size_t> send_batch(); // and reads the replies to it
	[[nodiscard]] expected<bool> send(std::size_t length); // false: not now
	void receive(std::size_t missing, std::uint32_t first, std::size_t count);
	[[nodiscard]] bool file_reply(std::size_t place, std::uint32_t first, std::size_t count);
	[[nodiscard]] command_answer account(std::size_t place); // of the first command in the queue
};

template <class Handle>
expected<std::size_t> commander::exchange(Handle &&handle)
{
	const auto sent = send_batch();
	if (!sent)
		return sent;
	for (std::size_t place = 0; place < *sent; ++place) {
		handle(account(place));
		queue_.pop_front(); // only now: the answer refers to it, wherever `handle` has put others behind it
	}
	return sent;
}

} // namespace pm::netlink
