// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A file that is there whole or not at all, whenever whoever writes it is killed or the disk fills up.
#pragma once

#include <string>

#include "pm-netlink/error.hpp"

namespace pm::replay {

// Writes PATH.part and renames it. On failure nothing is left of it, and what PATH was before is still there.
[[nodiscard]] expected<void> write_whole(const std::string &path, const std::string &text);

} // namespace pm::replay
