// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What is kept of the attachments under /sys/fs/bpf, read back, and mended where somebody was killed amid attaching.
#pragma once

#include <optional>
#include <string>

#include "pm-bpf/attachment.hpp"

namespace pm::bpf {

[[nodiscard]] expected<void> write_meta(int map, const pm_attachment &meta);

[[nodiscard]] expected<std::string> path_manager_of(const netns &where);

// Reads one, and tells which of its states it is in.
[[nodiscard]] expected<attached> look_at(const pin_folder &pins, const std::string &name);

// The one that is active in that namespace.
[[nodiscard]] std::optional<attached> attached_in(const pin_folder &pins, const pm_attachment &where);

// Whoever was killed amid attaching has left something that either is whole but for the last step, or nobody's.
void mend(const pin_folder &pins);

} // namespace pm::bpf
