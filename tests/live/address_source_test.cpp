// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Local addresses of a namespace of the test's own: which are listed, and that no change goes unnoticed.
#include "pm-netlink/address_source.hpp"

#include <array>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "pm-core/locals.hpp"
#include "pm-netlink/netns.hpp"
#include "replay/links.hpp"
#include "tests/support/must.hpp"

namespace {

using namespace pm;
using namespace pm::netlink;
using namespace pm::replay;
using pm::test::must;

pm_addr address(const std::string &text) { return must(parse_prefix(text)).address; }

std::string text(const pm_addr &address)
{
	std::array<char, INET6_ADDRSTRLEN> out{};
	if (is_ipv4(address))
		inet_ntop(AF_INET, address.bytes + 12, out.data(), out.size());
	else
		inet_ntop(AF_INET6, address.bytes, out.data(), out.size());
	return out.data();
}

using listed = std::vector<std::string>; // "INTERFACE ADDRESS"

// Two veth pairs to another namespace, all up. The test's thread is in the namespace where it looks.
class address_source_live : public testing::Test {
protected:
	netns before = must(netns::current());
	netns here = must(netns::create()), there = must(netns::create());

	void SetUp() override
	{
		must(here.enter());
		must(here.set_sysctl("net.ipv6.conf.default.dad_transmits", "100")); // 100 s in which it is tentative
		auto made = must(links::open());
		for (const char *name : {"v0", "v1"}) {
			must(made.add_veth(name, name, &there));
			must(made.bring_up(name));
			must(in_namespace(there,
					  [&]() -> expected<void> { return must(links::open()).bring_up(name); }));
		}
	}
	void TearDown() override { must(before.enter()); }

	static void add(const std::string &interface, const std::string &what,
			links::prefix length = links::prefix::subnet)
	{
		must(must(links::open()).add_address(interface, address(what), length));
	}
	static void remove(const std::string &interface, const std::string &what)
	{
		must(must(links::open()).remove_address(interface, address(what)));
	}
	// As `ip address add` has it, with what links::add_address() does not offer.
	template <class Change>
	static void add_with(const std::string &interface, const std::string &what, Change &&change)
	{
		const auto socket = must(connect_netlink(NETLINK_ROUTE));
		const pm_addr a = address(what);
		const bool four = is_ipv4(a);
		const std::unique_ptr<nl_addr, nl_release<nl_addr_put>> local(
			nl_addr_build(four ? AF_INET : AF_INET6, four ? a.bytes + 12 : a.bytes, four ? 4 : 16));
		const std::unique_ptr<rtnl_addr, nl_release<rtnl_addr_put>> entry(rtnl_addr_alloc());
		nl_addr_set_prefixlen(local.get(), four ? 24 : 64);
		rtnl_addr_set_ifindex(entry.get(), static_cast<int>(if_nametoindex(interface.c_str())));
		rtnl_addr_set_local(entry.get(), local.get());
		change(entry.get());
		if (const int rc = rtnl_addr_add(socket.get(), entry.get(), NLM_F_CREATE | NLM_F_REPLACE); rc < 0)
			throw std::runtime_error(nl_geterror(rc));
	}
	static unsigned flags_of(const std::string &interface, const std::string &what)
	{
		const auto socket = must(connect_netlink(NETLINK_ROUTE));
		nl_cache *made = nullptr;
		if (rtnl_addr_alloc_cache(socket.get(), &made) < 0)
			throw std::runtime_error("cannot list addresses");
		const std::unique_ptr<nl_cache, nl_release<nl_cache_free>> all(made);
		const pm_addr a = address(what);
		const std::unique_ptr<nl_addr, nl_release<nl_addr_put>> local(nl_addr_build(AF_INET6, a.bytes, 16));
		nl_addr_set_prefixlen(local.get(), 64); // as links::add_address() and add_with() give it
		const std::unique_ptr<rtnl_addr, nl_release<rtnl_addr_put>> found(
			rtnl_addr_get(made, static_cast<int>(if_nametoindex(interface.c_str())), local.get()));
		return found ? rtnl_addr_get_flags(found.get()) : 0;
	}
	static void set_up(const char *interface, bool up)
	{
		const descriptor any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		ifreq request{};
		std::strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
		if (up)
			request.ifr_flags = IFF_UP;
		ASSERT_EQ(::ioctl(any.get(), SIOCSIFFLAGS, &request), 0);
	}

	static listed list(address_source &source)
	{
		listed all;
		for (const local_address &each : must(source.list())) {
			std::array<char, IF_NAMESIZE> name{};
			::if_indextoname(each.ifindex, name.data());
			all.push_back(std::string(name.data()) + " " + text(each.address));
		}
		return all;
	}
	// The news of an IPv6 address come a little after the command that adds it has returned.
	static bool hears(address_source &source)
	{
		pollfd waiting{source.fd(), POLLIN, 0};
		return ::poll(&waiting, 1, 5000) == 1 && must(source.changed());
	}
	// Lists again with each change; what there is after 10 s without becoming `wanted`.
	static listed list_until(address_source &source, const listed &wanted)
	{
		listed now;
		for (int waits = 0; waits < 100; ++waits) {
			(void)must(source.changed());
			now = list(source);
			if (now == wanted)
				break;
			pollfd waiting{source.fd(), POLLIN, 0};
			::poll(&waiting, 1, 100);
		}
		return now;
	}
	static address_source open(std::vector<std::string> interfaces = {},
				   const std::vector<std::string> &prefixes = {})
	{
		address_filter filter{std::move(interfaces), {}};
		for (const std::string &prefix : prefixes)
			filter.prefixes.push_back(must(parse_prefix(prefix)));
		return must(address_source::open(std::move(filter)));
	}
};

TEST_F(address_source_live, lists_nothing_where_there_is_only_loopback_and_link_local)
{
	add("lo", "10.9.9.9");
	add("v0", "169.254.1.1");
	add("v0", "fe80::1234");
	auto source = open();
	EXPECT_EQ(list_until(source, {}), listed{});
}

TEST_F(address_source_live, lists_addresses_in_the_order_of_interface_and_address)
{
	add("v1", "10.0.0.9");
	add("v0", "fd00::2");
	add("v0", "10.0.1.3");
	add("v0", "10.0.1.2");
	add("v0", "fd00::1");
	const listed all = {"v0 10.0.1.2", "v0 10.0.1.3", "v0 fd00::1", "v0 fd00::2", "v1 10.0.0.9"};
	auto source = open();
	EXPECT_EQ(list_until(source, all), all);
}

TEST_F(address_source_live, lists_an_address_of_two_prefix_lengths_once)
{
	add("v0", "10.0.1.2", links::prefix::subnet);
	add("v0", "10.0.1.2", links::prefix::host);
	auto source = open();
	EXPECT_EQ(list_until(source, {"v0 10.0.1.2"}), listed{"v0 10.0.1.2"});
}

TEST_F(address_source_live, an_address_of_two_interfaces_is_the_one_s_that_had_it_first)
{
	add("v1", "10.0.1.2");
	auto source = open();
	pm_namespace known{};
	pm_result result{};
	const auto take = [&] {
		std::string changed;
		for (const pm_event &event : changes(known, must(source.list()))) {
			fold_namespace(known, event, result);
			changed += result.status == PM_LOCALS_CHANGED ? '+' : '.';
		}
		return changed;
	};
	EXPECT_EQ(take(), "+");
	add("v0", "10.0.1.2");
	ASSERT_EQ(list_until(source, {"v0 10.0.1.2", "v1 10.0.1.2"}).size(), 2u);
	EXPECT_EQ(take(), ".");
	EXPECT_EQ(known.ifindex[0], if_nametoindex("v1"));
	remove("v1", "10.0.1.2");
	EXPECT_EQ(take(), "+");
	EXPECT_EQ(known.ifindex[0], if_nametoindex("v0"));
}

TEST_F(address_source_live, tells_of_addresses_that_come_and_go)
{
	auto source = open();
	list_until(source, {});
	add("v0", "10.0.1.2");
	EXPECT_TRUE(hears(source));
	EXPECT_EQ(list_until(source, {"v0 10.0.1.2"}), listed{"v0 10.0.1.2"});
	add("v1", "fd00::2");
	EXPECT_TRUE(hears(source));
	EXPECT_EQ(list_until(source, {"v0 10.0.1.2", "v1 fd00::2"}), (listed{"v0 10.0.1.2", "v1 fd00::2"}));
	remove("v0", "10.0.1.2");
	EXPECT_TRUE(hears(source));
	EXPECT_EQ(list_until(source, {"v1 fd00::2"}), listed{"v1 fd00::2"});
	EXPECT_EQ(source.overruns(), 0u);
}

TEST_F(address_source_live, leaves_out_an_interface_while_it_is_down)
{
	add("v0", "10.0.1.2");
	add("v1", "10.0.2.2");
	const listed both = {"v0 10.0.1.2", "v1 10.0.2.2"};
	auto source = open();
	ASSERT_EQ(list_until(source, both), both);
	set_up("v0", false);
	EXPECT_TRUE(hears(source));
	EXPECT_EQ(list(source), listed{"v1 10.0.2.2"});
	set_up("v0", true);
	EXPECT_EQ(list_until(source, both), both);
}

TEST_F(address_source_live, leaves_out_an_interface_while_its_peer_is_down)
{
	add("v0", "10.0.1.2");
	add("v1", "10.0.2.2");
	const listed both = {"v0 10.0.1.2", "v1 10.0.2.2"};
	auto source = open();
	ASSERT_EQ(list_until(source, both), both);
	for (const bool up : {false, true}) {
		must(in_namespace(there, [&]() -> expected<void> {
			set_up("v0", up);
			return {};
		}));
		const listed wanted = up ? both : listed{"v1 10.0.2.2"};
		EXPECT_EQ(list_until(source, wanted), wanted);
	}
}

TEST_F(address_source_live, leaves_out_deprecated_addresses)
{
	const auto deprecate = [](rtnl_addr *entry) {
		rtnl_addr_set_valid_lifetime(entry, 1000);
		rtnl_addr_set_preferred_lifetime(entry, 0);
		rtnl_addr_set_flags(entry, IFA_F_NODAD);
	};
	for (const char *each : {"10.0.1.2", "fd00::2", "10.0.1.3", "fd00::3"})
		add("v0", each);
	const listed all = {"v0 10.0.1.2", "v0 10.0.1.3", "v0 fd00::2", "v0 fd00::3"};
	auto source = open();
	ASSERT_EQ(list_until(source, all), all);
	add_with("v0", "10.0.1.3", deprecate);
	add_with("v0", "fd00::3", deprecate);
	EXPECT_TRUE(hears(source));
	EXPECT_EQ(list(source), (listed{"v0 10.0.1.2", "v0 fd00::2"}));
}

TEST_F(address_source_live, leaves_out_tentative_addresses)
{
	add("v0", "fd00::2");
	auto source = open();
	ASSERT_EQ(list_until(source, {"v0 fd00::2"}), listed{"v0 fd00::2"});
	add_with("v0", "fd00::3", [](rtnl_addr *) {});
	ASSERT_TRUE(flags_of("v0", "fd00::3") & IFA_F_TENTATIVE);
	EXPECT_EQ(list(source), listed{"v0 fd00::2"});
}

TEST_F(address_source_live, lists_an_address_once_it_is_not_tentative_any_more)
{
	must(here.set_sysctl("net.ipv6.conf.v0.dad_transmits", "1"));
	auto source = open();
	list_until(source, {});
	add_with("v0", "fd00::3", [](rtnl_addr *) {});
	EXPECT_EQ(list_until(source, {"v0 fd00::3"}), listed{"v0 fd00::3"});
}

TEST_F(address_source_live, leaves_out_an_address_that_somebody_else_has)
{
	must(here.set_sysctl("net.ipv6.conf.v0.dad_transmits", "1"));
	must(in_namespace(there, []() -> expected<void> {
		return must(links::open()).add_address("v0", address("fd00::3"));
	}));
	add("v0", "fd00::2");
	auto source = open();
	ASSERT_EQ(list_until(source, {"v0 fd00::2"}), listed{"v0 fd00::2"});
	add_with("v0", "fd00::3", [](rtnl_addr *) {});
	for (int waits = 0; waits < 100 && !(flags_of("v0", "fd00::3") & IFA_F_DADFAILED); ++waits) {
		pollfd waiting{source.fd(), POLLIN, 0};
		::poll(&waiting, 1, 100);
		(void)must(source.changed());
	}
	ASSERT_TRUE(flags_of("v0", "fd00::3") & IFA_F_DADFAILED);
	EXPECT_EQ(list(source), listed{"v0 fd00::2"});
}

TEST_F(address_source_live, leaves_out_addresses_of_the_scope_of_a_link)
{
	add("v0", "10.0.1.2");
	add_with("v0", "10.0.2.3", [](rtnl_addr *entry) { rtnl_addr_set_scope(entry, RT_SCOPE_LINK); });
	add_with("v0", "10.0.3.4", [](rtnl_addr *entry) { rtnl_addr_set_scope(entry, RT_SCOPE_HOST); });
	auto source = open();
	EXPECT_EQ(list_until(source, {"v0 10.0.1.2"}), listed{"v0 10.0.1.2"});
}

TEST_F(address_source_live, is_filtered_by_interface_and_prefix)
{
	add("v0", "10.0.1.2");
	add("v0", "fd00::2");
	add("v1", "10.1.2.2");
	add("v1", "fd01::2");
	const listed all = {"v0 10.0.1.2", "v0 fd00::2", "v1 10.1.2.2", "v1 fd01::2"};
	auto unfiltered = open();
	ASSERT_EQ(list_until(unfiltered, all), all);

	const struct {
		std::vector<std::string> interfaces, prefixes;
		listed wanted;
	} cases[] = {
		{{"v0"}, {}, {"v0 10.0.1.2", "v0 fd00::2"}},
		{{"v*"}, {}, all},
		{{"v[1-9]", "eth0"}, {}, {"v1 10.1.2.2", "v1 fd01::2"}},
		{{"v"}, {}, {}},
		{{"lo"}, {}, {}},
		{{}, {"10.0.0.0/8"}, {"v0 10.0.1.2", "v1 10.1.2.2"}},
		{{}, {"10.0.0.0/16", "fd01::/16"}, {"v0 10.0.1.2", "v1 fd01::2"}},
		{{}, {"fd00::/15"}, {"v0 fd00::2", "v1 fd01::2"}},
		{{}, {"0.0.0.0/0"}, {"v0 10.0.1.2", "v1 10.1.2.2"}},
		{{}, {"::/0"}, {"v0 fd00::2", "v1 fd01::2"}},
		{{}, {"10.1.2.2"}, {"v1 10.1.2.2"}},
		{{}, {"10.1.2.3"}, {}},
		{{"v0"}, {"10.1.0.0/16"}, {}},
		{{"v1"}, {"10.0.0.0/8"}, {"v1 10.1.2.2"}},
	};
	for (const auto &[interfaces, prefixes, wanted] : cases) {
		auto source = open(interfaces, prefixes);
		EXPECT_EQ(list(source), wanted)
			<< testing::PrintToString(interfaces) << testing::PrintToString(prefixes);
	}
}

TEST_F(address_source_live, says_nothing_has_changed_when_nothing_has)
{
	add("v0", "10.0.1.2");
	auto source = open();
	EXPECT_EQ(list_until(source, {"v0 10.0.1.2"}), listed{"v0 10.0.1.2"});
	set_up("v1", false); // no late news of links that come up
	while (must(source.changed()))
		;
	const listed once = list(source);
	EXPECT_EQ(list(source), once);
}

TEST_F(address_source_live, notices_that_it_lost_notifications_and_lists_what_is_true)
{
	add("v0", "10.0.1.2");
	add("v1", "10.0.3.2");
	auto source = open();
	const listed first = {"v0 10.0.1.2", "v1 10.0.3.2"};
	ASSERT_EQ(list_until(source, first), first);
	const int small = 1;
	ASSERT_EQ(::setsockopt(source.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	for (int i = 0; i < 100; ++i) {
		add("v1", "10.0.2.2");
		remove("v1", "10.0.2.2");
	}
	add("v1", "10.0.2.3");
	EXPECT_TRUE(hears(source));
	EXPECT_GE(source.overruns(), 1u);
	EXPECT_EQ(list(source), (listed{"v0 10.0.1.2", "v1 10.0.2.3", "v1 10.0.3.2"}));
	// And it hears again.
	const auto lost = source.overruns();
	add("v1", "10.0.2.4");
	EXPECT_TRUE(hears(source));
	EXPECT_EQ(source.overruns(), lost);
}

struct prefix_case {
	const char *text;
	const char *address;
	unsigned length;
};

TEST(prefix, is_an_address_and_how_many_of_its_bits_count)
{
	for (const auto &[given, wanted, length] : {
		     prefix_case{"10.0.0.0/8", "10.0.0.0", 104},
		     prefix_case{"10.1.2.3/8", "10.0.0.0", 104},
		     prefix_case{"10.1.2.3/31", "10.1.2.2", 127},
		     prefix_case{"10.1.2.3", "10.1.2.3", 128},
		     prefix_case{"0.0.0.0/0", "0.0.0.0", 96},
		     prefix_case{"fd00::/8", "fd00::", 8},
		     prefix_case{"fdff::1/9", "fd80::", 9},
		     prefix_case{"fd00::1", "fd00::1", 128},
		     prefix_case{"::/0", "::", 0},
		     prefix_case{"::ffff:10.1.2.3", "10.1.2.3", 128},
	     }) {
		const auto prefix = parse_prefix(given);
		ASSERT_TRUE(prefix) << given << ": " << prefix.error().text;
		EXPECT_EQ(text(prefix->address), wanted) << given;
		EXPECT_EQ(prefix->length, length) << given;
	}
}

TEST(prefix, is_refused_with_what_is_right)
{
	const struct {
		std::string text, error;
	} cases[] = {
		{"", "'' does not begin with an address; write a prefix as 10.0.0.0/8 or fd00::/8"},
		{"eth0", "'eth0' does not begin with an address; write a prefix as 10.0.0.0/8 or fd00::/8"},
		{"10.0.0/8", "'10.0.0/8' does not begin with an address; write a prefix as 10.0.0.0/8 or fd00::/8"},
		{"/8", "'/8' does not begin with an address; write a prefix as 10.0.0.0/8 or fd00::/8"},
		{"10.0.0.0/33", "the length of prefix '10.0.0.0/33' is not a number from 0 to 32"},
		{"10.0.0.0/", "the length of prefix '10.0.0.0/' is not a number from 0 to 32"},
		{"10.0.0.0/-1", "the length of prefix '10.0.0.0/-1' is not a number from 0 to 32"},
		{"10.0.0.0/8x", "the length of prefix '10.0.0.0/8x' is not a number from 0 to 32"},
		{"fd00::/129", "the length of prefix 'fd00::/129' is not a number from 0 to 128"},
		{"fd00::/99999999999", "the length of prefix 'fd00::/99999999999' is not a number from 0 to 128"},
	};
	for (const auto &[given, wanted] : cases) {
		const auto prefix = parse_prefix(given);
		ASSERT_FALSE(prefix) << given;
		EXPECT_EQ(prefix.error().text, wanted);
	}
}

} // namespace
