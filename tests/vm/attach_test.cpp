// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Attaching every policy, and what is reported of it: the verifier takes them all.
#include <cerrno>
#include <iostream>

#include <gtest/gtest.h>

#include "pm-bpf/attachment.hpp"
#include "pm-netlink/policies.hpp"
#include "tests/support/attachment.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;

constexpr std::uint32_t most_verified = 100'000;

std::vector<words> every_policy()
{
	std::vector<words> all{{"guard", "--most-subflows", "2"}};
	for (const policy_info &policy : all_policies()) {
		all.push_back({std::string{policy.name}});
		all.push_back({std::string{policy.name}, "--allow", "10.0.0.0/8", "--most-subflows", "4"});
		all.push_back({std::string{policy.name}, "--set", "interface=*", "--set", "prefix=10.0.0.0/8"});
	}
	return all;
}

TEST(attached, every_policy_is_taken_by_the_verifier_within_a_tenth_of_its_limit)
{
	for (const words &policy : every_policy()) {
		const netns where = must(netns::create());
		words arguments{"attach", "-j"};
		arguments.insert(arguments.end(), policy.begin(), policy.end());
		const said answer = pathlab(where, arguments);
		ASSERT_EQ(answer.status, 0) << answer.err;
		const auto json = nlohmann::json::parse(answer.out);
		const auto instructions = json.at("verified_instructions").get<std::uint32_t>();
		EXPECT_GT(instructions, 0u);
		EXPECT_LE(instructions, most_verified) << policy[0];
		std::cout << instructions << " instructions verified of " << policy[0]
			  << (policy.size() == 1 || policy[0] == "guard" ? ""
			      : policy[1] == "--allow"                   ? " with a guard"
									 : " on some addresses")
			  << '\n';
		EXPECT_EQ(must(where.get_sysctl(bpf::path_manager_sysctl)), json.at("name"));
		EXPECT_EQ(pathlab(where, {"detach", json.at("name")}).status, 0);
		EXPECT_EQ(must(where.get_sysctl(bpf::path_manager_sysctl)), "kernel");
	}
}

TEST(attached, commands_that_the_kernel_refuses_are_counted_by_why)
{
	scene s(2);
	run_in(s.world.client, "sysctl -qw net.ipv4.ip_local_port_range='50000 50000'"); // one subflow from each address
	const attachment client(s.world.client, {"fullmesh"}), server(s.world.server, {"announce"});
	s.connections.open(1);
	const auto refused = [&] {
		const auto status = client.status();
		unsigned times = 0;
		for (const auto &each : status.at("errors"))
			if (each.at("errno") == EADDRINUSE || each.at("errno") == EADDRNOTAVAIL)
				times += each.at("count").get<unsigned>();
		return times;
	};
	EXPECT_TRUE(await(scene::patience, [&] { return refused() > 0; })) << client.status();
}

} // namespace

int main(int argc, char **argv)
{
	testing::InitGoogleTest(&argc, argv);
	mount_bpf();
	detach_all();
	return RUN_ALL_TESTS();
}
