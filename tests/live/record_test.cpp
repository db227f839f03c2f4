// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A recording of real connections equals what the load generator did, event for event. As root, on the real kernel.
//
// What the client's kernel (6.18, in-kernel path manager, two paths, both families announced) says of a connection:
// CREATED, ESTABLISHED, ANNOUNCED, a SUB_ESTABLISHED for each further subflow, ANNOUNCED, CLOSED. The initial subflow
// has no SUB_ESTABLISHED, subflows that end with their connection have no SUB_CLOSED, and an ANNOUNCED may come after
// CLOSED. An ADD_ADDR that comes while the client is busy with another is dropped behind its ANNOUNCED; the server
// repeats it after a quarter of a second or so, and it is announced again.
#include "replay/record.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "pm-core/address.hpp"
#include "replay/load.hpp"
#include "replay/trace.hpp"
#include "tests/support/kernel.hpp"

using namespace pm;
using namespace pm::replay;

namespace {

// A file that is gone with the object.
struct trace_file {
	std::string path = fmt::format("{}/pathlab-record-{}.pcap", testing::TempDir(), ::getpid());
	~trace_file()
	{
		std::filesystem::remove(path);
		std::filesystem::remove(path + ".part");
	}
};

descriptor make_stop() { return descriptor(::eventfd(0, EFD_CLOEXEC)); }

void stop(const descriptor &fd)
{
	const std::uint64_t one = 1;
	EXPECT_EQ(::write(fd.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
}

struct recording {
	load_report load;
	expected<record_counters> counters;
};

// The recorder on a thread of its own while the load runs.
expected<recording> record(const lab &l, const load_options &options, const std::string &path)
{
	auto r = in_namespace(l.client, [&] { return recorder::start(path); });
	if (!r)
		return tl::unexpected(r.error());
	const descriptor stop_fd = make_stop();
	auto ran = std::async(std::launch::async,
			      [&] { return in_namespace(l.client, [&] { return r->run(stop_fd.get(), 0); }); });
	auto load = run_load(l, options);
	stop(stop_fd);
	if (auto result = ran.get(); !result)
		return tl::unexpected(result.error());
	auto counters = r->finish();
	if (!load)
		return tl::unexpected(load.error());
	return recording{std::move(*load), std::move(counters)};
}

// The events of a trace, by connection; those about the namespace under token 0.
using events_by_token = std::map<std::uint32_t, std::vector<pm_event>>;

expected<events_by_token> read_back(const std::string &path)
{
	auto reader = trace_reader::open(path);
	if (!reader)
		return tl::unexpected(reader.error());
	events_by_token events;
	for (;;) {
		const auto next = reader->next();
		if (!next)
			return tl::unexpected(next.error());
		if (!*next)
			return events;
		events[(*next)->event.token].push_back((*next)->event);
	}
}

unsigned count(const std::vector<pm_event> &events, pm_event_type type)
{
	return static_cast<unsigned>(
		std::count_if(events.begin(), events.end(), [&](const pm_event &e) { return e.type == type; }));
}

std::size_t place_of(const std::vector<pm_event> &events, pm_event_type type)
{
	return static_cast<std::size_t>(
		std::find_if(events.begin(), events.end(), [&](const pm_event &e) { return e.type == type; }) -
		events.begin());
}

// Whether `address` is one of the two of a side on a path.
bool on_path(const pm_addr &address, pm_addr (*side)(unsigned, bool), unsigned path)
{
	return same(address, side(path, false)) || same(address, side(path, true));
}

// CREATED and ESTABLISHED, first and in this order, one CLOSED, and the addresses and ports of the socket.
void expect_life(const made_connection &c, const std::vector<pm_event> &events)
{
	ASSERT_GE(events.size(), 3u);
	EXPECT_EQ(events[0].type, PM_CREATED);
	EXPECT_EQ(events[1].type, PM_ESTABLISHED);
	for (const pm_event_type type : {PM_CREATED, PM_ESTABLISHED, PM_CLOSED})
		EXPECT_EQ(count(events, type), 1u) << int{type};
	for (std::size_t i = 0; i < 2; ++i) {
		EXPECT_TRUE(events[i].has_local && same(events[i].local, c.local));
		EXPECT_TRUE(events[i].has_remote && same(events[i].remote, c.remote));
		EXPECT_EQ(events[i].local_port, c.local_port);
		EXPECT_EQ(events[i].remote_port, c.remote_port);
		EXPECT_EQ(events[i].local_id, 0);
		EXPECT_EQ(events[i].remote_id, 0);
		EXPECT_EQ(events[i].flags & PM_SERVER_SIDE, 0);
	}
	EXPECT_TRUE(std::is_sorted(events.begin(), events.end(),
				   [](const pm_event &a, const pm_event &b) { return a.time_ns < b.time_ns; }));
}

void expect_subflows(const made_connection &c, const std::vector<pm_event> &events)
{
	// Older kernels count a join that is under way when the connection closes.
	if (pm::test::kernel_is_at_least(6, 18))
		EXPECT_EQ(count(events, PM_SUB_ESTABLISHED), c.subflows);
	else
		EXPECT_LE(count(events, PM_SUB_ESTABLISHED), c.subflows);
	const std::size_t closed = place_of(events, PM_CLOSED);
	for (std::size_t i = 0; i < events.size(); ++i) {
		const pm_event &e = events[i];
		if (e.type != PM_SUB_ESTABLISHED)
			continue;
		EXPECT_LT(i, closed);
		EXPECT_TRUE(on_path(e.local, lab::client_address, 1)); // the client's endpoints are on path 1
		EXPECT_TRUE(on_path(e.remote, lab::server_address, 0) || on_path(e.remote, lab::server_address, 1));
		EXPECT_EQ(is_ipv4(e.local), is_ipv4(e.remote));
		EXPECT_EQ(e.remote_port, load_port);
		EXPECT_NE(e.local_port, 0);
		EXPECT_EQ(e.error, 0);
	}
}

// Every address that the server announced, and no other; some more than once.
void expect_announcements(const made_connection &c, const std::vector<pm_event> &events)
{
	std::set<unsigned> ids;
	for (const pm_event &e : events) {
		if (e.type != PM_ANNOUNCED)
			continue;
		EXPECT_TRUE(e.has_remote && on_path(e.remote, lab::server_address, 1));
		EXPECT_NE(e.remote_id, 0);
		ids.insert(e.remote_id);
	}
	// Older kernels lose one now and then: it arrived while another one was pending, and is not sent again.
	if (pm::test::kernel_is_at_least(6, 18))
		EXPECT_EQ(ids.size(), c.announced);
	else
		EXPECT_LE(ids.size(), c.announced);
}

// How many ADD_ADDR the namespace has received, repeated ones included: as many as it has emitted ANNOUNCED.
expected<std::uint64_t> add_addr_received(const netns &where)
{
	return in_namespace(where, []() -> expected<std::uint64_t> {
		std::ifstream file("/proc/thread-self/net/netstat");
		for (std::string names, values; std::getline(file, names) && std::getline(file, values);) {
			std::istringstream name_words(names), value_words(values);
			for (std::string name, value; name_words >> name && value_words >> value;)
				if (names.starts_with("MPTcpExt") && name == "AddAddr")
					return std::stoull(value);
		}
		return fail("/proc/net/netstat does not count ADD_ADDR");
	});
}

// What the client's kernel must have emitted for the load, by the accounts of its sockets and its own.
std::uint64_t events_of(const lab &l, const load_report &report)
{
	const auto announced = add_addr_received(l.client);
	EXPECT_TRUE(announced) << announced.error().text;
	std::uint64_t total = announced.value_or(0);
	for (const made_connection &c : report.connections)
		total += 3u + c.subflows;
	return total;
}

} // namespace

TEST(record, equals_what_the_load_generator_did_event_for_event)
{
	const auto l = lab::create({.paths = 2});
	ASSERT_TRUE(l) << l.error().text;
	const trace_file file;
	// Held for long, so that a busy machine, too, opens every subflow before the end.
	const auto done = record(*l, {.connections = 400, .rate = 400, .hold_ms = 300}, file.path);
	ASSERT_TRUE(done) << done.error().text;
	ASSERT_TRUE(done->counters) << done->counters.error().text;
	EXPECT_EQ(done->counters->lost, 0u);
	EXPECT_EQ(done->counters->refused, 0u);
	ASSERT_EQ(done->load.made, 400u) << done->load.first_failure;

	auto events = read_back(file.path);
	ASSERT_TRUE(events) << events.error().text;
	std::uint64_t total = 0;
	for (const made_connection &c : done->load.connections) {
		SCOPED_TRACE(fmt::format("token {:08x}", c.token));
		const auto &mine = (*events)[c.token];
		expect_life(c, mine);
		expect_subflows(c, mine);
		expect_announcements(c, mine);
		EXPECT_EQ(mine.size(),
			  3u + count(mine, PM_SUB_ESTABLISHED) + count(mine, PM_ANNOUNCED)); // and nothing else
		EXPECT_GE(c.subflows, 1);
		EXPECT_EQ(c.announced, 2);
		total += mine.size();
	}
	if (pm::test::kernel_is_at_least(6, 18)) {
		EXPECT_EQ(total, events_of(*l, done->load));
	}
	EXPECT_EQ(done->counters->recorded, total);
	EXPECT_EQ(events->size() - events->count(0), 400u); // no foreign token
}

TEST(record, begins_with_the_addresses_of_the_namespace)
{
	const auto l = lab::create({.paths = 2});
	ASSERT_TRUE(l) << l.error().text;
	const trace_file file;
	const auto done = record(*l, {.connections = 2, .hold_ms = 0}, file.path);
	ASSERT_TRUE(done) << done.error().text;
	ASSERT_TRUE(done->counters) << done->counters.error().text;
	auto events = read_back(file.path);
	ASSERT_TRUE(events) << events.error().text;
	const auto &addresses = (*events)[0];
	EXPECT_EQ(addresses.size(), 4u);
	EXPECT_EQ(done->counters->addresses, 4u);
	for (unsigned path = 0; path < 2; ++path)
		for (const bool ipv6 : {false, true})
			EXPECT_EQ(std::count_if(addresses.begin(), addresses.end(),
						[&](const pm_event &e) {
							return e.type == PM_LOCAL_ADDED && e.ifindex != 0 &&
							       same(e.local, lab::client_address(path, ipv6));
						}),
				  1)
				<< "path " << path << (ipv6 ? " IPv6" : " IPv4");
}

TEST(record, keeps_the_order_of_connections_that_close_at_once)
{
	const auto l = lab::create({.paths = 2});
	ASSERT_TRUE(l) << l.error().text;
	const trace_file file;
	const auto done = record(*l, {.connections = 1000, .rate = 1e6, .hold_ms = 0}, file.path);
	ASSERT_TRUE(done) << done.error().text;
	ASSERT_TRUE(done->counters) << done->counters.error().text;
	ASSERT_EQ(done->load.made, 1000u) << done->load.first_failure;
	auto events = read_back(file.path);
	ASSERT_TRUE(events) << events.error().text;
	for (const made_connection &c : done->load.connections) {
		SCOPED_TRACE(fmt::format("token {:08x}", c.token));
		const auto &mine = (*events)[c.token];
		expect_life(c, mine);
		// The peer's announcements are reported even after CLOSED, and nothing else is.
		for (std::size_t i = place_of(mine, PM_CLOSED) + 1; i < mine.size(); ++i)
			EXPECT_EQ(mine[i].type, PM_ANNOUNCED);
	}
	EXPECT_EQ(events->size() - events->count(0), 1000u);
}

TEST(record, fails_with_the_number_of_events_that_a_small_buffer_lost_and_keeps_the_rest)
{
	const auto l = lab::create({.paths = 2});
	ASSERT_TRUE(l) << l.error().text;
	const trace_file file;
	// Nobody reads while the load runs.
	auto r = in_namespace(l->client, [&] { return recorder::start(file.path, 16384); });
	ASSERT_TRUE(r) << r.error().text;
	const auto load = run_load(*l, {.connections = 200, .rate = 400, .hold_ms = 300});
	ASSERT_TRUE(load) << load.error().text;
	ASSERT_EQ(load->made, 200u) << load->first_failure;
	const descriptor stop_fd = make_stop();
	stop(stop_fd);
	const auto ran = r->run(stop_fd.get(), 0);
	ASSERT_TRUE(ran) << ran.error().text;
	const auto counters = r->finish();
	ASSERT_FALSE(counters);
	const auto events = read_back(file.path);
	ASSERT_TRUE(events) << events.error().text;
	std::uint64_t kept = 0;
	for (const auto &[token, mine] : *events)
		kept += token != 0 ? mine.size() : 0;
	EXPECT_GT(kept, 0u);
	std::string text = counters.error().text;
	if (const auto at = text.find(file.path); at != std::string::npos)
		text.erase(at, file.path.size()); // which has numbers of its own
	const std::uint64_t emitted = events_of(*l, *load);
	EXPECT_NE(text.find(std::to_string(emitted - kept)), std::string::npos)
		<< kept << " of " << emitted << " kept: " << counters.error().text;
}

TEST(record, cannot_start_where_the_file_cannot_be_written)
{
	const auto l = lab::create({.paths = 1});
	ASSERT_TRUE(l) << l.error().text;
	const auto r = in_namespace(l->client, [] { return recorder::start("/proc/no/such/folder/trace.pcap"); });
	ASSERT_FALSE(r);
	EXPECT_NE(r.error().text.find("/proc/no/such/folder/trace.pcap"), std::string::npos) << r.error().text;
}
