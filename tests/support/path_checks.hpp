// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Which paths each policy's connections have, and what becomes of them when an address goes or comes: for any means.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/charge.hpp"

namespace pm::test {

struct path_case {
	std::string name;
	unsigned number; // of paths between the two
	socket_kind kind;
	words at_client, at_server; // none at the server's: it announces nothing
	paths expected;
	unsigned connections = 20;
	friend void PrintTo(const path_case &one, std::ostream *out) { *out << one.name; }
};
[[nodiscard]] std::vector<path_case> path_cases();
[[nodiscard]] const char *name_of(socket_kind kind);

void expect_exactly_its_paths(const path_case &tried, means by);
void expect_backups_on_its_interface_alone(means by, bool ipv6);
void expect_the_initial_subflow_as_a_backup(means by, socket_kind kind);
void expect_subflows_to_go_with_the_clients_address(means by, socket_kind kind);
void expect_subflows_to_go_with_the_servers_address(means by, socket_kind kind);
void expect_subflows_to_come_with_an_address(means by, socket_kind kind);
// `delay_ms`: on the way to the client, whose handshakes are not over for as long: by a subflow that is so new, the server cannot
// be told yet. 0: none, where the kernel has no netem.
void expect_the_only_address_to_be_left_for_another_one(means by, unsigned delay_ms);

} // namespace pm::test
