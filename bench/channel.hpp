// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The real multicast group with something to send and somebody to listen: prepared events, a trace in a file without a
// name, and consumers that read on a processor of their own. All in the network namespace of the calling thread.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pm-netlink/error.hpp"
#include "pm-netlink/netns.hpp"
#include "replay/group_sender.hpp"

namespace pm::bench {

inline constexpr std::uint32_t socket_buffer = 8u << 20;

// Whole lives of short connections, ready to be sent again and again, and the namespace's addresses that go with them.
struct prepared_events {
	std::vector<replay::due_event> events;
	std::vector<pm_event> addresses;

	[[nodiscard]] static expected<prepared_events> generate();
	// Sends `count` of them, or a few more. Yields how many.
	[[nodiscard]] expected<std::uint64_t> send(replay::group_sender &through, std::uint64_t count);
};

// A generated trace of short connections. Its file has lost its name already, so nothing can be left behind.
class unnamed_trace {
public:
	[[nodiscard]] static expected<unnamed_trace> generate(std::uint64_t events); // a few more
	[[nodiscard]] std::string path() const; // good in this process and in those that it starts
	[[nodiscard]] std::uint64_t events() const noexcept { return events_; }

private:
	unnamed_trace(descriptor file, std::uint64_t events) : file_(std::move(file)), events_(events) {}
	descriptor file_;
	std::uint64_t events_;
};

struct heard {
	std::uint64_t delivered = 0, lost = 0;
	std::uint64_t cpu_ns = 0; // of the thread that read
};

// Who reads. One that listens has joined the group.
class consumer {
public:
	virtual ~consumer() = default;
	[[nodiscard]] virtual int fd() const noexcept = 0;
	[[nodiscard]] virtual expected<void> drain() = 0; // until the socket is empty
	[[nodiscard]] virtual heard count() = 0;          // without the CPU time
};
[[nodiscard]] expected<std::unique_ptr<consumer>> bare_consumer();   // recvmmsg, and nothing else
[[nodiscard]] expected<std::unique_ptr<consumer>> reading_consumer(); // event_source: checked and decoded
[[nodiscard]] expected<std::unique_ptr<consumer>>
deciding_consumer(const std::vector<pm_event> &addresses); // and fullmesh

// A consumer at work: polls and drains on a thread on the receiving processor until it is told to stop.
class listener {
public:
	explicit listener(std::unique_ptr<consumer> who);
	listener(const listener &) = delete;
	~listener();
	// Reads what is still queued, and ends. Fails if `sent` is not what was delivered and lost.
	[[nodiscard]] expected<heard> stop(std::uint64_t sent);

private:
	void run();
	void join();

	std::unique_ptr<consumer> who_;
	descriptor stop_;
	expected<void> went_;
	std::uint64_t cpu_ns_ = 0;
	std::thread thread_;
};

} // namespace pm::bench
