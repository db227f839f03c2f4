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

	[[nodiscard]] step at() const noexcept { return at_; }
	void ask() noexcept
	{
		postponed_ += wanted_ || at_ != step::idle;
		wanted_ = true;
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
	void read() noexcept { at_ = step::reading; }
	// An answer of the kernel's that got lost is told by nobody.
	[[nodiscard]] std::optional<std::uint64_t> patience_ends() const noexcept
	{
		return at_ == step::reading ? std::optional{begun_ + patience} : std::nullopt;
	}
	[[nodiscard]] bool put_by(const pm_event &event)
	{
		if (events_.size() >= most_put_by)
			return false;
		events_.push_back(event);
		return true;
	}
	[[nodiscard]] std::vector<pm_event> end(std::uint64_t now) noexcept
	{
		at_ = step::idle;
		took_ = now - begun_;
		// Under an overload that lasts, four fifths of the time are left for events.
		not_before_ = now + std::max(shortest_pause, 4 * took_);
		return std::exchange(events_, {});
	}
	[[nodiscard]] std::uint64_t took() const noexcept { return took_; }
	[[nodiscard]] std::uint64_t postponed() const noexcept { return postponed_; }

private:
	step at_ = step::idle;
	bool wanted_ = false;
	std::uint64_t begun_ = 0, not_before_ = 0, took_ = 0, postponed_ = 0;
	std::vector<pm_event> events_;
};

} // namespace pm::netlink
