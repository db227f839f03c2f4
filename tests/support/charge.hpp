// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A policy in charge of a scene's connections, by whatever means: the daemon over netlink, or the kernel itself with what
// `pathlab attach` put there. What holds for one holds for the other, so both go through the same tests.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tests/support/scene.hpp"

namespace pm::test {

enum class means { daemon, attachment };

// What who is in charge counts.
enum class happening { announcement, no_room_for_announcement, pair_exhausted, hold, retry, look };

class charge {
public:
	virtual ~charge() = default;
	[[nodiscard]] virtual std::uint64_t commands() const = 0; // sent to the kernel so far
	[[nodiscard]] virtual std::string troubles() const = 0; // what was lost or refused; empty: nothing
	[[nodiscard]] virtual std::uint64_t connections() const = 0; // that it manages
	[[nodiscard]] virtual std::optional<std::uint64_t>
	subflows() const = 0; // established; unless it keeps none in mind
	[[nodiscard]] virtual std::uint64_t times(happening what) const = 0;
	[[nodiscard]] virtual std::uint64_t
	memory_kib() const = 0; // of its process; in the kernel all that this cannot reclaim
	[[nodiscard]] virtual bool memory_is_told() const { return true; } // or else it has much that was freed in it
	virtual void look_again() = 0; // at all connections, as far as it can be made to
};

// In charge when this returns, at the client's end unless told otherwise.
[[nodiscard]] std::unique_ptr<charge> take_charge(scene &of, means by, const words &policy,
						  const netns *where = nullptr);

// As scene::expect_paths_to_stay().
void expect_paths_to_stay(scene &of, charge &in_charge, const paths &expected);

} // namespace pm::test
