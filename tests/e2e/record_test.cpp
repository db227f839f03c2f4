// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab record in a named network namespace, while real MPTCP connections run over its loopback.
#include <map>
#include <regex>
#include <sstream>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-netlink/mptcp_info.hpp"
#include "tests/e2e/program.hpp"

namespace pm::e2e {

namespace {

using nlohmann::json;

// One end of a connection: what the path manager's events call it.
struct end {
	std::string local, remote;
	bool server;
	bool operator==(const end &) const = default;
};
std::ostream &operator<<(std::ostream &out, const end &e)
{
	return out << (e.server ? "server " : "client ") << e.local << " to " << e.remote;
}
using ends = std::map<std::uint32_t, end>; // by token

std::string name_of(const sockaddr_storage &address)
{
	char text[INET6_ADDRSTRLEN] = {};
	if (address.ss_family == AF_INET) {
		const auto &in = reinterpret_cast<const sockaddr_in &>(address);
		return inet_ntop(AF_INET, &in.sin_addr, text, sizeof text) + (':' + std::to_string(ntohs(in.sin_port)));
	}
	const auto &in = reinterpret_cast<const sockaddr_in6 &>(address);
	return std::string{"["} + inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text) +
	       "]:" + std::to_string(ntohs(in.sin6_port));
}

std::string name_of(int socket, decltype(getsockname) *whose)
{
	sockaddr_storage address{};
	socklen_t size = sizeof address;
	EXPECT_EQ(whose(socket, reinterpret_cast<sockaddr *>(&address), &size), 0);
	return name_of(address);
}

void note(ends &all, int socket, bool server)
{
	const auto info = read_mptcp_info(socket);
	ASSERT_TRUE(info);
	all[info->mptcpi_token] = {name_of(socket, getsockname), name_of(socket, getpeername), server};
}

// Opens a connection over loopback, sends a byte each way and closes it. In the namespace of the calling thread.
void connect_once(int family, ends &all)
{
	sockaddr_storage address{};
	address.ss_family = static_cast<sa_family_t>(family);
	if (family == AF_INET)
		reinterpret_cast<sockaddr_in &>(address).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		reinterpret_cast<sockaddr_in6 &>(address).sin6_addr = in6addr_loopback;
	auto *to = reinterpret_cast<sockaddr *>(&address);
	socklen_t size = sizeof address;
	const int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	ASSERT_EQ(bind(listener, to, size), 0);
	ASSERT_EQ(listen(listener, 1), 0);
	ASSERT_EQ(getsockname(listener, to, &size), 0);
	const int client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	ASSERT_EQ(connect(client, to, size), 0);
	const int server = accept(listener, nullptr, nullptr);
	char byte = 1;
	for (const auto &[from, towards] : {std::pair{client, server}, std::pair{server, client}}) {
		ASSERT_EQ(send(from, &byte, 1, 0), 1);
		ASSERT_EQ(recv(towards, &byte, 1, 0), 1);
	}
	note(all, client, false);
	note(all, server, true);
	for (const int each : {client, server, listener})
		close(each);
}

// How many MPTCP sockets this thread's namespace has.
unsigned mptcp_sockets()
{
	std::istringstream table{read_file("/proc/thread-self/net/protocols")};
	unsigned total = 0;
	for (std::string line; std::getline(table, line);) {
		std::istringstream fields{line};
		std::string name;
		unsigned size = 0, sockets = 0;
		if (fields >> name >> size >> sockets && name.starts_with("MPTCP"))
			total += sockets;
	}
	return total;
}

class recording : public command {
protected:
	void SetUp() override
	{
		command::SetUp();
		if (IsSkipped())
			return;
		ASSERT_EQ(ip("netns add " + name_), 0);
		ASSERT_EQ(ip("-n " + name_ + " link set lo up"), 0);
		ASSERT_EQ(ip("-n " + name_ + " address add 10.9.8.7/32 dev lo"), 0);
	}
	void TearDown() override
	{
		if (named_namespaces().count(name_)) {
			EXPECT_EQ(ip("netns delete " + name_), 0);
		}
		command::TearDown();
	}

	static int ip(const std::string &arguments) { return std::system(("ip " + arguments).c_str()); }

	// Waits until it records.
	process start(words options) const
	{
		words all{program(), "record", "-n", name_, "-o", "new"};
		all.insert(all.end(), options.begin(), options.end());
		return process{all, folder()};
	}

	// The file is there once it has subscribed.
	[[nodiscard]] bool records() const
	{
		return await(10, [this] { return std::filesystem::exists(path("new.part")); });
	}

	// Makes connections of both families in the namespace and waits until the kernel has done with them.
	ends connect(unsigned count) const
	{
		ends all;
		std::thread{[&] {
			const int there = open(("/run/netns/" + name_).c_str(), O_RDONLY | O_CLOEXEC);
			ASSERT_EQ(setns(there, CLONE_NEWNET), 0);
			close(there);
			for (unsigned i = 0; i < count; ++i)
				connect_once(i % 2 ? AF_INET6 : AF_INET, all);
			EXPECT_TRUE(await(10, [] { return mptcp_sockets() == 0; }));
		}}.join();
		return all;
	}

	// What the trace says of the connections of the namespace.
	[[nodiscard]] ends shown() const
	{
		ends all;
		std::map<std::uint32_t, words> stories;
		for (const std::string &line : lines_of(succeed({"show", "-j", "new"}))) {
			const json event = json::parse(line);
			const std::string what = event.at("event");
			if (!event.contains("token") || what.starts_with("listener"))
				continue;
			stories[event.at("token")].push_back(what);
			if (what == "created")
				all[event.at("token")] = {event.at("local"), event.at("remote"),
							  event.at("side") == "server"};
		}
		for (const auto &[token, story] : stories)
			EXPECT_EQ(story, (words{"created", "established", "closed"})) << token;
		return all;
	}

	std::string name_ = "pathlab-test-" + std::to_string(getpid());
};

TEST_F(recording, until_ctrl_c_has_every_event_of_every_connection)
{
	process recorder = start({"-j"});
	ASSERT_TRUE(records());
	const ends made = connect(40);
	recorder.signal_group(SIGINT);
	const outcome done = recorder.wait(20);
	EXPECT_EQ(done.status, 0) << "Ctrl-C is how it ends: " << done.err;
	EXPECT_EQ(done.err, "");
	EXPECT_EQ(files(), words{"new"});
	EXPECT_EQ(made.size(), 80u);
	EXPECT_EQ(shown(), made);

	const json counts = json::parse(done.out);
	EXPECT_EQ(counts.at("trace"), "new");
	EXPECT_EQ(counts.at("lost"), 0);
	EXPECT_EQ(counts.at("refused"), 0);
	EXPECT_EQ(counts.at("addresses"), 1) << "of the loopback interface, but not of loopback's scope";
	EXPECT_EQ(counts.at("recorded").get<std::size_t>() + 1, lines_of(succeed({"show", "new"})).size());

	const json run = json::parse(
		succeed({"replay", "new", "--through", "netlink", "--policy", "fullmesh", "--rate", "max", "-j"}));
	EXPECT_EQ(run.at("replay").at(0).at("lost").at("socket"), 0);
	EXPECT_EQ(run.at("replay").at(0).at("decisions").at("missing"), 0);
}

TEST_F(recording, ends_by_itself_when_the_time_is_up)
{
	const std::string text = succeed({"record", "-n", name_, "-d", "0.2", "-o", "new"});
	EXPECT_EQ(text, "new: 0 events and 1 local addresses recorded, 0 lost, 0 refused\n");
	EXPECT_EQ(lines_of(succeed({"show", "new"})).size(), 1u);
	EXPECT_EQ(files(), words{"new"});
}

TEST_F(recording, that_lost_events_says_how_many_and_fails)
{
	process recorder = start({"--buffer", "4096"});
	ASSERT_TRUE(records());
	recorder.signal(SIGSTOP); // a reader that is too slow
	connect(40);
	recorder.signal(SIGINT);
	recorder.signal(SIGCONT);
	const outcome done = recorder.wait(20);
	EXPECT_EQ(done.status, 1);
	EXPECT_EQ(done.out, "");
	EXPECT_TRUE(std::regex_match(done.err, std::regex{"pathlab: [^\n]*lost [1-9][0-9]* of [0-9]+ events[^\n]*\n"}))
		<< done.err;
	EXPECT_EQ(files(), words{"new"}) << "what was recorded is kept";
}

TEST_F(recording, that_is_killed_leaves_no_trace_that_looks_whole)
{
	process recorder = start({});
	ASSERT_TRUE(records());
	recorder.signal(SIGKILL);
	EXPECT_EQ(recorder.wait(20).status, 128 + SIGKILL);
	EXPECT_EQ(files(), words{"new.part"});
}

} // namespace

} // namespace pm::e2e
