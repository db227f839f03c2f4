// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How userspace code says that something failed: one sentence for a person (what was asked, what failed, what to do).
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace pm {

struct error {
	std::string text;
	bool is_usage = false; // what was asked makes no sense, and will not the next time: a program exits 2
};

template <class T>
using expected = tl::expected<T, error>;

[[nodiscard]] inline tl::unexpected<error> fail(std::string text)
{
	return tl::unexpected<error>(error{std::move(text)});
}

[[nodiscard]] inline tl::unexpected<error> fail_usage(std::string text)
{
	return tl::unexpected<error>(error{std::move(text), true});
}

// "TEXT: what errno means"
[[nodiscard]] tl::unexpected<error> fail_errno(std::string text);

} // namespace pm
