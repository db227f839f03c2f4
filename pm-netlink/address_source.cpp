// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Listing addresses by libnl's caches, which are filled anew each time: a list is right however many notifications were
// lost. What a notification says is not read.
#include "pm-netlink/address_source.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <sys/socket.h>

#include "pm-core/address.hpp"

namespace pm::netlink {
namespace {

constexpr const char *asked = "listing the local addresses";
constexpr unsigned most_notifications = 4096; // in one changed(): more than a default receive buffer holds

using cache = std::unique_ptr<nl_cache, nl_release<nl_cache_free>>;

// Calls use(T *) for each object of a cache that holds T.
template <class T, class Use>
void for_each(const cache &all, Use &&use)
{
	for (nl_object *each = nl_cache_get_first(all.get()); each; each = nl_cache_get_next(each))
		use(reinterpret_cast<T *>(each));
}

// No bits of `address` beyond `length`.
pm_addr masked(pm_addr address, unsigned length) noexcept
{
	for (unsigned i = 0; i < 16; ++i) {
		const unsigned keep = length <= 8 * i ? 0 : std::min(length - 8 * i, 8u);
		address.bytes[i] &= static_cast<pm_u8>(0xff00u >> keep);
	}
	return address;
}

bool contains(const address_filter::prefix &prefix, const pm_addr &address) noexcept
{
	if (is_ipv4(address) && prefix.length < 96) // the notation ::ffff:a.b.c.d is ours, and nobody means it by ::/0
		return false;
	return same(masked(prefix.address, prefix.length), masked(address, prefix.length));
}

bool is_wanted(const address_filter &filter, const char *interface) noexcept
{
	return filter.interfaces.empty() ||
	       std::any_of(filter.interfaces.begin(), filter.interfaces.end(),
			   [=](const std::string &pattern) { return fnmatch(pattern.c_str(), interface, 0) == 0; });
}

bool is_wanted(const address_filter &filter, const pm_addr &address) noexcept
{
	return filter.prefixes.empty() ||
	       std::any_of(filter.prefixes.begin(), filter.prefixes.end(),
			   [&](const address_filter::prefix &prefix) { return contains(prefix, address); });
}

// One that a packet to another host may come from.
bool is_global_unicast(const pm_addr &address) noexcept
{
	const pm_u8 *b = address.bytes;
	if (is_ipv4(address))
		return b[12] != 0 && b[12] != 127 && b[12] < 224 && // RFC 1122, 3.2.1.3
		       !(b[12] == 169 && b[13] == 254); // RFC 3927
	pm_addr loopback{};
	loopback.bytes[15] = 1;
	return !same(address, pm_addr{}) && !same(address, loopback) && b[0] != 0xff &&
	       !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80); // RFC 4291, 2.4
}

bool is_in_service(rtnl_addr *entry) noexcept
{
	const unsigned flags = rtnl_addr_get_flags(entry);
	if (flags & (IFA_F_DADFAILED | IFA_F_DEPRECATED))
		return false;
	if (flags & IFA_F_TENTATIVE && !(flags & (IFA_F_OPTIMISTIC | IFA_F_NODAD)))
		return false;
	return rtnl_addr_get_scope(entry) < RT_SCOPE_LINK;
}

std::optional<pm_addr> address_of(rtnl_addr *entry) noexcept
{
	const nl_addr *local = rtnl_addr_get_local(entry);
	if (!local)
		return std::nullopt;
	const int family = nl_addr_get_family(local);
	const unsigned size = nl_addr_get_len(local);
	if (!(family == AF_INET && size == 4) && !(family == AF_INET6 && size == 16))
		return std::nullopt;
	pm_addr address = family == AF_INET ? ipv4(0, 0, 0, 0) : pm_addr{};
	std::memcpy(address.bytes + 16 - size, nl_addr_get_binary_addr(local), size);
	return address;
}

// The interfaces to use, by number, sorted.
expected<std::vector<int>> list_interfaces(nl_sock *requests, const address_filter &filter)
{
	nl_cache *made = nullptr;
	if (const int rc = rtnl_link_alloc_cache(requests, AF_UNSPEC, &made); rc < 0)
		return fail_nl(fmt::format("{}: cannot list the interfaces", asked), rc);
	const cache links(made);
	std::vector<int> found;
	for_each<rtnl_link>(links, [&](rtnl_link *link) {
		constexpr unsigned needed = IFF_UP | IFF_RUNNING;
		const unsigned flags = rtnl_link_get_flags(link);
		const char *name = rtnl_link_get_name(link);
		if ((flags & needed) == needed && !(flags & IFF_LOOPBACK) && name && is_wanted(filter, name))
			found.push_back(rtnl_link_get_ifindex(link));
	});
	std::sort(found.begin(), found.end());
	return found;
}

} // namespace

expected<address_filter::prefix> parse_prefix(const std::string &text)
{
	const auto slash = text.find('/');
	const std::string address = text.substr(0, slash);
	address_filter::prefix found;
	const bool four = inet_pton(AF_INET, address.c_str(), found.address.bytes + 12) == 1;
	if (four)
		found.address.bytes[10] = found.address.bytes[11] = 0xff;
	// A 0 byte would end the address for inet_pton, but not for us.
	if (address.find('\0') != std::string::npos ||
	    (!four && inet_pton(AF_INET6, address.c_str(), found.address.bytes) != 1))
		return fail_usage(
			fmt::format("'{}' does not begin with an address; write a prefix as 10.0.0.0/8 or fd00::/8",
				    text));
	const unsigned most = four ? 32 : 128;
	unsigned length = most;
	if (slash != std::string::npos) {
		const char *from = text.data() + slash + 1, *to = text.data() + text.size();
		const auto [end, wrong] = std::from_chars(from, to, length);
		if (wrong != std::errc{} || end != to || length > most)
			return fail_usage(
				fmt::format("the length of prefix '{}' is not a number from 0 to {}", text, most));
	}
	found.length = length + (128 - most);
	found.address = masked(found.address, found.length);
	return found;
}

expected<address_source> address_source::open(address_filter filter)
{
	auto requests = connect_netlink(NETLINK_ROUTE);
	auto news = connect_netlink(NETLINK_ROUTE);
	for (const auto *socket : {&requests, &news})
		if (!*socket)
			return fail(fmt::format("{}: {}", asked, socket->error().text));
	int rc = nl_socket_add_memberships(news->get(), RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, 0);
	if (rc == 0)
		rc = nl_socket_set_nonblocking(news->get());
	if (rc < 0)
		return fail_nl(fmt::format("{}: cannot listen for their changes", asked), rc);
	return address_source(std::move(*requests), std::move(*news), std::move(filter));
}

expected<bool> address_source::changed()
{
	bool any = false;
	for (unsigned i = 0; i < most_notifications; ++i) {
		std::byte one{}; // the rest of the message is dropped
		if (recv(fd(), &one, sizeof one, MSG_DONTWAIT) >= 0) {
			any = true;
		} else if (errno == ENOBUFS) { // told once, however many were lost
			++overruns_;
			any = true;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			break;
		} else if (errno != EINTR) {
			return fail_errno(fmt::format("{}: cannot read of their changes", asked));
		}
	}
	return any;
}

expected<std::vector<local_address>> address_source::list()
{
	const auto interfaces = list_interfaces(requests_.get(), filter_);
	if (!interfaces)
		return tl::unexpected(interfaces.error());
	nl_cache *made = nullptr;
	if (const int rc = rtnl_addr_alloc_cache(requests_.get(), &made); rc < 0)
		return fail_nl(asked, rc);
	const cache addresses(made);

	std::vector<local_address> found;
	for_each<rtnl_addr>(addresses, [&](rtnl_addr *entry) {
		const int interface = rtnl_addr_get_ifindex(entry);
		if (!std::binary_search(interfaces->begin(), interfaces->end(), interface) || !is_in_service(entry))
			return;
		const auto address = address_of(entry);
		if (address && is_global_unicast(*address) && is_wanted(filter_, *address))
			found.push_back({*address, static_cast<std::uint32_t>(interface)});
	});
	const auto precedes = [](const local_address &a, const local_address &b) {
		const int order = std::memcmp(a.address.bytes, b.address.bytes, sizeof a.address.bytes);
		return std::tuple(a.ifindex, order) < std::tuple(b.ifindex, 0);
	};
	std::sort(found.begin(), found.end(), precedes);
	// IPv4 has an address once for each prefix length that it was given with.
	found.erase(std::unique(found.begin(), found.end(),
				[&](const local_address &a, const local_address &b) { return !precedes(a, b); }),
		    found.end());
	return found;
}

namespace {

// Two interfaces may have the same address, but it has one place: the interface that is known already, or the first.
bool has_the_place(const local_address &one, const pm_namespace &known, const std::vector<local_address> &listed)
{
	std::uint32_t taken_by = 0;
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l)
		if ((known.present >> l & 1) && same(known.local[l], one.address))
			taken_by = known.ifindex[l];
	const local_address *first = nullptr;
	for (const local_address &each : listed) {
		if (!same(each.address, one.address))
			continue;
		if (each.ifindex == taken_by)
			return one.ifindex == taken_by;
		first = first ? first : &each;
	}
	return first == &one;
}

} // namespace

std::vector<pm_event> changes(const pm_namespace &known, const std::vector<local_address> &listed)
{
	std::vector<pm_event> events;
	const auto add = [&](pm_event_type type, const pm_addr &address, std::uint32_t ifindex) {
		pm_event event{};
		event.type = static_cast<pm_u8>(type);
		event.local = address;
		event.has_local = 1;
		event.ifindex = ifindex;
		events.push_back(event);
	};
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l) {
		const bool is_listed = std::any_of(listed.begin(), listed.end(), [&](const local_address &each) {
			return same(each.address, known.local[l]);
		});
		if ((known.present >> l & 1) && !is_listed)
			add(PM_LOCAL_REMOVED, known.local[l], 0);
	}
	for (const local_address &each : listed)
		if (has_the_place(each, known, listed))
			add(PM_LOCAL_ADDED, each.address, each.ifindex);
	return events;
}

} // namespace pm::netlink
