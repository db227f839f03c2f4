// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Settings as text, line by line: each assignment is looked up by its name and checked at once, so that an error can say
// where it is. Values of the policy's settings are checked by make_settings() and kept as text.
#include "pm-netlink/settings_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>

#include <fmt/format.h>

namespace pm::netlink {
namespace {

constexpr std::size_t longest_line = 1024;
constexpr std::size_t longest_file = 1u << 20;

std::string_view trimmed(std::string_view text) noexcept
{
	constexpr std::string_view blank = " \t\r";
	const auto first = text.find_first_not_of(blank);
	return first == text.npos ? std::string_view{} : text.substr(first, text.find_last_not_of(blank) - first + 1);
}

// A byte that no text has.
std::optional<unsigned> control_byte(std::string_view line) noexcept
{
	for (const char c : line)
		if (const auto byte = static_cast<unsigned char>(c);
		    (byte < ' ' && c != '\t' && c != '\r') || byte == 0x7f)
			return byte;
	return std::nullopt;
}

expected<std::uint64_t> read_number(std::string_view name, std::string_view value, std::uint64_t least,
				    std::uint64_t most)
{
	std::uint64_t number = 0;
	const auto [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), number);
	if (wrong != std::errc{} || end != value.data() + value.size() || number < least || number > most)
		return fail_usage(fmt::format("{} takes a number from {} to {}, not '{}'", name, least, most, value));
	return number;
}

expected<void> set_accept_replay(manager_settings &settings, std::string_view value)
{
	if (value != "yes" && value != "no")
		return fail_usage(fmt::format("accept-replay takes yes or no, not '{}'", value));
	settings.accept_replay = value == "yes";
	return {};
}

expected<void> set_buffer(manager_settings &settings, std::string_view value)
{
	return read_number("buffer", value, 4096, 268435456).map([&](std::uint64_t bytes) {
		settings.buffer_bytes = static_cast<std::uint32_t>(bytes);
	});
}

expected<void> set_connections(manager_settings &settings, std::string_view value)
{
	return read_number("connections", value, 1, 10'000'000).map([&](std::uint64_t most) {
		settings.most_connections = most;
	});
}

expected<void> add_interface(manager_settings &settings, std::string_view value)
{
	if (value.empty() || value.find_first_of(" \t\r,/") != value.npos)
		return fail_usage(fmt::format(
			"interface takes one name or pattern, as eth0 or wlan*, not '{}'; give each its own "
			"assignment",
			value));
	settings.locals.interfaces.emplace_back(value);
	return {};
}

expected<void> add_prefix(manager_settings &settings, std::string_view value)
{
	return parse_prefix(std::string(value)).map([&](const address_filter::prefix &prefix) {
		settings.locals.prefixes.push_back(prefix);
	});
}

struct known_setting {
	std::string_view name;
	expected<void> (*assign)(manager_settings &, std::string_view);
};
constexpr std::array<known_setting, 5> known = {{
	{"accept-replay", set_accept_replay},
	{"buffer", set_buffer},
	{"connections", set_connections},
	{"interface", add_interface},
	{"prefix", add_prefix},
}};

bool is_known(std::string_view name) noexcept
{
	return std::any_of(known.begin(), known.end(), [=](const known_setting &each) { return each.name == name; });
}

bool has_setting(const policy_info &policy, std::string_view name) noexcept
{
	return std::any_of(policy.settings.begin(), policy.settings.end(),
			   [=](const setting &each) { return each.name == name; });
}

// All names that can be set; those of the policy as they are to be written.
std::string names(const policy_info &policy)
{
	std::string all;
	for (const known_setting &each : known)
		all += fmt::format("{}{}", all.empty() ? "" : ", ", each.name);
	for (const setting &each : policy.settings)
		all += is_known(each.name) ? fmt::format(", {}.{}", policy.name, each.name)
					   : fmt::format(", {}", each.name);
	return all;
}

expected<void> set_of_policy(manager_settings &settings, std::string_view name, std::string_view value,
			     const policy_info &policy)
{
	std::vector<std::string> assignment = {fmt::format("{}={}", name, value)};
	if (const auto made = make_settings(policy, assignment); !made)
		return tl::unexpected(made.error());
	const auto earlier = std::find_if(settings.policy.begin(), settings.policy.end(), [=](const std::string &each) {
		return std::string_view(each).substr(0, each.find('=')) == name;
	});
	if (earlier != settings.policy.end())
		*earlier = std::move(assignment[0]);
	else
		settings.policy.push_back(std::move(assignment[0]));
	return {};
}

expected<void> assign(manager_settings &settings, std::string_view name, std::string_view value,
		      const policy_info &policy)
{
	for (const known_setting &each : known)
		if (each.name == name)
			return each.assign(settings, value);
	if (has_setting(policy, name))
		return set_of_policy(settings, name, value, policy);
	// A policy's setting that is named as one of ours has the policy's name before its own.
	const auto dot = name.find('.');
	if (dot != name.npos && name.substr(0, dot) == policy.name && has_setting(policy, name.substr(dot + 1)))
		return set_of_policy(settings, name.substr(dot + 1), value, policy);
	return fail_usage(fmt::format("there is no setting '{}'; with policy {} these exist: {}", name, policy.name,
				      names(policy)));
}

// A line without its end.
expected<void> read_line(manager_settings &settings, std::string_view line, const policy_info &policy)
{
	if (line.size() > longest_line)
		return fail_usage(fmt::format(
			"the line has {} bytes, and no setting needs more than {}; is this a settings file?",
			line.size(), longest_line));
	if (const auto byte = control_byte(line))
		return fail_usage(
			fmt::format("the line has a byte of value {}, which no text has; is this a settings file?",
				    *byte));
	line = trimmed(line.substr(0, line.find('#')));
	if (line.empty())
		return {};
	const auto equals = line.find('=');
	if (equals == line.npos || equals == 0)
		return fail_usage(fmt::format("'{}' is not of the form NAME = VALUE", line));
	return assign(settings, trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)), policy);
}

struct file_closer {
	void operator()(FILE *file) const noexcept { std::fclose(file); }
};

// Whoever named the file, or put it there, is to look at it: the next time is no better.
tl::unexpected<error> cannot(const char *what, const std::string &path)
{
	return fail_usage(fail_errno(fmt::format("cannot {} the settings file {}", what, path)).value().text);
}

} // namespace

expected<manager_settings> parse_settings(std::string_view text, std::string_view name, const policy_info &policy)
{
	manager_settings settings;
	for (std::size_t number = 1; !text.empty(); ++number) {
		const auto end = std::min(text.find('\n'), text.size());
		if (const auto read = read_line(settings, text.substr(0, end), policy); !read)
			return tl::unexpected<error>(
				{fmt::format("{}:{}: {}", name, number, read.error().text), read.error().is_usage});
		text.remove_prefix(std::min(end + 1, text.size()));
	}
	return settings;
}

expected<manager_settings> read_settings_file(const std::string &path, const policy_info &policy)
{
	const std::unique_ptr<FILE, file_closer> file(std::fopen(path.c_str(), "re"));
	if (!file)
		return cannot("open", path);
	std::string text(longest_file + 1, '\0');
	text.resize(std::fread(text.data(), 1, text.size(), file.get()));
	if (std::ferror(file.get()))
		return cannot("read", path);
	if (text.size() > longest_file)
		return fail_usage(
			fmt::format("{} has more than {} bytes, and no settings need that many; is it a settings file?",
				    path, longest_file));
	return parse_settings(text, path, policy);
}

expected<void> assign_setting(manager_settings &settings, std::string_view assignment, const policy_info &policy)
{
	if (assignment.size() > longest_line || control_byte(assignment))
		return fail_usage("an assignment NAME=VALUE is too long, or has a byte that no text has");
	const auto equals = assignment.find('=');
	const auto name = trimmed(assignment.substr(0, std::min(equals, assignment.size())));
	if (equals == assignment.npos || name.empty())
		return fail_usage(fmt::format("'{}' is not of the form NAME=VALUE", assignment));
	return assign(settings, name, trimmed(assignment.substr(equals + 1)), policy);
}

} // namespace pm::netlink
