// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The two ends of the load generator: one thread for all clients, one for all servers, each with its epoll. The first
// bytes of a connection are its number, so that what the server's socket knows is filed with what the client's knows.
// For load.cpp only.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "replay/load.hpp"

namespace pm::replay::load_ends {

using clock = std::chrono::steady_clock;
using number = std::uint64_t; // of a connection, counted from 0; what it sends

[[nodiscard]] expected<descriptor> make_epoll();
[[nodiscard]] bool watch(int epoll, int fd, std::uint32_t events, std::uint64_t data);

class echo_server {
public:
	struct account {
		std::uint32_t token = 0;
		std::uint8_t announced = 0;
	};

	[[nodiscard]] static expected<echo_server> listen(number connections, std::size_t most_open);
	void serve(); // until told to finish and all is closed, or the patience is over
	void finish(clock::time_point until); // from another thread
	std::vector<account> accounts; // by connection
	[[nodiscard]] const std::atomic<std::size_t> &open() const noexcept { return *count_; } // from any thread

private:
	void accept_all();
	void answer(int fd);
	descriptor listener_, epoll_, stop_;
	std::vector<descriptor> open_; // by fd
	std::vector<number> number_of_; // by fd
	std::unique_ptr<std::atomic<std::size_t>> count_ = std::make_unique<std::atomic<std::size_t>>(0);
	clock::time_point until_{};
};

class client_side {
public:
	// Counts into `report`, but for its connections.
	client_side(const load_options &options, load_schedule schedule, const std::atomic<std::size_t> &served,
		    load_report &report)
		: options_(options), schedule_(std::move(schedule)), served_(served), report_(report),
		  slots_(schedule_.connections()), patience_(std::chrono::milliseconds(options.patience_ms)),
		  hold_(std::chrono::milliseconds(options.hold_ms))
	{
	}
	[[nodiscard]] expected<void> run(std::size_t most_open); // until each is closed or has failed
	// In the order in which they were opened. What only the server knows is left open.
	[[nodiscard]] std::vector<std::pair<number, made_connection>> &made();

private:
	enum class stage : std::uint8_t { waiting, connecting, asking, holding, over };
	struct slot {
		descriptor fd;
		stage at = stage::waiting;
		clock::time_point opened{};
	};

	[[nodiscard]] clock::time_point due(number i) const { return start_ + schedule_.due(i); }
	[[nodiscard]] bool ipv6(number i) const { return options_.ipv6 && (!options_.ipv4 || i % 2 == 1); }
	[[nodiscard]] bool waits_for_server() const;
	void open_due(clock::time_point now);
	void open(number i, clock::time_point now);
	void proceed(number i, std::uint32_t events);
	void ask(number i);
	void hear(number i);
	void close_held(clock::time_point now);
	void give_up(clock::time_point now);
	void close(number i);
	void failed(number i, const std::string &why);
	void over(number i);
	[[nodiscard]] clock::time_point next_deadline() const;

	const load_options &options_;
	const load_schedule schedule_;
	const std::atomic<std::size_t> &served_; // connections that the server has open
	load_report &report_;
	std::vector<std::pair<number, made_connection>> made_;
	std::vector<slot> slots_;
	clock::duration patience_, hold_;
	clock::time_point start_{};
	descriptor epoll_;
	std::deque<std::pair<clock::time_point, number>> held_; // in order of time, for all are held equally long
	number opened_ = 0, oldest_ = 0, done_ = 0; // oldest_: none before it still waits for an answer
	std::size_t most_open_ = 0, open_count_ = 0;
};

} // namespace pm::replay::load_ends
