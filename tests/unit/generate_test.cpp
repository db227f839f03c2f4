// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Generated traces: whatever the shape, a story that a kernel could have told; and each shape is what its name says.
#include "replay/generate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "replay/trace.hpp"
#include "tests/support/events.hpp"

using namespace pm;
using namespace pm::test;
using namespace pm::replay;

namespace pm::replay {
void PrintTo(const shape_description &s, std::ostream *out) { *out << s.name; } // where GoogleTest looks for it
} // namespace pm::replay

namespace {

std::vector<pm_event> generated(const generate_options &options)
{
	std::vector<pm_event> events;
	const auto done = generate(options, [&](const pm_event &e) -> expected<void> {
		events.push_back(e);
		return {};
	});
	EXPECT_TRUE(done) << done.error().text;
	return events;
}

std::uint64_t count(const std::vector<pm_event> &events, pm_event_type type)
{
	return static_cast<std::uint64_t>(
		std::count_if(events.begin(), events.end(), [&](const pm_event &e) { return e.type == type; }));
}

std::uint64_t checksum(const std::vector<pm_event> &events) // FNV-1a
{
	std::uint64_t sum = 0xcbf29ce484222325;
	for (const pm_event &e : events) {
		unsigned char bytes[sizeof e];
		std::memcpy(bytes, &e, sizeof e);
		for (const unsigned char b : bytes)
			sum = (sum ^ b) * 0x100000001b3;
	}
	return sum;
}

using address_key = std::vector<pm_u8>;
address_key key(const pm_addr &a) { return {std::begin(a.bytes), std::end(a.bytes)}; }

// Follows a trace, and says what of it cannot be.
class story {
public:
	void take(const pm_event &e)
	{
		EXPECT_GE(e.time_ns, now_);
		now_ = e.time_ns;
		if (e.token == 0)
			local(e);
		else if (e.type == PM_CREATED)
			create(e);
		else if (open_.count(e.token))
			go_on(open_[e.token], e);
		else
			ADD_FAILURE() << "type " << int{e.type} << " of a connection that is not open";
	}
	void end() const { EXPECT_TRUE(open_.empty()) << "connections that never closed"; }

	std::uint64_t created = 0, ipv6 = 0;
	std::size_t most_open = 0;

private:
	struct life {
		bool established = false, announced = false;
		std::set<std::pair<address_key, address_key>> subflows;
	};
	std::uint64_t now_ = 0;
	std::map<std::uint32_t, life> open_;
	std::set<address_key> locals_;

	void local(const pm_event &e)
	{
		EXPECT_TRUE(e.has_local && e.ifindex > 1);
		if (e.type == PM_LOCAL_ADDED)
			EXPECT_TRUE(locals_.insert(key(e.local)).second) << "it is there already";
		else
			EXPECT_EQ(locals_.erase(key(e.local)), 1u) << "it is not there";
	}
	void create(const pm_event &e)
	{
		EXPECT_FALSE(open_.count(e.token)) << "two open connections have one token";
		open_[e.token].subflows.insert({key(e.local), key(e.remote)});
		++created;
		ipv6 += !is_ipv4(e.local);
		most_open = std::max(most_open, open_.size());
		EXPECT_EQ(locals_.count(key(e.local)), 1u);
	}
	void go_on(life &c, const pm_event &e)
	{
		const auto pair = std::pair{key(e.local), key(e.remote)};
		switch (e.type) {
		case PM_ESTABLISHED:
			EXPECT_FALSE(c.established);
			c.established = true;
			break;
		case PM_ANNOUNCED:
		case PM_REMOVED:
			EXPECT_TRUE(c.established);
			EXPECT_EQ(c.announced, e.type == PM_REMOVED) << "announcing and removing alternate";
			EXPECT_NE(e.remote_id, 0);
			c.announced = e.type == PM_ANNOUNCED;
			break;
		case PM_SUB_ESTABLISHED:
			EXPECT_TRUE(c.established);
			EXPECT_TRUE(c.announced || e.remote_id == 0);
			EXPECT_EQ(locals_.count(key(e.local)), 1u) << "from an address that is gone";
			EXPECT_EQ(is_ipv4(e.local), is_ipv4(e.remote));
			EXPECT_NE(e.local_port, 0);
			EXPECT_TRUE(c.subflows.insert(pair).second) << "it exists";
			break;
		case PM_SUB_CLOSED: EXPECT_EQ(c.subflows.erase(pair), 1u) << "it does not exist"; break;
		case PM_CLOSED:
			EXPECT_TRUE(c.established);
			open_.erase(e.token);
			break;
		default: ADD_FAILURE() << "type " << int{e.type};
		}
	}
};

story follow(const std::vector<pm_event> &events)
{
	story s;
	for (std::size_t i = 0; i < events.size(); ++i) {
		SCOPED_TRACE(fmt::format("event {}", i));
		s.take(events[i]);
		if (testing::Test::HasFailure())
			break;
	}
	s.end();
	return s;
}

} // namespace

// ---- every shape ----

class every_shape : public testing::TestWithParam<shape_description> {};

INSTANTIATE_TEST_SUITE_P(generate, every_shape, testing::ValuesIn(shapes().begin(), shapes().end()),
			 [](const auto &of) {
				 std::string name(of.param.name);
				 std::replace(name.begin(), name.end(), '-', '_');
				 return name;
			 });

TEST_P(every_shape, tells_of_as_many_connections_as_asked_each_from_created_to_closed)
{
	for (const std::uint64_t connections : {1u, 2u, 3u, 10u, 501u}) {
		for (const double rate : {0.5, 100.0, 1e5, 1e12}) {
			SCOPED_TRACE(fmt::format("{} connections at {}/s", connections, rate));
			const auto events = generated({GetParam().value, connections, rate, 3, 1});
			const story s = follow(events);
			EXPECT_EQ(s.created, connections);
			EXPECT_EQ(s.ipv6, connections / 2);
			EXPECT_EQ(count(events, PM_CLOSED), connections);
			if (HasFailure())
				return;
		}
	}
}

TEST_P(every_shape, begins_with_the_addresses_of_the_client)
{
	const auto events = generated({GetParam().value, 1, 1000, 1, 1});
	const pm_addr addresses[] = {local4(1), local6(1), local4(2), local6(2)};
	ASSERT_GT(events.size(), 4u);
	for (int i = 0; i < 4; ++i) {
		EXPECT_EQ(events[i].type, PM_LOCAL_ADDED);
		EXPECT_EQ(events[i].token, 0u);
		EXPECT_EQ(events[i].time_ns, 0u);
		EXPECT_TRUE(same(events[i].local, addresses[i]));
	}
	EXPECT_EQ(events[4].type, PM_CREATED);
	EXPECT_TRUE(same(events[4].local, local4(1)));
	EXPECT_TRUE(same(events[4].remote, remote4(1)));
}

TEST_P(every_shape, is_the_same_for_the_same_seed_and_another_for_another)
{
	const generate_options first{GetParam().value, 200, 1000, 1, 1}, second{GetParam().value, 200, 1000, 2, 1};
	EXPECT_EQ(checksum(generated(first)), checksum(generated(first)));
	EXPECT_NE(checksum(generated(first)), checksum(generated(second)));
}

TEST_P(every_shape, has_the_same_events_on_every_machine)
{
	const std::map<shape, std::uint64_t> known = {
		{shape::poisson, 0x1ffb468ff011e09f},     {shape::burst, 0xbf2102e2f4f21298},
		{shape::flash_crowd, 0x79dd9e240e75eb7d}, {shape::flapping, 0xe38116a612e13ef5},
		{shape::mobility, 0x72f4273d2e172dc8},
	};
	const auto sum = checksum(generated({GetParam().value, 100, 1000, 42, 1}));
	EXPECT_EQ(sum, known.at(GetParam().value)) << fmt::format("{} {:#x}", GetParam().name, sum);
}

TEST_P(every_shape, shares_no_connection_with_one_whose_tokens_begin_behind_it)
{
	std::set<std::uint32_t> tokens;
	std::uint64_t first = UINT32_MAX - 150ull; // one of them goes over the end of the numbers
	for (int trace = 0; trace < 3; ++trace, first += 100)
		for (const pm_event &e : generated({GetParam().value, 100, 1000, 1, first}))
			if (e.type == PM_CREATED) {
				EXPECT_TRUE(tokens.insert(e.token).second);
			}
	EXPECT_EQ(tokens.size(), 300u);
	EXPECT_EQ(tokens.count(0), 0u);
}

TEST_P(every_shape, survives_being_written_and_read)
{
	std::string dir = testing::TempDir() + "/pathlab-generate-XXXXXX";
	ASSERT_NE(::mkdtemp(dir.data()), nullptr);
	const std::string path = dir + "/trace.pcap";
	auto events = generated({GetParam().value, 100, 1000, 7, 1});
	auto writer = trace_writer::create(path, {0x1f, 9, netlink::encode_family(0x1f, 9)});
	ASSERT_TRUE(writer) << writer.error().text;
	for (const pm_event &e : events)
		ASSERT_TRUE(writer->write(e));
	ASSERT_TRUE(writer->close());
	auto reader = trace_reader::open(path);
	ASSERT_TRUE(reader) << reader.error().text;
	for (std::size_t i = 0; i < events.size(); ++i) {
		const auto record = reader->next();
		ASSERT_TRUE(record && *record);
		events[i].seq = static_cast<std::uint32_t>(i + 1);
		ASSERT_EQ(std::memcmp(&(*record)->event, &events[i], sizeof(pm_event)), 0) << "event " << i;
	}
	EXPECT_EQ(*reader->next(), nullptr);
	std::filesystem::remove_all(dir);
}

TEST_P(every_shape, stops_at_the_first_error_of_whoever_takes_the_events)
{
	int taken = 0;
	const auto done = generate({GetParam().value, 10, 1000, 1, 1}, [&](const pm_event &) -> expected<void> {
		if (++taken == 20)
			return fail("enough");
		return {};
	});
	ASSERT_FALSE(done);
	EXPECT_EQ(done.error().text, "enough");
	EXPECT_EQ(taken, 20);
}

// ---- each shape ----

namespace {

std::vector<std::uint64_t> arrivals(const std::vector<pm_event> &events)
{
	std::vector<std::uint64_t> times;
	for (const pm_event &e : events)
		if (e.type == PM_CREATED)
			times.push_back(e.time_ns);
	return times;
}

} // namespace

TEST(generate, short_connections_build_a_full_mesh_and_close)
{
	const auto events = generated({shape::poisson, 1000, 1000, 1, 1});
	EXPECT_EQ(count(events, PM_ANNOUNCED), 1000u);
	EXPECT_EQ(count(events, PM_SUB_ESTABLISHED), 3000u);
	EXPECT_EQ(events.size(), 4u + 7 * 1000);
}

// The gaps between the arrivals of a Poisson process have a mean of 1 ms here, and a standard deviation as large.
TEST(generate, poisson_arrivals_are_independent_of_each_other)
{
	const auto times = arrivals(generated({shape::poisson, 100'000, 1000, 1, 1}));
	double sum = 0, squares = 0, longer = 0;
	for (std::size_t i = 1; i < times.size(); ++i) {
		const double gap = static_cast<double>(times[i] - times[i - 1]) / 1e6;
		sum += gap, squares += gap * gap, longer += gap > 1;
	}
	const double n = static_cast<double>(times.size() - 1), mean = sum / n;
	EXPECT_NEAR(mean, 1, 0.02);
	EXPECT_NEAR(std::sqrt(squares / n - mean * mean), 1, 0.02);
	EXPECT_NEAR(longer / n, std::exp(-1), 0.01);
}

TEST(generate, memory_grows_with_the_connections_that_are_open_not_with_the_trace)
{
	// Each lives for about 0.2 s.
	EXPECT_LT(follow(generated({shape::poisson, 20'000, 1000, 1, 1})).most_open, 400u);
	EXPECT_LT(follow(generated({shape::burst, 20'000, 100, 1, 1})).most_open, 100u);
}

TEST(generate, a_burst_is_half_of_the_connections_at_time_0_and_then_an_even_rate)
{
	for (const std::uint64_t connections : {1u, 2u, 101u, 1000u}) {
		const auto events = generated({shape::burst, connections, 100, 1, 1});
		const std::uint64_t half = (connections + 1) / 2;
		const auto calm = std::find_if(events.begin(), events.end(),
					       [](const pm_event &e) { return e.time_ns > 0; });
		EXPECT_EQ(static_cast<std::uint64_t>(calm - events.begin()), 4 + 7 * half);
		for (auto e = events.begin() + 5; e != calm; ++e) // one connection after the other
			EXPECT_TRUE(e->token == (e - 1)->token ||
				    (e->type == PM_CREATED && (e - 1)->type == PM_CLOSED));
		const auto times = arrivals(events);
		for (std::size_t i = half; i < times.size(); ++i)
			EXPECT_EQ(times[i], (i - half + 1) * 10'000'000);
	}
}

TEST(generate, a_flash_crowd_rises_to_ten_times_the_rate_within_a_tenth_and_falls_back)
{
	constexpr std::uint64_t connections = 190'000;
	constexpr double rate = 1000;
	constexpr double seconds = connections / (1.9 * rate); // 100: what the areas under the rate add up to
	const auto times = arrivals(generated({shape::flash_crowd, connections, rate, 1, 1}));
	std::vector<double> per_second(static_cast<std::size_t>(seconds) + 5);
	for (const auto t : times)
		++per_second.at(t / 1'000'000'000);
	for (int s = 0; s < 98; ++s) { // the number of connections is given, so the end is not
		const double expected = s < 40 || s >= 60 ? 1000 : s < 50 ? (s - 39) * 1000 : (60 - s) * 1000;
		EXPECT_NEAR(per_second[static_cast<std::size_t>(s)] / expected, 1, 0.2) << "second " << s;
	}
	EXPECT_NEAR(per_second[49] / per_second[10], 10, 1.5);
}

TEST(generate, flapping_servers_announce_and_remove_an_address_again_and_again)
{
	const auto events = generated({shape::flapping, 50, 1000, 1, 1}); // that both alternate, the story checks
	EXPECT_EQ(count(events, PM_REMOVED), 50u * 8);
	EXPECT_EQ(count(events, PM_ANNOUNCED), 50u * 9);
	EXPECT_EQ(count(events, PM_SUB_CLOSED), 50u * 8 * 2);
	EXPECT_EQ(count(events, PM_SUB_ESTABLISHED), 50u * (1 + 9 * 2));
}

TEST(generate, a_mobile_client_loses_its_second_addresses_and_gets_them_back_with_their_subflows)
{
	const auto events = generated({shape::mobility, 50, 1000, 1, 1});
	EXPECT_EQ(count(events, PM_LOCAL_REMOVED), 10u * 2);
	EXPECT_EQ(count(events, PM_LOCAL_ADDED), 4u + 10 * 2);
	EXPECT_EQ(count(events, PM_SUB_CLOSED), 50u * 10 * 2);
	EXPECT_EQ(count(events, PM_SUB_ESTABLISHED), 50u * (3 + 10 * 2));
	std::uint64_t left = 0;
	for (const pm_event &e : events) {
		if (e.type == PM_LOCAL_REMOVED)
			left = e.time_ns;
		if (e.type == PM_SUB_CLOSED) {
			EXPECT_LT(e.time_ns - left, 10'000'000u);
		}
	}
}

// ---- what cannot be asked for ----

TEST(generate, knows_its_shapes_by_name)
{
	for (const auto &s : shapes()) {
		EXPECT_EQ(find_shape(s.name).value(), s.value);
		EXPECT_FALSE(s.help.empty());
	}
	const auto unknown = find_shape("square");
	ASSERT_FALSE(unknown);
	EXPECT_EQ(unknown.error().text,
		  "there is no shape 'square'; there are: poisson, burst, flash-crowd, flapping, mobility");
}

TEST(generate, refuses_what_makes_no_trace)
{
	const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
	const struct {
		std::uint64_t connections;
		double rate;
		const char *says;
	} cases[] = {
		{0, 1000, "0 connections"},
		{1ull << 32, 1000, "as many as there are tokens"},
		{UINT64_MAX, 1000, "tokens"},
		{10, 0, "at a rate of 0"},
		{10, -1, "at a rate of -1"},
		{10, infinity, "at a rate of inf"},
		{10, nan, "per second: give one above 0"},
		{10, 1e-300, "more than three years"},
		{1'000'000, 0.001, "more than three years"},
	};
	for (const auto &c : cases) {
		const auto done = generate({shape::poisson, c.connections, c.rate, 1, 1},
					   [](const pm_event &) -> expected<void> {
						   return fail("an event was generated");
					   });
		ASSERT_FALSE(done);
		EXPECT_NE(done.error().text.find(c.says), std::string::npos) << done.error().text;
	}
}
