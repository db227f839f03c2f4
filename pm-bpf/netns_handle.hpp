// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A network namespace by a few bytes that another process can find it by, for as long as it lives, whether it has a name or
// not: a file handle of nsfs (Linux 6.18). Written down in the description of an attachment.
#pragma once

#include <optional>

#include "pm-bpf/attached.h"
#include "pm-netlink/netns.hpp"

namespace pm::bpf {

// Writes handle, cookie and inode down.
[[nodiscard]] expected<void> write_down(const netns &where, pm_attachment &to);
// None: it is gone.
[[nodiscard]] expected<std::optional<netns>> find_netns(const pm_attachment &of);
// Whether this is the one that was written down.
[[nodiscard]] bool is_netns_of(const pm_attachment &of, const pm_attachment &other) noexcept;

} // namespace pm::bpf
