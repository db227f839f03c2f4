// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// libFuzzer target for the settings: no text crashes the parser, what it takes is within bounds and says the same when it
// is written out and read again, and what it refuses is answered with one line that begins with the file's name. The
// first byte of the input chooses the policy.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <arpa/inet.h>

#include "pm-core/address.hpp"
#include "pm-netlink/settings_file.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;

void require(bool holds, const char *what)
{
	if (holds)
		return;
	std::fprintf(stderr, "settings_fuzz: %s\n", what);
	std::abort();
}

std::string prefix_text(const address_filter::prefix &prefix)
{
	char text[INET6_ADDRSTRLEN];
	const bool four = is_ipv4(prefix.address) && prefix.length >= 96;
	require(inet_ntop(four ? AF_INET : AF_INET6, prefix.address.bytes + (four ? 12 : 0), text, sizeof text),
		"an address without a text");
	return std::string(text) + "/" + std::to_string(prefix.length - (four ? 96 : 0));
}

std::string write_out(const manager_settings &settings, const policy_info &policy)
{
	std::string text;
	for (const std::string &each : settings.policy)
		text += std::string(policy.name) + "." + each + "\n";
	for (const std::string &each : settings.locals.interfaces)
		text += "interface = " + each + "\n";
	for (const auto &each : settings.locals.prefixes)
		text += "prefix = " + prefix_text(each) + "\n";
	return text + "buffer = " + std::to_string(settings.buffer_bytes) +
	       "\nconnections = " + std::to_string(settings.most_connections) +
	       "\naccept-replay = " + (settings.accept_replay ? "yes" : "no") + "\n";
}

void require_one_line(const std::string &text)
{
	require(!text.empty(), "an error without words");
	for (const char c : text)
		require(static_cast<unsigned char>(c) >= ' ' || c == '\t' || c == '\r',
			"an error of more than one line");
}

void check_file(std::string_view text, const policy_info &policy)
{
	const auto settings = parse_settings(text, "f", policy);
	if (!settings) {
		require_one_line(settings.error().text);
		require(settings.error().text.starts_with("f:"), "an error without the file's name");
		return;
	}
	require(settings->buffer_bytes >= 4096 && settings->buffer_bytes <= 268435456, "buffer out of bounds");
	require(settings->most_connections >= 1 && settings->most_connections <= 10'000'000,
		"connections out of bounds");
	require(settings->policy.size() <= policy.settings.size(), "a setting of the policy twice");
	require(make_settings(policy, settings->policy).has_value(), "a setting that the policy refuses");
	const std::string written = write_out(*settings, policy);
	const auto again = parse_settings(written, "f", policy);
	require(again && write_out(*again, policy) == written, "what is written out reads otherwise");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	if (size == 0)
		return 0;
	const policy_info &policy = all_policies()[data[0] % all_policies().size()];
	// A copy without a 0 byte at its end, so that a read beyond the end is one beyond the allocation.
	const std::vector<char> copy(data + 1, data + size);
	const std::string_view text(copy.data(), copy.size());
	check_file(text, policy);
	manager_settings settings;
	if (const auto assigned = assign_setting(settings, text, policy); !assigned)
		require_one_line(assigned.error().text);
	return 0;
}
