// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/flapping_checks.hpp"

#include <iostream>

#include <gtest/gtest.h>

#include "replay/links.hpp"

namespace pm::test {

namespace {

using replay::lab;

constexpr unsigned flaps = 1000, warm_up = 100, open_connections = 50;
constexpr std::uint64_t most_warm_up_kib = 4096; // that a kernel's caches grow by, once; 33,000 subflows come and go
constexpr const char *flapping_link = "p1";
const paths one{{from_to(0, 0), 1}}, both{{from_to(0, 0), 1}, {from_to(1, 0), 1}};

// Of the flaps, the first ones are seen to take effect; the others go as fast as they can. To see an interface flap takes a
// second: so long the other end of the link stays down.
unsigned watched(what_flaps what) { return what == what_flaps::address ? 300 : 5; }

// The flapping link of a scene's client.
class link_of {
public:
	explicit link_of(const scene &s)
		: client_(s.world.client), links_(must(in_namespace(client_, [] { return replay::links::open(); })))
	{
	}
	void set(what_flaps what, bool there)
	{
		must(in_namespace(client_, [&]() -> expected<void> { // which the name of a link means one of
			if (what == what_flaps::interface)
				return there ? links_.bring_up(flapping_link) : links_.bring_down(flapping_link);
			const pm_addr address = lab::client_address(1, false);
			return there ? links_.add_address(flapping_link, address)
				     : links_.remove_address(flapping_link, address);
		}));
	}

private:
	const netns &client_;
	replay::links links_;
};

// Whatever the server still believes in: from an address that is gone nothing can be said to it.
void expect_paths_at_the_client(scene &s, const paths &expected)
{
	std::string wrong;
	EXPECT_TRUE(await(scene::patience, [&] {
		wrong = difference(s.client.by_connection(), s.connections.size(), expected);
		return wrong.empty();
	})) << wrong;
}

} // namespace

void expect_a_thousand_flaps_to_end_well(means by, what_flaps what)
{
	scene s;
	link_of flapping(s);
	const auto in_charge = take_charge(s, by, {"fullmesh"});
	s.connections.open(open_connections);
	s.expect_paths(both);
	std::uint64_t memory = 0;
	for (unsigned i = 1; i <= flaps; ++i) {
		flapping.set(what, false);
		if (i <= watched(what))
			expect_paths_at_the_client(s, one);
		flapping.set(what, true);
		if (i <= watched(what))
			expect_paths_at_the_client(s, both);
		if (i == warm_up) {
			s.expect_paths(both);
			memory = in_charge->memory_kib();
		}
	}
	expect_paths_to_stay(s, *in_charge, both);
	// Of the kernel this is all of its memory, some of which it frees later.
	const std::uint64_t most_more_kib = by == means::daemon ? memory / 10 : most_warm_up_kib;
	std::uint64_t at_the_end = 0;
	EXPECT_TRUE(await(scene::patience, [&] {
		at_the_end = in_charge->memory_kib();
		return at_the_end <= memory + most_more_kib || !in_charge->memory_is_told();
	}));
	std::cout << "memory after " << warm_up << " flaps: " << memory << " KiB, after " << flaps << ": " << at_the_end
		  << " KiB; commands: " << in_charge->commands() << '\n';
	EXPECT_EQ(in_charge->connections(), open_connections);
	if (const auto subflows = in_charge->subflows()) {
		EXPECT_EQ(*subflows, 2 * open_connections);
	}
}

} // namespace pm::test
