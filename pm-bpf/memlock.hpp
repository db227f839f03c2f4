// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the kernel says a BPF map or program takes of its memory.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace pm::bpf {

// In bytes; nothing: it does not say.
[[nodiscard]] inline std::optional<std::uint64_t> memlock_bytes(int fd)
{
	std::ifstream info{fmt::format("/proc/self/fdinfo/{}", fd)};
	for (std::string name; info >> name;)
		if (std::uint64_t bytes = 0; name == "memlock:" && info >> bytes)
			return bytes;
	return std::nullopt;
}

} // namespace pm::bpf
