// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The daemon among others: one for each namespace, told things by signals, believing the kernel alone, with no more
// privileges than it needs, and leaving things as they were.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "pm-netlink/codec.hpp"
#include "replay/group_sender.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

const paths both{{from_to(0, 0), 1}, {from_to(1, 0), 1}};
constexpr const char *only_net_admin = "0000000000001000"; // bit 12

paths on_initial(unsigned subflows) { return {{from_to(0, 0), subflows}}; }

// Files in the folder of the daemon that tell of a namespace.
words files_of_namespaces(const temporary_folder &folder)
{
	words found;
	for (const auto &entry : std::filesystem::directory_iterator{folder.path()})
		if (const std::string name = entry.path().filename(); name.rfind("netns-", 0) == 0)
			found.push_back(name);
	return found;
}

TEST(daemon_manners, a_second_one_in_a_namespace_says_why_it_cannot_and_harms_nothing)
{
	scene s;
	daemon_process &first = s.manage({"fullmesh"});
	s.connections.open(20);
	s.expect_paths(both);
	daemon_process second(s.world.client, s.folder, {"ndiffports"});
	EXPECT_EQ(second.wait(), 1);
	const std::string said = second.said();
	EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
	EXPECT_NE(said.find("another path manager"), std::string::npos) << said;
	EXPECT_TRUE(first.runs());
	s.connections.open(20);
	s.expect_paths_to_stay(both, first);
	EXPECT_EQ(first.status().at("policy"), "fullmesh");
	EXPECT_EQ(s.world.client.get_sysctl("net.mptcp.pm_type"), "1");
	first.stop();
	EXPECT_EQ(s.world.client.get_sysctl("net.mptcp.pm_type"), "0");
}

TEST(daemon_manners, each_namespace_has_its_own)
{
	scene s;
	daemon_process &client = s.manage({"fullmesh"});
	daemon_process &server = s.manage({"announce"}, &s.world.server);
	s.connections.open(20);
	s.expect_paths_to_stay(all_pairs(2), client);
	EXPECT_EQ(files_of_namespaces(s.folder).size(), 4u); // a lock and a socket each
	EXPECT_EQ(client.status().at("policy"), "fullmesh");
	EXPECT_EQ(server.status().at("policy"), "announce");
	client.stop();
	EXPECT_EQ(server.status().at("connections").at("open"), 20);
	server.stop();
	EXPECT_EQ(files_of_namespaces(s.folder), words{});
}

TEST(daemon_manners, sigusr1_reads_the_state_back)
{
	scene s;
	daemon_process &daemon = s.manage({"fullmesh"});
	s.connections.open(20);
	s.expect_paths(both);
	const std::uint64_t before = daemon.figure("/resyncs/done");
	daemon.signal(SIGUSR1);
	EXPECT_TRUE(await(scene::patience, [&] { return daemon.figure("/resyncs/done") > before; }));
	const auto resyncs = daemon.status().at("resyncs");
	EXPECT_EQ(resyncs.at("adopted"), 0);
	EXPECT_EQ(resyncs.at("dropped"), 0);
	EXPECT_EQ(resyncs.at("failed"), 0);
	s.expect_paths(both);
}

TEST(daemon_manners, what_there_was_no_room_for_is_managed_once_there_is)
{
	constexpr std::size_t room = 16;
	scene s;
	daemon_process &daemon = s.manage({"fullmesh", "--set", "connections=" + std::to_string(room)});
	s.connections.open(room);
	s.expect_paths(both);
	s.connections.open(room / 2);
	EXPECT_TRUE(await(scene::patience, [&] { return daemon.figure("/handled/table_full") > 0; }));
	s.connections.close(room); // the oldest: those in the table
	s.expect_paths(both);
}

TEST(daemon_manners, without_its_only_address_a_connection_waits_for_it_to_come_back)
{
	scene s(1);
	daemon_process &daemon = s.manage({"fullmesh"});
	s.connections.open(5);
	const auto change = [&](bool there) {
		change_address(s.world.client, 0, lab::client_address(0, false), there);
		const std::size_t left = there ? 2 : 1; // with that of IPv6
		EXPECT_TRUE(
			await(scene::patience, [&] { return daemon.status().at("local_addresses").size() == left; }));
	};
	change(false);
	change(true);
	s.expect_paths_to_stay(on_initial(1), daemon);
}

TEST(daemon_manners, sighup_gives_open_connections_the_paths_of_the_changed_settings)
{
	scene s;
	const auto set = [&](const std::string &text) { s.folder.write("settings", text); };
	set("subflows = 2\n");
	daemon_process &daemon = s.manage({"ndiffports", "--config", s.folder.path("settings")});
	s.connections.open(50);
	s.expect_paths(on_initial(2));
	for (const unsigned subflows : {4u, 2u, 8u, 1u}) {
		set("# changed\nsubflows = " + std::to_string(subflows) + "\n");
		daemon.signal(SIGHUP);
		s.expect_paths_to_stay(on_initial(subflows), daemon);
		EXPECT_EQ(daemon.status().at("settings").at("subflows"), subflows);
	}
	EXPECT_EQ(daemon.status().at("commands").at("refused").size(), 0u) << daemon.status().at("commands");
}

TEST(daemon_manners, sighup_with_a_broken_file_changes_nothing_and_names_the_line)
{
	scene s;
	s.folder.write("settings", "subflows = 3\n");
	daemon_process &daemon = s.manage({"ndiffports", "--config", s.folder.path("settings")});
	s.connections.open(20);
	s.expect_paths(on_initial(3));
	for (const char *broken : {"# two\nsubflows = two\n", "\nsubflows = 9\n", "subflows = 2\nsubflow = 2\n"}) {
		s.folder.write("settings", broken);
		const std::size_t said = daemon.said().size();
		daemon.signal(SIGHUP);
		EXPECT_TRUE(
			await(scene::patience, [&] { return daemon.said().find('\n', said) != std::string::npos; }));
		EXPECT_NE(daemon.said().find(s.folder.path("settings") + ":2: ", said), std::string::npos)
			<< daemon.said();
		s.expect_paths_to_stay(on_initial(3), daemon);
		EXPECT_EQ(daemon.status().at("settings").at("subflows"), 3);
	}
	std::filesystem::remove(s.folder.path("settings"));
	const std::size_t said = daemon.said().size();
	daemon.signal(SIGHUP);
	EXPECT_TRUE(await(scene::patience, [&] { return daemon.said().find('\n', said) != std::string::npos; }));
	s.expect_paths_to_stay(on_initial(3), daemon);
	s.connections.open(20);
	s.expect_paths(on_initial(3));
}

// What somebody with CAP_NET_ADMIN, but not the kernel, says of connections that there are and of others.
std::vector<replay::due_event> spoofed_events(const netlink::snapshot &open, std::uint16_t family)
{
	std::vector<replay::due_event> all;
	const auto add = [&](pm_u8 type, std::uint32_t token, const netlink::snapshot_subflow &path) {
		replay::due_event each;
		pm_event &event = each.event;
		event.type = type;
		event.token = token;
		event.local = path.local;
		event.remote = type == PM_ANNOUNCED ? lab::server_address(1, false) : path.remote;
		event.local_port = path.local_port;
		event.remote_port = path.remote_port;
		event.remote_id = 1;
		event.has_local = event.has_remote = 1;
		each.length = netlink::encode_event(event, family, each.message);
		EXPECT_GT(each.length, 0u);
		all.push_back(each);
	};
	for (const netlink::snapshot_subflow &path : open.subflows) {
		for (const pm_u8 type : {PM_ANNOUNCED, PM_REMOVED, PM_SUB_CLOSED, PM_CLOSED})
			add(type, path.token, path);
		for (const pm_u8 type : {PM_CREATED, PM_ESTABLISHED})
			add(type, ~path.token, path);
	}
	return all;
}

TEST(daemon_manners, events_that_are_not_from_the_kernel_are_counted_and_not_believed)
{
	scene s;
	daemon_process &daemon = s.manage({"fullmesh"});
	s.connections.open(20);
	s.expect_paths(both);
	auto sender = must(in_namespace(s.world.client, [] { return replay::group_sender::open(); }));
	auto events = spoofed_events(s.client.list(), sender.family().id);
	const auto before = daemon.status();
	for (std::size_t i = 0; i < events.size(); i += sender.most_at_once)
		must(sender.send(std::span(events).subspan(i, std::min(sender.most_at_once, events.size() - i))));
	EXPECT_TRUE(await(scene::patience, [&] { return daemon.figure("/events/foreign_sender") == events.size(); }))
		<< daemon.status().at("events");
	const auto after = daemon.status();
	EXPECT_EQ(after.at("events").at("delivered"), before.at("events").at("delivered"));
	EXPECT_EQ(after.at("connections"), before.at("connections"));
	EXPECT_EQ(after.at("subflows"), before.at("subflows"));
	EXPECT_EQ(after.at("commands"), before.at("commands"));
	s.expect_paths_to_stay(both, daemon);
}

TEST(daemon_manners, once_started_it_may_administer_the_network_and_no_more)
{
	scene s;
	daemon_process &daemon = s.manage({"fullmesh"});
	for (const char *set : {"CapPrm", "CapEff", "CapBnd"})
		EXPECT_EQ(daemon.process_status(set), only_net_admin) << set;
	for (const char *set : {"CapInh", "CapAmb"})
		EXPECT_EQ(daemon.process_status(set), "0000000000000000") << set;
	EXPECT_EQ(daemon.process_status("NoNewPrivs"), "1");
	EXPECT_EQ(daemon.process_status("Threads"), "1");
}

TEST(daemon_manners, to_administer_the_network_is_all_that_it_needs_to_be_allowed)
{
	scene s;
	ASSERT_EQ(chown(s.folder.path().c_str(), 65534, 65534), 0);
	daemon_process daemon(s.world.client, s.folder, {"fullmesh", "--set", "buffer=4000000"},
			      daemon_process::privileges::only_net_admin);
	daemon.await_ready();
	EXPECT_EQ(daemon.process_status("Uid"), "65534\t65534\t65534\t65534");
	EXPECT_EQ(daemon.process_status("CapPrm"), only_net_admin);
	EXPECT_EQ(daemon.figure("/events/buffer_bytes"), 8'000'000u);
	EXPECT_EQ(s.world.client.get_sysctl("net.mptcp.pm_type"), "1");
	s.connections.open(50);
	s.expect_paths_to_stay(both, daemon);
	daemon.stop();
	EXPECT_EQ(s.world.client.get_sysctl("net.mptcp.pm_type"), "0");
	EXPECT_EQ(files_of_namespaces(s.folder), words{});
}

TEST(daemon_manners, what_it_has_opened_stays_when_it_ends)
{
	scene s;
	daemon_process &daemon = s.manage({"fullmesh"});
	s.connections.open(20);
	s.expect_paths(both);
	daemon.stop();
	EXPECT_EQ(daemon.said(), "");
	s.expect_paths(both);
}

} // namespace
