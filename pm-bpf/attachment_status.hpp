// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What attached policies do, in the three forms that pm-netlink/status.hpp has for pm-netlinkd.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "pm-bpf/attachment.hpp"

namespace pm::bpf {

[[nodiscard]] nlohmann::json to_json(const std::vector<attached> &all); // an array
[[nodiscard]] std::string to_text(const nlohmann::json &attachments); // of to_json()
[[nodiscard]] std::string to_openmetrics(const nlohmann::json &attachments); // without the final # EOF

} // namespace pm::bpf
