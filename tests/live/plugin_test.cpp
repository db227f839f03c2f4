// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The plugins in a real, unmodified mptcpd, with real connections between namespaces: each connection gets its subflows,
// also where mptcpd by itself would not hear of it. Under this machine's mptcpd and under those that PATHLAB_OTHER_MPTCPD
// names (folders, with colons between; see tests/newer-mptcpd).
#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/mptcp_info.hpp"
#include "pm-netlink/policies.hpp"
#include "pm-netlink/socket_memory.hpp"
#include "replay/backend.hpp"
#include "replay/child.hpp"
#include "replay/clock.hpp"
#include "replay/group_sender.hpp"
#include "replay/lab.hpp"
#include "replay/links.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pm;
using namespace pm::replay;

// ---- mptcpd ----

struct installation {
	std::string name, daemon, plugins;
	friend void PrintTo(const installation &one, std::ostream *out) { *out << one.daemon; }
};

std::vector<installation> installations()
{
	std::vector<installation> all{{"installed", "/usr/libexec/mptcpd", PATHLAB_PLUGINS}};
	const char *others = std::getenv("PATHLAB_OTHER_MPTCPD");
	std::istringstream folders{others ? others : ""};
	for (std::string folder; std::getline(folders, folder, ':');) {
		std::string name = fs::path(folder).filename();
		std::ranges::replace_if(name, [](unsigned char c) { return !std::isalnum(c); }, '_');
		all.push_back({name, folder + "/mptcpd", folder + "/plugins"});
	}
	return all;
}

template <class Condition>
bool await(double seconds, Condition &&condition)
{
	for (const std::uint64_t until = now_ns() + static_cast<std::uint64_t>(seconds * 1e9); !condition();
	     usleep(5000))
		if (now_ns() > until)
			return false;
	return true;
}

std::string content_of(const std::string &path)
{
	std::ifstream in{path};
	return {std::istreambuf_iterator<char>{in}, {}};
}

// How mptcpd is started, where that is not plainly.
struct manner {
	const netns *where = nullptr; // the client's
	std::string load = {}; // plugins, where that is not only the policy's
	bool only_net_admin = false; // with no other capability
};

// ---- connections ----

// Both ends of a connection, which has carried a byte each way.
struct connection {
	descriptor client, server;

	// Subflows beside the initial one, if both ends say the same; or as the client says.
	std::optional<unsigned> more(bool at_both_ends) const
	{
		const auto here = read_mptcp_info(client.get()), there = read_mptcp_info(server.get());
		if (!here || (at_both_ends && (!there || here->mptcpi_subflows != there->mptcpi_subflows)))
			return std::nullopt;
		return here->mptcpi_subflows;
	}
};

template <class Connections>
std::string describe(const Connections &connections)
{
	std::ostringstream text;
	for (const connection &c : connections) {
		const auto here = read_mptcp_info(c.client.get()), there = read_mptcp_info(c.server.get());
		text << (here ? int{here->mptcpi_subflows} : -1) << '/' << (there ? int{there->mptcpi_subflows} : -1)
		     << ' ';
	}
	return text.str();
}

class plugin : public testing::TestWithParam<installation> {
protected:
	void SetUp() override
	{
		if (access(GetParam().daemon.c_str(), X_OK) != 0 || !fs::exists(GetParam().plugins + "/fullmesh.so"))
			GTEST_SKIP() << "mptcpd or its plugins are not there: " << GetParam().daemon << ", "
				     << GetParam().plugins;
		char name[] = "/tmp/pathlab-plugin-test-XXXXXX";
		ASSERT_NE(mkdtemp(name), nullptr);
		folder_ = name;
		ASSERT_EQ(chmod(name, 0755), 0);
		setenv("PATHLAB_CONFIG_DIR", name, 1);
		auto made = lab::create({.paths = 2, .endpoints = false});
		ASSERT_TRUE(made) << made.error().text;
		lab_.emplace(std::move(*made));
		for (const netns *where : {&lab_->client, &lab_->server}) {
			const auto set = where->set_sysctl("net.mptcp.pm_type", "1");
			ASSERT_TRUE(set) << set.error().text;
		}
		// The reader that takes over binds a subflow to the interface of its address, and IPv6 then wants a route by that
		// interface.
		ASSERT_TRUE(in_client("ip -6 route add fd00:1::/64 via fd00:2::2 dev p1 metric 2048"));
		// The kernel accepts joins while somebody listens to the events.
		auto accepting = in_namespace(lab_->server, [] { return netlink::event_source::open({}); });
		ASSERT_TRUE(accepting) << accepting.error().text;
		server_events_.emplace(std::move(*accepting));
		for (const bool ipv6 : {false, true})
			ASSERT_NO_FATAL_FAILURE(listen(ipv6));
	}
	void TearDown() override
	{
		unsetenv("PATHLAB_CONFIG_DIR");
		if (HasFailure())
			for (const auto &entry : fs::directory_iterator{folder_})
				ADD_FAILURE() << entry.path() << ":\n" << content_of(entry.path());
		daemons_.clear();
		if (!folder_.empty())
			fs::remove_all(folder_);
	}

	bool in_client(const char *shell_command) const
	{
		return in_namespace(lab_->client,
				    [&]() -> expected<void> {
					    return std::system(shell_command) == 0 ? expected<void>{}
										   : fail(shell_command);
				    })
			.has_value();
	}

	// ---- mptcpd ----

	void write_settings(const std::string &policy, const std::string &text) const
	{
		std::ofstream{folder_ + '/' + policy + ".conf"} << text;
	}

	// Starts mptcpd with `policy` as its path manager; its log is log_of(policy). Does not wait.
	child &start(const std::string &policy, manner how = {})
	{
		const std::string log = folder_ + '/' + policy + ".log";
		fs::remove(log); // of an earlier one
		std::vector<std::string> command{"/bin/sh", "-c", "exec \"$@\" 2>" + log, "sh"};
		if (how.only_net_admin)
			for (const char *word : {"setpriv", "--bounding-set=-all,+net_admin"})
				command.emplace_back(word);
		for (const std::string &word :
		     {GetParam().daemon, std::string{"--log=stderr"}, "--plugin-dir=" + GetParam().plugins,
		      "--load-plugins=" + (how.load.empty() ? policy : how.load), "--path-manager=" + policy})
			command.push_back(word);
		// Here, and not on a thread of its own, which the child would not survive.
		const auto home = netns::current();
		EXPECT_TRUE(home && (how.where ? *how.where : lab_->client).enter());
		auto started = child::start(command, receiving_cpu);
		EXPECT_TRUE(home->enter());
		if (!started)
			throw std::runtime_error(started.error().text);
		daemons_.push_back(std::make_unique<child>(std::move(*started)));
		return *daemons_.back();
	}
	// The same, and waits until it hears of connections.
	child &start_and_wait(const std::string &policy, manner how = {})
	{
		child &daemon = start(policy, how);
		EXPECT_TRUE(await(5, [&] {
			return says(policy, policy + ": manages") || says(policy, "read") /* the first resync */;
		})) << log_of(policy);
		return daemon;
	}
	std::string log_of(const std::string &policy) const { return content_of(folder_ + '/' + policy + ".log"); }
	bool says(const std::string &policy, const std::string &words) const
	{
		return log_of(policy).find(words) != std::string::npos;
	}
	std::size_t times_said(const std::string &policy, const std::string &words) const
	{
		const std::string log = log_of(policy);
		std::size_t count = 0;
		for (std::size_t at = 0; (at = log.find(words, at)) != std::string::npos; ++at)
			++count;
		return count;
	}
	descriptor event_socket(const child &daemon) const
	{
		auto found = daemon.socket_in_group(server_events_->family().events_group);
		return found ? std::move(*found) : descriptor{};
	}

	// ---- connections ----

	connection connect(bool ipv6)
	{
		connection made;
		const auto from = to_sockaddr(lab::client_address(0, ipv6), 0);
		const auto to = to_sockaddr(lab::server_address(0, ipv6), port_);
		auto client = in_namespace(lab_->client, [&]() -> expected<descriptor> {
			descriptor s{socket(from.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)};
			if (!s || bind(s.get(), from.get(), from.length) != 0 ||
			    ::connect(s.get(), to.get(), to.length) != 0)
				return fail_errno("cannot connect");
			return s;
		});
		EXPECT_TRUE(client) << client.error().text;
		if (!client)
			return made;
		made.client = std::move(*client);
		made.server = descriptor{accept4(listener_[ipv6].get(), nullptr, nullptr, SOCK_CLOEXEC)};
		char byte = 1;
		EXPECT_EQ(write(made.client.get(), &byte, 1), 1);
		EXPECT_EQ(read(made.server.get(), &byte, 1), 1);
		EXPECT_EQ(write(made.server.get(), &byte, 1), 1);
		EXPECT_EQ(read(made.client.get(), &byte, 1), 1);
		return made;
	}
	std::vector<connection> connect_both(unsigned each = 1)
	{
		std::vector<connection> made;
		for (unsigned i = 0; i < each; ++i)
			for (const bool ipv6 : {false, true})
				made.push_back(connect(ipv6));
		return made;
	}
	template <class Connections>
	static void expect_more(const Connections &connections, unsigned subflows, double seconds = 5,
				bool at_both_ends = true)
	{
		const auto all = [&] {
			return std::ranges::all_of(connections, [&](const connection &c) {
				return c.more(at_both_ends) == subflows;
			});
		};
		EXPECT_TRUE(await(seconds, all)) << "not " << subflows << ": " << describe(connections);
		usleep(100000);
		EXPECT_TRUE(all()) << "no longer " << subflows << ": " << describe(connections);
	}

	// As many well-formed events as overrun a small buffer. `daemon` stands still meanwhile, and is left so.
	void overrun(const child &daemon)
	{
		const descriptor socket = event_socket(daemon);
		ASSERT_TRUE(socket);
		auto sender = in_namespace(lab_->client, [] { return group_sender::open(); });
		ASSERT_TRUE(sender) << sender.error().text;
		daemon.pause();
		std::vector<due_event> burst(group_sender::most_at_once);
		for (due_event &each : burst) {
			each.event.type = PM_CLOSED;
			each.event.token = 1;
			each.length = netlink::encode_event(each.event, sender->family().id, each.message);
		}
		for (int i = 0; i < 400 && memory_of(socket.get()).drops == 0; ++i)
			ASSERT_TRUE(sender->send(burst));
		ASSERT_GT(memory_of(socket.get()).drops, 0u);
	}

	expected<void> change_address(unsigned path, bool ipv6, bool add) const
	{
		return in_namespace(lab_->client, [&]() -> expected<void> {
			auto here = links::open();
			if (!here)
				return tl::unexpected(here.error());
			const std::string link = "p" + std::to_string(path);
			const pm_addr address = lab::client_address(path, ipv6);
			return add ? here->add_address(link, address) : here->remove_address(link, address);
		});
	}

	std::optional<lab> lab_;
	std::vector<std::unique_ptr<child>> daemons_;
	std::string folder_;

private:
	static constexpr std::uint16_t port_ = 443;

	void listen(bool ipv6)
	{
		auto made = in_namespace(lab_->server, [&]() -> expected<descriptor> {
			descriptor s{socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)};
			const int on = 1;
			if (ipv6)
				setsockopt(s.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
			pm_addr any{};
			if (!ipv6)
				any.bytes[10] = any.bytes[11] = 0xff;
			const auto at = to_sockaddr(any, port_);
			if (!s || bind(s.get(), at.get(), at.length) != 0 || ::listen(s.get(), 1000) != 0)
				return fail_errno("cannot listen");
			return s;
		});
		ASSERT_TRUE(made) << made.error().text;
		listener_[ipv6] = std::move(*made);
	}

	descriptor listener_[2];
	std::optional<netlink::event_source> server_events_;
};

} // namespace

TEST_P(plugin, exists_for_every_policy_and_all_go_into_one_mptcpd)
{
	std::string all;
	for (const policy_info &policy : all_policies()) {
		EXPECT_TRUE(fs::exists(GetParam().plugins + '/' + std::string{policy.name} + ".so")) << policy.name;
		all += (all.empty() ? "" : ",") + std::string{policy.name};
	}
	start_and_wait("fullmesh", {.load = all});
	EXPECT_TRUE(await(5, [&] {
		return times_said("fullmesh", "not mptcpd's path manager") == all_policies().size() - 1;
	})) << log_of("fullmesh");
	EXPECT_TRUE(says("fullmesh", "fullmesh: manages"));
	expect_more(connect_both(), 1);
}

TEST_P(plugin, fullmesh_gives_each_connection_a_subflow_from_each_address)
{
	start_and_wait("fullmesh");
	expect_more(connect_both(10), 1);
	EXPECT_FALSE(says("fullmesh", "from now on"));
}

TEST_P(plugin, ndiffports_gives_each_connection_two_subflows)
{
	start_and_wait("ndiffports");
	expect_more(connect_both(5), 1);
}

TEST_P(plugin, announce_tells_the_peer_of_addresses_which_fullmesh_there_uses)
{
	start_and_wait("announce", {.where = &lab_->server});
	start_and_wait("fullmesh");
	// Two addresses on each side. A connection over IPv6 takes subflows over IPv4 too; the kernel refuses the reverse.
	expect_more(std::array{connect(false)}, 3);
	expect_more(std::array{connect(true)}, 7);
	EXPECT_FALSE(says("announce", "from now on"));
	EXPECT_FALSE(says("fullmesh", "from now on"));
}

TEST_P(plugin, takes_its_settings_from_a_file)
{
	write_settings("ndiffports", "subflows = 4\n");
	start_and_wait("ndiffports");
	expect_more(connect_both(), 3);
}

TEST_P(plugin, uses_only_the_interfaces_that_its_settings_name)
{
	write_settings("fullmesh", "interface = p0\n");
	start_and_wait("fullmesh");
	const auto connections = connect_both();
	usleep(500000);
	expect_more(connections, 0);
}

TEST_P(plugin, refuses_to_load_with_wrong_settings_and_names_the_line)
{
	write_settings("ndiffports", "# a comment\nsubflows = many\n");
	child &daemon = start("ndiffports");
	EXPECT_TRUE(await(5, [&] { return !daemon.alive(); })); // it has no other plugin
	EXPECT_TRUE(says("ndiffports", "ndiffports.conf:2: ")) << log_of("ndiffports");
	EXPECT_TRUE(says("ndiffports", "many")) << log_of("ndiffports");
}

TEST_P(plugin, gives_their_subflows_to_connections_that_are_older_than_mptcpd)
{
	auto connections = connect_both(5);
	start_and_wait("fullmesh", {.load = "ndiffports,fullmesh"});
	expect_more(connections, 1);
	EXPECT_EQ(times_said("fullmesh", "10 MPTCP connections were opened before mptcpd"), 1u);
	std::ranges::move(connect_both(5), std::back_inserter(connections));
	expect_more(connections, 1);
}

TEST_P(plugin, loses_no_subflow_when_mptcpd_goes_deaf)
{
	write_settings("fullmesh", "buffer = 4096\n");
	child &daemon = start_and_wait("fullmesh");
	auto connections = connect_both(3);
	expect_more(connections, 1);
	ASSERT_NO_FATAL_FAILURE(overrun(daemon));
	std::ranges::move(connect_both(10), std::back_inserter(connections));
	kill(daemon.pid(), SIGCONT);
	expect_more(connections, 1);
	std::ranges::move(connect_both(10), std::back_inserter(connections));
	expect_more(connections, 1);
	EXPECT_EQ(times_said("fullmesh", "mptcpd's socket overran"), 1u);
}

TEST_P(plugin, needs_no_more_privileges_than_mptcpd_has)
{
	write_settings("fullmesh", "buffer = 4096\n");
	child &daemon = start_and_wait("fullmesh", {.only_net_admin = true});
	auto connections = connect_both();
	expect_more(connections, 1);
	ASSERT_NO_FATAL_FAILURE(overrun(daemon));
	std::ranges::move(connect_both(3), std::back_inserter(connections));
	kill(daemon.pid(), SIGCONT);
	expect_more(connections, 1);
	EXPECT_TRUE(says("fullmesh", "mptcpd's socket overran"));
}

TEST_P(plugin, lets_mptcpd_end_cleanly)
{
	for (const bool older : {false, true}) { // it has taken over then
		const auto connections = older ? connect_both() : std::vector<connection>{};
		const child &daemon = start_and_wait("fullmesh");
		EXPECT_EQ(says("fullmesh", "from now on"), older);
		kill(daemon.pid(), SIGTERM);
		siginfo_t how{};
		EXPECT_TRUE(await(5, [&] { return !daemon.alive(); }));
		EXPECT_EQ(waitid(P_PID, static_cast<id_t>(daemon.pid()), &how, WEXITED | WNOWAIT), 0);
		EXPECT_EQ(how.si_code, CLD_EXITED);
		EXPECT_EQ(how.si_status, 0);
	}
}

TEST_P(plugin, follows_addresses_that_come_and_go)
{
	start_and_wait("fullmesh");
	const auto connections = connect_both();
	expect_more(connections, 1);
	for (const bool ipv6 : {false, true})
		ASSERT_TRUE(change_address(1, ipv6, false));
	// Nothing can be sent from an address that is gone, so the server does not hear of it.
	expect_more(connections, 0, 5, false);
	for (const bool ipv6 : {false, true})
		ASSERT_TRUE(change_address(1, ipv6, true));
	expect_more(connections, 1, 5, false);
	EXPECT_FALSE(says("fullmesh", "from now on"));
}

// mptcpd's network monitor does not find the addresses of such a link again.
TEST_P(plugin, follows_a_link_that_goes_down_and_comes_back)
{
	start_and_wait("fullmesh");
	const std::array connections{connect(false)};
	expect_more(connections, 1);
	ASSERT_TRUE(in_client("ip link set p1 down"));
	expect_more(connections, 0, 5, false);
	ASSERT_TRUE(in_client("ip link set p1 up"));
	expect_more(connections, 1, 5, false);
}

// mptcpd does not tell a plugin that the kernel has refused a command: here for want of a route to an announced address.
TEST_P(plugin, tries_again_what_the_kernel_refused)
{
	const pm_addr elsewhere = ipv4(10, 9, 9, 2);
	const auto added = in_namespace(lab_->server, [&]() -> expected<void> {
		auto here = links::open();
		return here ? here->add_address("p1", elsewhere) : tl::unexpected(here.error());
	});
	ASSERT_TRUE(added) << added.error().text;
	start_and_wait("announce", {.where = &lab_->server});
	start_and_wait("fullmesh");
	std::vector<connection> connections;
	connections.push_back(connect(false));
	expect_more(connections, 3);
	ASSERT_TRUE(in_client("ip route add 10.9.9.2/32 dev p1"));
	expect_more(connections, 5, 15);
	EXPECT_FALSE(says("fullmesh", "from now on"));
}

TEST_P(plugin, does_nothing_beside_another_path_manager)
{
	write_settings("fullmesh", "buffer = 4096\n");
	auto connections = connect_both();
	child &daemon = start_and_wait("ndiffports", {.load = "fullmesh,ndiffports"});
	EXPECT_TRUE(daemon.alive());
	std::ranges::move(connect_both(), std::back_inserter(connections));
	expect_more(connections, 1); // and not two
	EXPECT_EQ(times_said("ndiffports", "from now on"), 1u);
}

INSTANTIATE_TEST_SUITE_P(mptcpd, plugin, testing::ValuesIn(installations()),
			 [](const auto &info) { return info.param.name; });
