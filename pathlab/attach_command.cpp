// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab attach: a policy into the kernel, for the connections of a network namespace.
#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <fnmatch.h>
#include <net/if.h>
#include <nlohmann/json.hpp>

#include "pathlab/commands.hpp"
#include "pm-bpf/attachment.hpp"
#include "pm-bpf/kernel_series.hpp"
#include "pm-netlink/settings_file.hpp"

namespace pm::pathlab {

namespace {

struct options {
	std::string policy, netns_name, name;
	std::vector<std::string> settings, allowed;
	std::uint32_t most_subflows = 0;
	bool replace = false;
};

// Interfaces of the calling thread's namespace, by name or pattern: in the kernel they go by their index.
expected<std::vector<u32>> indices_of(const std::vector<std::string> &patterns)
{
	const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> all(if_nameindex(), if_freenameindex);
	if (!all)
		return fail_errno("cannot list the interfaces of the network namespace");
	std::vector<u32> found;
	for (const std::string &pattern : patterns) {
		const std::size_t before = found.size();
		for (const struct if_nameindex *each = all.get(); each->if_index; ++each)
			if (fnmatch(pattern.c_str(), each->if_name, 0) == 0)
				found.push_back(each->if_index);
		if (found.size() == before)
			return fail(fmt::format(
				"the network namespace has no interface '{}': an attached policy takes those "
				"that are there when it is attached",
				pattern));
	}
	std::sort(found.begin(), found.end());
	found.erase(std::unique(found.begin(), found.end()), found.end());
	return found;
}

// In the calling thread's namespace: it is the one whose interfaces are meant.
expected<bpf::attached_policy> read(const options &asked, const policy_info &policy)
{
	static const netlink::manager_settings presets;
	netlink::manager_settings settings;
	for (const std::string &assignment : asked.settings)
		if (auto done = netlink::assign_setting(settings, assignment, policy); !done)
			return tl::unexpected(done.error());
	if (settings.buffer_bytes != presets.buffer_bytes || settings.most_connections != presets.most_connections ||
	    settings.accept_replay != presets.accept_replay)
		return fail(
			"buffer, connections and accept-replay are settings of pm-netlinkd: an attached policy has no "
			"socket and no table of connections");
	auto values = make_settings(policy, settings.policy);
	if (!values)
		return tl::unexpected(values.error());
	auto interfaces = indices_of(settings.locals.interfaces);
	if (!interfaces)
		return tl::unexpected(interfaces.error());
	bpf::attached_policy read;
	read.policy = &policy;
	read.settings = *values;
	read.name = asked.name;
	read.interfaces = std::move(*interfaces);
	read.prefixes = settings.locals.prefixes;
	read.most_subflows = asked.most_subflows;
	for (const std::string &each : asked.allowed) {
		const auto prefix = netlink::parse_prefix(each);
		if (!prefix)
			return tl::unexpected(prefix.error());
		read.allowed.push_back(*prefix);
	}
	return read;
}

void print(const bpf::attach_result &done, const options &asked, context &all)
{
	if (all.json)
		fmt::print("{}\n", nlohmann::json{{"name", done.name},
						  {"policy", asked.policy},
						  {"before", done.before},
						  {"replaced", done.replaced},
						  {"verified_instructions", done.verified_instructions}}
					   .dump(2));
	else
		fmt::print("{}: manages new connections, in the place of '{}'; `pathlab detach {}` puts that back\n",
			   done.name, done.before, done.name);
}

expected<void> run(const options &asked, context &all)
{
	const auto policy = asked.policy == guard_policy().name ? &guard_policy() : find_policy(asked.policy);
	if (!policy)
		return tl::unexpected(policy.error());
	if (*policy == &guard_policy() && asked.allowed.empty() && asked.most_subflows == 0)
		return fail_usage("the guard has nothing to guard: give it --allow PREFIX or --most-subflows N");
	if (!asked.name.empty())
		if (auto good = bpf::check_name(asked.name); !good)
			return good;
	if (auto good = bpf::check_kernel(); !good)
		return good;
	if (auto good = bpf::check_privileges(); !good)
		return good;
	const auto where = asked.netns_name.empty() ? netns::current() : netns::open(asked.netns_name);
	if (!where)
		return tl::unexpected(where.error());
	auto what = in_namespace(*where, [&] { return read(asked, **policy); });
	if (!what)
		return tl::unexpected(what.error());
	bpf::attach_request request;
	request.what = std::move(*what);
	request.where = &*where;
	request.netns_name = asked.netns_name;
	request.replace = asked.replace;
	return bpf::attach(std::move(request)).map([&](const bpf::attach_result &done) { print(done, asked, all); });
}

} // namespace

void add_attach(CLI::App &app, context &all)
{
	add_command<options>(
		app, all, "attach", "Attach a policy to a network namespace, in the kernel",
		[](CLI::App &command, options &o) {
			command.add_option("policy", o.policy, "The policy (`pathlab policies` lists them)")
				->required();
			command.add_option("-n,--netns", o.netns_name,
					   "Name of the network namespace (default: this one)")
				->check([](const std::string &name) {
					return std::string{name.empty() ? "a name is needed" : ""};
				});
			command.add_option("--set", o.settings, "A setting, NAME=VALUE")->allow_extra_args(false);
			command.add_option("--name", o.name, "Its name in the kernel (default: the policy's)")
				->check([](const std::string &name) {
					return std::string{name.empty() ? "a name is needed" : ""};
				});
			command.add_option("--allow", o.allowed,
					   "A prefix that peers may join from, and announce addresses of")
				->allow_extra_args(false);
			command.add_option("--most-subflows", o.most_subflows,
					   "How many subflows a connection may have")
				->check(CLI::Range(1u, 64u));
			command.add_flag("--replace", o.replace, "In the place of what is attached there");
		},
		&run);
}

} // namespace pm::pathlab
