// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Network namespaces, on the real kernel, as root. What is made of them is in lab_test.cpp.
#include "pm-netlink/netns.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

using namespace pm;

namespace {

// What tells one namespace from another.
ino_t identity(const netns &n)
{
	struct stat s{};
	EXPECT_EQ(::fstat(n.fd(), &s), 0);
	return s.st_ino;
}

ino_t own_identity() { return identity(netns::current().value()); }

std::ptrdiff_t open_files()
{
	namespace fs = std::filesystem;
	return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator{});
}

// A named one, as `ip netns` makes it, gone with the object.
struct named {
	std::string name = fmt::format("pathlab-test-{}", ::getpid());
	bool there = std::system(("ip netns add " + name).c_str()) == 0;
	~named() { there = std::system(("ip netns del " + name).c_str()) == 0; }
};

} // namespace

TEST(netns, creates_one_without_moving_the_caller)
{
	const ino_t before = own_identity();
	const auto n = netns::create();
	ASSERT_TRUE(n) << n.error().text;
	EXPECT_EQ(own_identity(), before);
	EXPECT_NE(identity(*n), before);
}

TEST(netns, has_loopback_up_and_nothing_else)
{
	const auto n = netns::create();
	ASSERT_TRUE(n) << n.error().text;
	const auto links = in_namespace(*n, []() -> expected<std::string> {
		std::ifstream file("/proc/thread-self/net/dev");
		std::string names;
		for (std::string line; std::getline(file, line);)
			if (const auto colon = line.find(':'); colon != std::string::npos)
				names += line.substr(0, colon);
		return names;
	});
	ASSERT_TRUE(links) << links.error().text;
	EXPECT_EQ(links->substr(links->find_first_not_of(' ')), "lo");
	const auto addresses = in_namespace(*n, []() -> expected<std::string> {
		std::ifstream file("/proc/thread-self/net/if_inet6"); // lists ::1 as soon as loopback is up
		std::string line;
		std::getline(file, line);
		return line;
	});
	ASSERT_TRUE(addresses) << addresses.error().text;
	EXPECT_NE(addresses->find("00000000000000000000000000000001"), std::string::npos);
}

TEST(netns, runs_work_inside_and_yields_its_result)
{
	const auto n = netns::create();
	ASSERT_TRUE(n) << n.error().text;
	const auto inside = in_namespace(*n, []() -> expected<ino_t> { return own_identity(); });
	ASSERT_TRUE(inside);
	EXPECT_EQ(*inside, identity(*n));
	EXPECT_NE(own_identity(), identity(*n));
}

TEST(netns, passes_on_the_error_and_the_exception_of_the_work)
{
	const auto n = netns::create();
	ASSERT_TRUE(n) << n.error().text;
	const auto failed = in_namespace(*n, []() -> expected<int> { return fail("as asked"); });
	ASSERT_FALSE(failed);
	EXPECT_EQ(failed.error().text, "as asked");
	const auto thrown = in_namespace(*n, []() -> expected<void> { throw std::runtime_error("thrown"); });
	ASSERT_FALSE(thrown);
	EXPECT_EQ(thrown.error().text, "thrown");
}

TEST(netns, enters_with_the_calling_thread_only)
{
	const auto n = netns::create();
	ASSERT_TRUE(n) << n.error().text;
	ino_t inside = 0;
	std::thread([&] {
		const auto entered = n->enter();
		EXPECT_TRUE(entered);
		inside = own_identity();
	}).join();
	EXPECT_EQ(inside, identity(*n));
	EXPECT_NE(own_identity(), identity(*n));
}

TEST(netns, sets_and_reads_the_sysctls_of_the_namespace_and_of_no_other)
{
	const auto a = netns::create(), b = netns::create();
	ASSERT_TRUE(a && b);
	ASSERT_TRUE(a->set_sysctl("net.ipv4.tcp_fin_timeout", "7"));
	ASSERT_TRUE(b->set_sysctl("net/ipv4/tcp_fin_timeout", "8"));
	EXPECT_EQ(a->get_sysctl("net/ipv4/tcp_fin_timeout").value(), "7");
	EXPECT_EQ(b->get_sysctl("net.ipv4.tcp_fin_timeout").value(), "8");
	const auto here = netns::current().value().get_sysctl("net.ipv4.tcp_fin_timeout").value();
	EXPECT_TRUE(here != "7" && here != "8") << here;
}

TEST(netns, refuses_a_sysctl_that_is_absent_or_the_machines_own)
{
	const auto n = netns::create();
	ASSERT_TRUE(n) << n.error().text;
	for (const char *name :
	     {"net.no.such", "kernel.pid_max", "net/../kernel/pid_max", "", "vm/overcommit_memory"}) {
		EXPECT_FALSE(n->get_sysctl(name)) << name;
		const auto set = n->set_sysctl(name, "1");
		ASSERT_FALSE(set) << name;
		EXPECT_NE(set.error().text.find(name), std::string::npos) << set.error().text;
	}
	EXPECT_FALSE(n->set_sysctl("net.ipv4.tcp_fin_timeout", "soon"));
}

TEST(netns, opens_one_by_its_name)
{
	const named created;
	ASSERT_TRUE(created.there);
	const auto n = netns::open(created.name);
	ASSERT_TRUE(n) << n.error().text;
	EXPECT_NE(identity(*n), own_identity());
	EXPECT_TRUE(n->get_sysctl("net.ipv4.tcp_fin_timeout"));
}

TEST(netns, says_which_name_does_not_exist_and_what_shows_those_that_do)
{
	const auto n = netns::open("no-such-namespace");
	ASSERT_FALSE(n);
	EXPECT_NE(n.error().text.find("network namespace 'no-such-namespace' does not exist"), std::string::npos);
	EXPECT_NE(n.error().text.find("ip netns list"), std::string::npos);
}

TEST(netns, refuses_names_that_lead_elsewhere)
{
	for (const char *name : {"", ".", "..", "a/b", "/proc/1/ns/net", "../../proc/self/ns/net"})
		EXPECT_FALSE(netns::open(name)) << name;
}

TEST(netns, closes_its_files)
{
	const auto before = open_files();
	{
		auto a = netns::create();
		ASSERT_TRUE(a);
		netns b = std::move(*a);
		b = netns::current().value();
		EXPECT_FALSE(b.get_sysctl("net.no.such"));
		EXPECT_EQ(open_files(), before + 1);
	}
	EXPECT_EQ(open_files(), before);
}

TEST(netns, says_in_one_sentence_that_privilege_is_missing)
{
	const auto unprivileged = [] {
		if (::setgid(65534) != 0 || ::setuid(65534) != 0)
			::_exit(2);
		const auto n = netns::create();
		::_exit(!n && n.error().text.find("run as root") != std::string::npos ? 0 : 1);
	};
	EXPECT_EXIT(unprivileged(), testing::ExitedWithCode(0), "");
}
