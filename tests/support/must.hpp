// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#pragma once

#include <stdexcept>
#include <type_traits>
#include <utility>

#include "pm-netlink/error.hpp"

namespace pm::test {

// What a test cannot go on without; GoogleTest reports the exception.
template <class T>
T must(expected<T> value)
{
	if (!value)
		throw std::runtime_error(value.error().text);
	if constexpr (!std::is_void_v<T>)
		return std::move(*value);
}

} // namespace pm::test
