// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/mib.hpp"

#include <sstream>

#include <fcntl.h>
#include <unistd.h>

namespace pm::netlink {

mib::mib(std::string counter)
	: counter_(std::move(counter)), file_(::open("/proc/thread-self/net/netstat", O_RDONLY | O_CLOEXEC))
{
}

// Two lines for each group of counters: their names, their values.
std::optional<std::uint64_t> mib::read() const
{
	std::string text(64 << 10, '\0');
	const ssize_t size = file_ ? ::pread(file_.get(), text.data(), text.size(), 0) : -1;
	if (size <= 0)
		return std::nullopt;
	text.resize(static_cast<std::size_t>(size));
	std::istringstream lines(text);
	for (std::string names, values; std::getline(lines, names) && std::getline(lines, values);) {
		std::istringstream name(names), value(values);
		std::string word, number;
		name >> word;
		value >> number;
		if (word != "MPTcpExt:")
			continue;
		while (name >> word && value >> number)
			if (word == counter_)
				return std::stoull(number);
	}
	return std::nullopt;
}

} // namespace pm::netlink
