// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Attaching, replacing and detaching: nothing is left half done, what was there before is put back, and what cannot be is
// said in one sentence.
#include <algorithm>
#include <cstdlib>
#include <optional>

#include <gtest/gtest.h>

#include "pm-bpf/attachment.hpp"
#include "pm-netlink/tenure.hpp"
#include "tests/support/attachment.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;

std::string path_manager_of(const netns &where) { return must(where.get_sysctl(bpf::path_manager_sysctl)); }

std::string known_path_managers() { return must(read_sysctl("net.mptcp.available_path_managers")); }

constexpr int usage = 2;

class attach : public testing::Test {
protected:
	const netns here = must(netns::create()), there = must(netns::create());
	const in_the_kernel at_first;

	void TearDown() override
	{
		EXPECT_EQ(kept(), words{});
		detach_all();
		EXPECT_TRUE(await(2, [] { return known_path_managers() == "kernel userspace"; }))
			<< known_path_managers();
		expect_no_more_than(at_first);
	}
};

TEST_F(attach, puts_the_path_manager_that_was_there_back)
{
	for (const char *before : {"kernel", "userspace"}) {
		must(here.set_sysctl(bpf::path_manager_sysctl, before));
		ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
		EXPECT_EQ(path_manager_of(here), "fullmesh");
		EXPECT_EQ(path_manager_of(there), "kernel");
		EXPECT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
		EXPECT_EQ(path_manager_of(here), before);
	}
}

TEST_F(attach, puts_the_kernel_s_own_one_back_where_its_own_name_was_set_but_gone)
{
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	must(there.set_sysctl(bpf::path_manager_sysctl, "fullmesh")); // as the operator may
	ASSERT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
	EXPECT_EQ(path_manager_of(there), "fullmesh") << "of which there is none any more";
	ASSERT_EQ(pathlab(there, {"attach", "fullmesh"}).status, 0);
	ASSERT_EQ(pathlab(there, {"detach", "fullmesh"}).status, 0);
	EXPECT_EQ(path_manager_of(there), "kernel");
}

TEST_F(attach, one_with_the_name_of_one_that_was_replaced_is_left_alone_by_those_who_look)
{
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	ASSERT_EQ(pathlab(here, {"attach", "ndiffports", "--name", "other", "--replace"}).status, 0);
	must(here.set_sysctl(bpf::path_manager_sysctl, "kernel"));
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	must(here.set_sysctl(bpf::path_manager_sysctl, "other"));
	EXPECT_EQ(attachments(here).size(), 2u);
	EXPECT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
	EXPECT_EQ(pathlab(here, {"detach", "other"}).status, 0);
	EXPECT_EQ(path_manager_of(here), "kernel");
}

TEST_F(attach, leaves_alone_what_another_one_has_set_since)
{
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	must(here.set_sysctl(bpf::path_manager_sysctl, "userspace"));
	const said answer = pathlab(here, {"detach", "fullmesh"});
	EXPECT_EQ(answer.status, 0);
	EXPECT_NE(answer.out.find("'userspace' by now"), std::string::npos) << answer.out;
	EXPECT_EQ(path_manager_of(here), "userspace");
}

TEST_F(attach, of_two_in_a_namespace_detaching_there_takes_off_the_one_in_charge)
{
	ASSERT_EQ(std::system("ip netns add twice"), 0);
	EXPECT_EQ(pathlab(here, {"attach", "announce", "-n", "twice"}).status, 0);
	EXPECT_EQ(std::system("ip netns exec twice sysctl -qw net.mptcp.path_manager=kernel"), 0);
	EXPECT_EQ(pathlab(here, {"attach", "fullmesh", "-n", "twice"}).status, 0);
	EXPECT_EQ(pathlab(here, {"detach", "-n", "twice"}).status, 0);
	ASSERT_EQ(attachments(here).size(), 1u);
	EXPECT_EQ(attachments(here)[0].at("name"), "announce");
	EXPECT_EQ(pathlab(here, {"detach", "-n", "twice"}).status, 0);
	EXPECT_EQ(std::system("ip netns delete twice"), 0);
}

TEST_F(attach, several_namespaces_have_policies_of_their_own_at_the_same_time)
{
	const attachment one(here, {"fullmesh"}), other(there, {"ndiffports", "--set", "subflows=3"});
	const netns elsewhere = must(netns::create());
	const attachment third(elsewhere, {"fullmesh", "--name", "mesh_3"});
	EXPECT_EQ(attachments(here).size(), 3u);
	EXPECT_EQ(other.status().at("settings").at("subflows"), 3);
	EXPECT_EQ(path_manager_of(here), "fullmesh");
	EXPECT_EQ(path_manager_of(there), "ndiffports");
}

TEST_F(attach, one_where_one_is_attached_takes_replace)
{
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	expect_refused(pathlab(here, {"attach", "ndiffports"}), "managed by 'fullmesh' (policy fullmesh) already");
	EXPECT_EQ(path_manager_of(here), "fullmesh");
	ASSERT_EQ(pathlab(here, {"attach", "ndiffports", "--replace"}).status, 0);
	EXPECT_EQ(path_manager_of(here), "ndiffports");
	EXPECT_EQ(attachments(here).size(), 1u);
	// The same name: the kernel's table is replaced in place.
	ASSERT_EQ(pathlab(here, {"attach", "backup", "--name", "ndiffports", "--replace"}).status, 0);
	const auto all = attachments(here);
	ASSERT_EQ(all.size(), 1u);
	EXPECT_EQ(all[0].at("policy"), "backup");
	EXPECT_EQ(all[0].at("before"), "kernel");
	EXPECT_EQ(pathlab(here, {"detach", "ndiffports"}).status, 0);
	EXPECT_EQ(path_manager_of(here), "kernel");
}

TEST_F(attach, refuses_what_makes_no_sense)
{
	const attachment taken(there, {"fullmesh"});
	expect_refused(pathlab(here, {"attach", "fullmesh"}), "--name");
	expect_refused(pathlab(here, {"attach", "announce", "--name", "kernel"}), "--name");
	expect_refused(pathlab(here, {"attach", "announce", "--name", "sixteen_letters_"}), "1 to 15 letters", usage);
	expect_refused(pathlab(here, {"attach", "announce", "--name", "a/b"}), "1 to 15 letters", usage);
	expect_refused(pathlab(here, {"attach", "fulmesh"}), "there is no policy 'fulmesh'", usage);
	expect_refused(pathlab(here, {"attach", "ndiffports", "--set", "subflows=9"}), "from 1 to 8", usage);
	expect_refused(pathlab(here, {"attach", "ndiffports", "--set", "buffer=8192"}), "settings of pm-netlinkd");
	expect_refused(pathlab(here, {"attach", "ndiffports", "--set", "interface=eth9"}), "no interface 'eth9'");
	expect_refused(pathlab(here, {"attach", "guard"}), "nothing to guard", usage);
	expect_refused(pathlab(here, {"attach", "guard", "--allow", "10.0.0.0/33"}), "10.0.0.0/33", usage);
	expect_refused(pathlab(here, {"attach", "announce", "-n", "nowhere"}), "nowhere");
	expect_refused(pathlab(here, {"detach", "announce"}), "attached are: fullmesh");
	expect_refused(pathlab(here, {"detach"}), "NAME", usage);
	EXPECT_EQ(path_manager_of(here), "kernel");
	EXPECT_EQ(attachments(here).size(), 1u);
}

TEST_F(attach, without_privileges_says_which)
{
	const words nobody{"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
	expect_refused(pathlab(here, {"attach", "fullmesh"}, nobody),
		       "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN");
	const words almost{"/usr/bin/setpriv", "--bounding-set=-perfmon", "--inh-caps=-perfmon"};
	expect_refused(pathlab(here, {"attach", "fullmesh"}, almost), "lacks: CAP_PERFMON");
}

TEST_F(attach, does_not_take_a_namespace_from_the_daemon)
{
	std::optional<netlink::tenure> daemons;
	must(in_namespace(here, [&] {
		return netlink::tenure::begin(netlink::default_run_folder).map([&](netlink::tenure &&begun) {
			daemons.emplace(std::move(begun));
		});
	}));
	expect_refused(pathlab(here, {"attach", "fullmesh"}), "pm-netlinkd serves this network namespace");
	EXPECT_EQ(path_manager_of(here), "userspace");
	must(in_namespace(here, [&] { return daemons->end(); }));
	EXPECT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	EXPECT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
}

// Which is let in beside it: then the daemon restores what it found, as far as that is still there.
TEST_F(attach, a_daemon_that_outlives_it_gives_the_namespace_back_to_the_kernel_s_own_one)
{
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh"}).status, 0);
	std::optional<netlink::tenure> daemons;
	must(in_namespace(here, [&] {
		return netlink::tenure::begin(netlink::default_run_folder).map([&](netlink::tenure &&begun) {
			daemons.emplace(std::move(begun));
		});
	}));
	EXPECT_EQ(daemons->before(), "fullmesh");
	ASSERT_EQ(pathlab(here, {"detach", "fullmesh"}).status, 0);
	EXPECT_EQ(must(in_namespace(here, [&] { return daemons->end(); })), "kernel");
	EXPECT_EQ(path_manager_of(here), "kernel");
}

TEST_F(attach, a_namespace_that_is_gone_is_shown_and_can_be_detached)
{
	ASSERT_EQ(std::system("ip netns add going"), 0);
	ASSERT_EQ(pathlab(here, {"attach", "fullmesh", "-n", "going"}).status, 0);
	EXPECT_EQ(attachments(here)[0].at("state"), "active");
	ASSERT_EQ(std::system("ip netns delete going"), 0);
	ASSERT_TRUE(await(10, [&] { return attachments(here)[0].at("state") == "namespace gone"; }));
	const said answer = pathlab(here, {"detach", "fullmesh"});
	EXPECT_EQ(answer.status, 0) << answer.err;
	EXPECT_NE(answer.out.find("namespace is gone"), std::string::npos) << answer.out;
}

// As many connections as that have these paths at the client's end, in the end.
void expect_number_with(scene &s, long number, const paths &wanted)
{
	long have = 0;
	EXPECT_TRUE(await(scene::patience,
			  [&] {
				  const auto all = s.client.by_connection();
				  have = std::count_if(all.begin(), all.end(),
						       [&](const auto &each) { return each.second == wanted; });
				  return have == number;
			  }))
		<< have << ", not " << number;
}

// Under its own name another policy takes the place of it in the kernel's table, under another name in the namespace.
TEST(attached, connections_keep_the_policy_that_they_began_with)
{
	for (const std::string name : {"fullmesh", "another"}) {
		scene s(2);
		ASSERT_EQ(pathlab(s.world.client, {"attach", "fullmesh"}).status, 0);
		s.connections.open(3);
		s.expect_paths({{from_to(0, 0), 1}, {from_to(1, 0), 1}});
		const words replacing{"attach", "ndiffports", "--set", "subflows=4", "--name", name, "--replace"};
		ASSERT_EQ(pathlab(s.world.client, replacing).status, 0);
		s.connections.open(2);
		expect_number_with(s, 2, {{from_to(0, 0), 4}});
		const said answer = pathlab(s.world.client, {"detach", name});
		EXPECT_NE(answer.out.find("2 connections keep it until closed"), std::string::npos) << answer.out;
		s.connections.open(1);
		change_address(s.world.client, 0, ipv4(10, 0, 1, 77), true);
		const path from_the_new_one{"10.0.1.77", from_to(0, 0).second};
		expect_number_with(s, 3, {{from_to(0, 0), 1}, {from_to(1, 0), 1}, {from_the_new_one, 1}});
		expect_number_with(s, 2, {{from_to(0, 0), 4}});
		expect_number_with(s, 1, {{from_to(0, 0), 1}}); // the kernel's own path manager opens nothing here
	}
}

} // namespace
