// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// When the state may be read back, and how far that has got. While it is being read, nothing is decided: events are put
// by, in order, and handled after what was read has been adopted: each is about a change that the kernel's list shows, or
// does not show yet.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "pm-core/types.h"

namespace pm::netlink {

class resync_state {
public:
	enum class step { idle, settling, reading };
	// settling: what was decided before is sent, so that the kernel's list shows it

	static constexpr std::size_t most_put_by = std::size_t{1} << 18;
	static constexpr std::uint64_t shortest_pause = 100'000'000, patience = 10'000'000'000; // nanoseconds
	static constexpr unsigned longest_pause_log2 = 9; // after failures, in shortest pauses: 51 seconds

	[[nodiscard]] step at() const noexcept { return at_; }
	void ask() noexcept
	{
		postponed_ += wanted_ || at_ != step::idle;
		wanted_ = true;
	}
	// By somebody who may know better than to wait as long as after a failure.
	void ask_without_more_patience() noexcept
	{
		failures_ = 0;
		not_before_ = std::min(not_before_, not_before_usually_);
		ask();
	}
	[[nodiscard]] std::optional<std::uint64_t> due() const noexcept
	{
		return wanted_ && at_ == step::idle ? std::optional{not_before_} : std::nullopt;
	}
	void begin(std::uint64_t now) noexcept
	{
		at_ = step::settling;
		wanted_ = false;
		begun_ = now;
	}
	void read(std::uint64_t now) noexcept
	{
		at_ = step::reading;
		reading_since_ = now;
	}
	// An answer of the kernel's that got lost is told by nobody.
	[[nodiscard]] std::optional<std::uint64_t> patience_ends() const noexcept
	{
		return at_ == step::reading ? std::optional{reading_since_ + patience} : std::nullopt;
	}
	[[nodiscard]] bool put_by(const pm_event &event)
	{
		if (events_.size() >= most_put_by)
			return false;
		events_.push_back(event);
		return true;
	}
	// Yields what was put by.
	[[nodiscard]] std::vector<pm_event> end(std::uint64_t now) noexcept
	{
		failures_ = 0;
		took_ = now - begun_;
		return rest(now, shortest_pause);
	}
	// What has failed is not likely to work the next moment.
	[[nodiscard]] std::vector<pm_event> fail(std::uint64_t now) noexcept
	{
		const std::uint64_t pause = shortest_pause << failures_;
		failures_ = std::min(failures_ + 1, longest_pause_log2);
		return rest(now, pause);
	}
	[[nodiscard]] std::uint64_t took() const noexcept { return took_; }
	[[nodiscard]] std::uint64_t postponed() const noexcept { return postponed_; }

private:
	std::vector<pm_event> rest(std::uint64_t now, std::uint64_t shortest) noexcept
	{
		// Under an overload that lasts, four fifths of the time are left for events.
		const std::uint64_t reading = at_ == step::reading ? now - reading_since_ : 0;
		at_ = step::idle;
		not_before_ = now + std::max(shortest, 4 * reading);
		not_before_usually_ = now + std::max(shortest_pause, 4 * reading);
		return std::exchange(events_, {});
	}

	step at_ = step::idle;
	bool wanted_ = false;
	unsigned failures_ = 0; // one after the other
	std::uint64_t begun_ = 0, reading_since_ = 0, not_before_ = 0, not_before_usually_ = 0;
	std::uint64_t took_ = 0, postponed_ = 0;
	std::vector<pm_event> events_;
};

} // namespace pm::netlink
