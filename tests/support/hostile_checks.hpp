// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Peers that announce without end, refuse every join, take joins and drop them, or flap: who is in charge stays small, sends
// a bounded number of commands, counts what it could not do, and is there when the peer comes to its senses. For any means.
#pragma once

#include "tests/support/charge.hpp"

namespace pm::test {

// To addresses that cannot be reached, or, what lasts longer, never answer.
void expect_1000_addresses_to_cost_little(means by, bool that_never_answer);
void expect_addresses_withdrawn_at_once_to_be_left(means by);
void expect_a_peer_that_announces_all_the_time_to_be_held(means by);
void expect_refused_joins_to_be_asked_for_seldom(means by);
// Of connections that are older than who is in charge, which only the daemon adopts, or of newer ones.
void expect_joins_refused_for_a_while_to_come_about(means by, bool older);
// A policy in the kernel remembers with the socket.
void expect_refused_joins_not_to_delay_the_next_connection_of_the_socket(means by);
void expect_what_every_server_takes_to_be_kept(means by);
void expect_dropped_joins_not_to_be_replaced_without_end(means by);

} // namespace pm::test
