// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/policies.hpp"

#include <charconv>
#include <iterator>
#include <vector>

#include <net/if.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pm-core/engine.hpp"
#include "pm-core/policies/all.hpp"

namespace pm {

namespace {

template <policy P>
constexpr policy_info describe()
{
	static_assert(std::size(std::span{std::begin(P::settings), std::end(P::settings)}) <= PM_MAX_SETTINGS);
	return {P::name, P::help, {std::begin(P::settings), std::end(P::settings)}, &handle<P>};
}

constexpr policy_info table[] = {
#define PM_POLICY(name) describe<policies::name>(),
#include "pm-core/policies/policies.def"
};

template <class Range>
std::string names(const Range &range)
{
	std::vector<std::string_view> all;
	for (const auto &entry : range)
		all.push_back(entry.name);
	return fmt::format("{}", fmt::join(all, ", "));
}

} // namespace

std::span<const policy_info> all_policies() noexcept { return table; }

const policy_info &guard_policy() noexcept
{
	static constexpr policy_info
		guard{"guard",
		      "refuse joins and announced addresses outside given prefixes, and joins above a number",
		      {},
		      nullptr};
	return guard;
}

expected<const policy_info *> find_policy(std::string_view name)
{
	for (const policy_info &policy : table)
		if (policy.name == name)
			return &policy;
	if (name == guard_policy().name)
		return fail_usage(
			"policy guard refuses before anything has come about, which only a policy in the kernel "
			"can: `pathlab attach guard`");
	return fail_usage(fmt::format("there is no policy '{}'; these exist: {}", name, names(all_policies())));
}

expected<pm_settings> make_settings(const policy_info &policy, std::span<const std::string> assignments)
{
	pm_settings settings{};
	for (std::size_t i = 0; i < policy.settings.size(); ++i)
		settings.value[i] = policy.settings[i].preset;
	for (const std::string &assignment : assignments) {
		const auto equals = assignment.find('=');
		if (equals == std::string::npos)
			return fail_usage(fmt::format("setting '{}' is not of the form NAME=VALUE", assignment));
		const std::string_view name = std::string_view{assignment}.substr(0, equals);
		const std::string_view text = std::string_view{assignment}.substr(equals + 1);
		std::size_t place = 0;
		while (place < policy.settings.size() && policy.settings[place].name != name)
			++place;
		if (place == policy.settings.size())
			return fail_usage(policy.settings.empty()
						  ? fmt::format("policy {} has no settings, so none called '{}'",
								policy.name, name)
						  : fmt::format("policy {} has no setting '{}'; it has: {}",
								policy.name, name, names(policy.settings)));
		const setting &known = policy.settings[place];
		u32 value = 0;
		if (known.is_interface && (value = if_nametoindex(std::string{text}.c_str())) != 0) {
			settings.value[place] = value;
			continue;
		}
		const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
		if (wrong != std::errc{} || end != text.data() + text.size() || value < known.least ||
		    value > known.most)
			return known.is_interface // which may come yet
				       ? fail(fmt::format("setting {} of policy {} takes an interface of this network "
							  "namespace, by name or index, not '{}'",
							  name, policy.name, text))
				       : fail_usage(fmt::format(
						 "setting {} of policy {} takes a number from {} to {}, not '{}'", name,
						 policy.name, known.least, known.most, text));
		settings.value[place] = value;
	}
	return settings;
}

expected<chosen_policy> choose_policy(std::string_view name, std::span<const std::string> assignments)
{
	const auto policy = find_policy(name);
	if (!policy)
		return tl::unexpected(policy.error());
	return make_settings(**policy, assignments).map([&](const pm_settings &settings) {
		return chosen_policy{*policy, settings};
	});
}

} // namespace pm
