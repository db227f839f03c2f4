// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// An address, or an interface, that goes and comes a thousand times under open connections: in the end each has its paths,
// and the daemon is no larger than it was.
#include <iostream>

#include <gtest/gtest.h>

#include "replay/links.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

constexpr unsigned flaps = 1000, warm_up = 100, open_connections = 50;
constexpr const char *flapping_link = "p1";

class daemon_flapping : public testing::Test {
protected:
	scene s;
	replay::links links = must(in_namespace(s.world.client, [] { return replay::links::open(); }));
	const paths one{{from_to(0, 0), 1}}, both{{from_to(0, 0), 1}, {from_to(1, 0), 1}};

	void set_address(bool there)
	{
		must(in_namespace(s.world.client, [&]() -> expected<void> { // which the name of a link means one of
			const pm_addr address = lab::client_address(1, false);
			return there ? links.add_address(flapping_link, address)
				     : links.remove_address(flapping_link, address);
		}));
	}
	void set_link(bool up) { must(up ? links.bring_up(flapping_link) : links.bring_down(flapping_link)); }

	// Whatever the server still believes in: from an address that is gone nothing can be said to it.
	void expect_paths_at_the_client(const paths &expected)
	{
		std::string wrong;
		EXPECT_TRUE(await(scene::patience, [&] {
			wrong = difference(s.client.by_connection(), s.connections.size(), expected);
			return wrong.empty();
		})) << wrong;
	}

	// Of the flaps, the first ones are seen to take effect; the others go as fast as they can.
	template <class Set>
	void flap(unsigned watched_flaps, Set &&set)
	{
		daemon_process &daemon = s.manage({"fullmesh"});
		s.connections.open(open_connections);
		s.expect_paths(both);
		std::uint64_t memory = 0;
		for (unsigned i = 1; i <= flaps; ++i) {
			const bool watched = i <= watched_flaps;
			set(false);
			if (watched)
				expect_paths_at_the_client(one);
			set(true);
			if (watched)
				expect_paths_at_the_client(both);
			if (i == warm_up)
				memory = daemon.memory_kib();
		}
		s.expect_paths_to_stay(both, daemon);
		const std::uint64_t at_the_end = daemon.memory_kib();
		std::cout << "resident after " << warm_up << " flaps: " << memory << " KiB, after " << flaps << ": "
			  << at_the_end << " KiB; commands: " << daemon.status().at("commands") << '\n';
		EXPECT_LE(at_the_end, memory + memory / 10);
		EXPECT_EQ(daemon.figure("/connections/open"), open_connections);
		EXPECT_EQ(daemon.figure("/subflows/established"), 2 * open_connections);
	}
};

TEST_F(daemon_flapping, of_an_address_a_thousand_times_ends_with_the_right_paths_and_the_same_memory)
{
	flap(300, [&](bool there) { set_address(there); });
}

TEST_F(daemon_flapping, of_an_interface_a_thousand_times_ends_with_the_right_paths_and_the_same_memory)
{
	// A second each: so long the other end of the link stays down.
	flap(5, [&](bool up) { set_link(up); });
}

} // namespace
