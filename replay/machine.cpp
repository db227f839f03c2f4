// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/machine.hpp"

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

namespace pm::replay {

namespace {

// The value of the first line "KEY : VALUE" of a file; empty if there is none.
std::string value_in(const char *path, std::string_view key)
{
	std::ifstream file{path};
	for (std::string line; std::getline(file, line);) {
		if (line.compare(0, key.size(), key) != 0)
			continue;
		const auto colon = line.find(':');
		const auto begin = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
		return begin == std::string::npos ? "" : line.substr(begin);
	}
	return {};
}

nlohmann::json first_line_of(const char *command)
{
	std::FILE *pipe = popen(command, "re");
	if (!pipe)
		return nullptr;
	char line[128] = {};
	const bool read = std::fgets(line, sizeof line, pipe) != nullptr;
	pclose(pipe);
	std::string text{line};
	while (!text.empty() && text.back() == '\n')
		text.pop_back();
	return read ? nlohmann::json(text) : nlohmann::json(nullptr);
}

// Of measuring, not of the program: raised when what is measured, or how, changes so that figures from before do not compare.
constexpr int method = 5;

} // namespace

const char *this_place()
{
	utsname system{};
	uname(&system);
	return std::string_view(system.nodename) == "pathlab-vm" ? "vm" : "host";
}

nlohmann::json describe_machine()
{
	utsname system{};
	uname(&system);
	cpu_set_t allowed;
	CPU_ZERO(&allowed);
	sched_getaffinity(0, sizeof allowed, &allowed);
	return {{"processor", value_in("/proc/cpuinfo", "model name")},
		{"processors", CPU_COUNT(&allowed)},
		{"memory", value_in("/proc/meminfo", "MemTotal")},
		{"architecture", system.machine},
		{"kernel", fmt::format("{} {} {}", system.sysname, system.release, system.version)}};
}

nlohmann::json describe_versions()
{
	return {{"pathlab", PACKAGE_VERSION},
		{"method", method},
		{"compiler", __VERSION__},
		{"libbpf", libbpf_version_string()},
		{"mptcpd", first_line_of("/usr/libexec/mptcpd --version 2>/dev/null")}};
}

} // namespace pm::replay
